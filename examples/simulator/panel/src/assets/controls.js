// Buttons, questions, and what is said about their outcome.

const byId = (id) => document.getElementById(id);
const TOAST_MS = 5000;

export function begin() {
  // On a narrow screen the row of tabs is wider than the page: the current one must not be out of sight.
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  byId("theme").addEventListener("click", switchTheme);
  byId("explain").addEventListener("click", switchExplanations);
  byId("explain").setAttribute("aria-pressed", document.documentElement.dataset.explain === "on");
  document.addEventListener("click", clicked);
  byId("ask-yes").addEventListener("click", yes);
  document.addEventListener("submit", submitted);
  document.addEventListener("change", chosen);
  document.querySelector("[data-hold]")?.addEventListener("click", hold);
  explain(document);
  place();
  matchMedia("(max-width: 719px)").addEventListener("change", place);
}

/** Sends a form; returns whether it was done. */
export async function post(action, body = "") {
  try {
    const answer = await fetch(action, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", ...csrf() },
      body,
    });
    const { status } = answer;
    if (status === 401) {
      location.assign("/login");
      return { ok: false, message: "The session is over: log in again.", status };
    }
    if (!answer.headers.get("content-type")?.includes("json")) {
      // Whatever refused the form before the panel saw it says so in plain words.
      const text = answer.ok ? "" : (await answer.text()) || `The panel replied ${status}.`;
      return { ok: answer.ok, message: text, status };
    }
    const { ok, message, detail } = await answer.json();
    return { ok: ok ?? answer.ok, message: message ?? detail ?? "", status };
  } catch {
    return { ok: false, message: "The panel does not respond: whether the request was handled is not known.", status: 0 };
  }
}

function csrf() {
  const token = document.querySelector("meta[name=csrf]")?.content;
  return token ? { "x-csrf-token": token } : {};
}

const pending = new Set();

/** Posts once, however often it is pressed; returns `null` for a press that comes while the first one is in progress. */
export async function once(control, action, body = "") {
  const key = `${action} ${body}`;
  if (pending.has(key)) return null;
  pending.add(key);
  control?.setAttribute("aria-busy", "true");
  try {
    return await post(action, body);
  } finally {
    pending.delete(key);
    control?.removeAttribute("aria-busy");
  }
}

/** Says something, for eyes and for screen readers. */
export function say(message, ok) {
  if (!message) return;
  const toast = document.createElement("div");
  toast.className = ok ? "toast" : "toast bad";
  toast.textContent = message;
  byId("toasts").append(toast);
  setTimeout(() => toast.remove(), ok ? TOAST_MS : TOAST_MS * 2);
}

/** A control that is off for a reason can be reached all the same, and says the reason when it is. */
export function explain(root) {
  const why = byId("why-off")?.textContent;
  for (const control of root.querySelectorAll("button[disabled][title]")) {
    control.removeAttribute("disabled");
    control.setAttribute("aria-disabled", "true");
    if (control.title === why) control.setAttribute("aria-describedby", "why-off");
  }
}

const isOff = (control) => control.disabled || control.getAttribute("aria-disabled") === "true";

async function clicked(event) {
  const button = event.target.closest("button, a[aria-disabled=true]");
  if (!button) return;
  if (isOff(button)) {
    event.preventDefault();
    return say(button.title, false);
  }
  if (button.dataset.ask) return ask(button);
  if (button.dataset.open) return byId(button.dataset.open).showModal();
  if (button.dataset.close !== undefined) return button.closest("dialog").close();
  if (button.dataset.post) {
    const said = await once(button, button.dataset.post, button.dataset.body);
    if (said?.ok && button.dataset.then) return location.assign(button.dataset.then);
    if (said) say(said.message, said.ok);
  }
}

/** A preset brings its own rate and length; both can be changed before the start. */
function chosen(event) {
  if (!event.target.matches("select[name=preset]")) return;
  const { rate, seconds } = event.target.selectedOptions[0].dataset;
  const fields = event.target.form.elements;
  fields.rate.value = rate;
  fields.seconds.value = seconds;
}

async function submitted(event) {
  const action = event.target.dataset.form;
  if (!action) return;
  event.preventDefault();
  const said = await once(event.submitter, action, `${new URLSearchParams(new FormData(event.target))}`);
  if (said) say(said.message, said.ok);
}

/** What is asked stays as it was when it was asked, whatever is pushed meanwhile. */
let asked = null;

function ask(button) {
  const { ask: title, text, note, yes: word, action, body, then } = button.dataset;
  asked = { action, body, then };
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text ?? "";
  byId("ask-note").textContent = note ?? "";
  byId("ask-yes").textContent = word;
  byId("ask-yes").hidden = false;
  complain("ask", "");
  byId("ask").showModal();
  byId("ask-yes").focus();
}

/** Shows an error in a dialog; nothing hides it. */
export function complain(dialog, message) {
  const error = byId(dialog).querySelector(".error");
  error.textContent = message;
  error.hidden = !message;
}

async function yes() {
  const said = await once(byId("ask-yes"), asked.action, asked.body);
  if (!said) return;
  if (said.ok) {
    byId("ask").close();
    if (asked.then) return location.assign(asked.then);
    say(said.message, true);
  } else {
    complain("ask", said.message);
    byId("ask-yes").hidden = true;
  }
}

function hold(event) {
  const part = document.querySelector("[data-part=events]");
  const held = part.dataset.held === undefined;
  if (held) part.dataset.held = "";
  else delete part.dataset.held;
  event.currentTarget.setAttribute("aria-pressed", held);
  // What came meanwhile was not shown, and only what changes from now on would be sent.
  if (!held) document.dispatchEvent(new Event("panel:reconnect"));
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("cachefront-theme", root.dataset.theme);
  document.dispatchEvent(new Event("panel:theme"));
}

/** Shows or hides what each card says; the choice is kept. */
function switchExplanations(event) {
  const { dataset } = document.documentElement;
  dataset.explain = dataset.explain === "on" ? "off" : "on";
  localStorage.setItem("cachefront-explain", dataset.explain);
  event.currentTarget.setAttribute("aria-pressed", dataset.explain === "on");
}

/** On a phone the cards are one below the other in the order of their importance, also for the keyboard. */
function place() {
  const root = document.querySelector("[data-live]");
  if (!root) return;
  const cards = [...root.querySelectorAll("[data-place]")];
  cards.forEach((card, at) => (card.dataset.order ??= at));
  if (matchMedia("(max-width: 719px)").matches) {
    cards.forEach((card) => (card.dataset.home ??= card.closest("[data-column]").dataset.column));
    cards.sort((a, b) => a.dataset.place - b.dataset.place).forEach((card) => root.append(card));
  } else {
    cards.sort((a, b) => a.dataset.order - b.dataset.order);
    for (const column of root.querySelectorAll("[data-column]")) {
      cards.filter((card) => card.dataset.home === column.dataset.column).forEach((card) => column.append(card));
    }
  }
}

let lastWord = document.querySelector("[data-verdict]")?.dataset.verdict;

/** The verdict's word is said when it changes, and not with every number. */
export function patched(changed) {
  const verdict = document.querySelector("[data-part=verdict] [data-verdict]");
  if (!changed.includes("verdict") || !verdict) return;
  if (verdict.dataset.verdict === lastWord) return;
  lastWord = verdict.dataset.verdict;
  document.querySelector("[data-said]").textContent = verdict.querySelector("h1").textContent;
}

/** What changes something, or would show something else, while nothing is known. */
const OFF_WHEN_LOST = [
  "button[data-post]", "button[data-ask]", "button[data-user]", "button[data-want]", "form[data-form] button",
  "#ask-yes", "#user-form button[type=submit]", "a[download]",
].join();

const WORDS = {
  silent: ["Connection lost.", "Trying again by itself."],
  old: ["The program responds, but has not checked the cache for too long.", "Waiting for it."],
  hidden: ["This tab was not in sight.", "Asking for what there is now."],
};

/** Nothing is known: say so, keep the values with their time, and let nothing be changed. */
export function lost(trouble) {
  const banner = byId("lost");
  const isLost = trouble !== null;
  document.body.classList.toggle("lost", isLost);
  banner.hidden = !isLost;
  byId("connection").dataset.state = isLost ? "lost" : "live";
  byId("connection").querySelector("span").textContent = isLost ? "offline" : "live";
  byId("connection").querySelector("use").setAttribute("href", isLost ? "#sq" : "#ok");
  if (!isLost) return restore();
  const { why, at, ago } = trouble;
  const time = `${new Date(at).toISOString().slice(11, 19)} UTC`;
  const words = `${WORDS[why][0]} Everything below is as of ${time}. ${WORDS[why][1]}`;
  const said = banner.querySelector("[data-words]");
  if (said.textContent !== words) said.textContent = words;
  // It counts for the eye; what is said aloud is said once.
  banner.querySelector("[data-ago]").textContent = `${Math.max(0, Math.round(ago / 1000))} s ago`;
  unknown(time);
  document.querySelectorAll(OFF_WHEN_LOST).forEach((control) => {
    if (control.dataset.was) return;
    control.dataset.was = isOff(control) ? "off" : "on";
    if (control.tagName === "A") control.setAttribute("aria-disabled", "true");
    else control.disabled = true;
  });
}

function unknown(time) {
  const verdict = document.querySelector("[data-part=verdict] [data-verdict]");
  if (!verdict || verdict.dataset.verdict === "lost") return;
  const was = verdict.querySelector("h1").textContent;
  verdict.dataset.verdict = lastWord = "lost";
  verdict.className = "verdict is-unknown";
  verdict.querySelector("h1").textContent = "cache unknown";
  verdict.querySelector("p").textContent = `Last seen: ${was}, as of ${time}. Not checked since.`;
  verdict.querySelector("use").setAttribute("href", "#unk");
  document.title = "cache unknown · cachefront";
  document.querySelector("[data-said]").textContent = "cache unknown";
}

function restore() {
  document.querySelectorAll("[data-was]").forEach((control) => {
    if (control.tagName === "A") control.removeAttribute("aria-disabled");
    else control.disabled = control.dataset.was === "off" && control.getAttribute("aria-disabled") !== "true";
    delete control.dataset.was;
  });
}
