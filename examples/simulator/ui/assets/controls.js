// Buttons, questions, and what is said about their outcome.

const byId = (id) => document.getElementById(id);
const TOAST_MS = 5000;

export function begin() {
  byId("theme").addEventListener("click", switchTheme);
  document.addEventListener("click", clicked);
  byId("ask-yes").addEventListener("click", yes);
  document.addEventListener("submit", submitted);
  document.addEventListener("change", chosen);
  document.querySelector("[data-hold]")?.addEventListener("click", hold);
  place();
  matchMedia("(max-width: 719px)").addEventListener("change", place);
}

/** Sends a form; answers whether it was done. */
export async function post(action, body = "") {
  try {
    const answer = await fetch(action, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", ...csrf() },
      body,
    });
    if (answer.status === 401) return location.assign("/login");
    const { ok, message, detail } = await answer.json();
    return { ok: ok ?? answer.ok, message: message ?? detail ?? "", status: answer.status };
  } catch {
    return { ok: false, message: "The panel does not answer: nothing is known of what was sent.", status: 0 };
  }
}

function csrf() {
  const token = document.querySelector("meta[name=csrf]")?.content;
  return token ? { "x-csrf-token": token } : {};
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

async function clicked(event) {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  if (button.dataset.ask) return ask(button);
  if (button.dataset.open) return byId(button.dataset.open).showModal();
  if (button.dataset.close !== undefined) return button.closest("dialog").close();
  if (button.dataset.post) {
    const { ok, message } = await post(button.dataset.post, button.dataset.body ?? "");
    if (ok && button.dataset.then) return location.assign(button.dataset.then);
    say(message, ok);
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
  const { ok, message } = await post(action, new URLSearchParams(new FormData(event.target)));
  say(message, ok);
}

/** What is asked stays as it was when it was asked, whatever is pushed meanwhile. */
let asked = null;

function ask(button) {
  const { ask: title, text, note, yes: word, action, body } = button.dataset;
  asked = { action, body };
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
  const { ok, message } = await post(asked.action, asked.body);
  if (ok) {
    byId("ask").close();
    say(message, true);
  } else {
    complain("ask", message);
    byId("ask-yes").hidden = true;
  }
}

function hold(event) {
  const part = document.querySelector("[data-part=events]");
  const held = part.dataset.held === undefined;
  if (held) part.dataset.held = "";
  else delete part.dataset.held;
  event.currentTarget.setAttribute("aria-pressed", held);
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("cachefront-theme", root.dataset.theme);
  document.dispatchEvent(new Event("panel:theme"));
}

/** On a phone the cards stand one below the other in the order of their importance, also for the keyboard. */
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
export function patched(parts) {
  if (!parts.verdict) return;
  const verdict = document.querySelector("[data-verdict]");
  if (verdict.dataset.verdict === lastWord) return;
  lastWord = verdict.dataset.verdict;
  document.querySelector("[data-said]").textContent = verdict.querySelector("h1").textContent;
}

/** Nothing is known: say so, keep the values with their time, and let nothing be changed. */
export function lost(isLost, at) {
  const banner = byId("lost");
  const since = new Date(at);
  document.body.classList.toggle("lost", isLost);
  byId("connection").dataset.state = isLost ? "lost" : "live";
  byId("connection").querySelector("span").textContent = isLost ? "offline" : "live";
  byId("connection").querySelector("use").setAttribute("href", isLost ? "#sq" : "#ok");
  if (!isLost) {
    banner.hidden = true;
    document.querySelectorAll("[data-was]").forEach((control) => {
      control.disabled = control.dataset.was === "off";
      delete control.dataset.was;
    });
    return;
  }
  const ago = Math.max(0, Math.round((Date.now() - since) / 1000));
  const words = `Connection lost. Everything below is as of ${since.toLocaleTimeString()}, ${ago} s ago. Trying again by itself.`;
  banner.hidden = false;
  if (banner.textContent !== words) banner.textContent = words;
  const verdict = document.querySelector("[data-verdict]");
  if (verdict && verdict.dataset.verdict !== "lost") {
    const was = verdict.querySelector("h1").textContent;
    verdict.dataset.verdict = lastWord = "lost";
    verdict.className = "verdict is-unknown";
    verdict.querySelector("h1").textContent = "cache unknown";
    verdict.querySelector("p").textContent = `Last seen: ${was}, as of ${since.toLocaleTimeString()}. Not checked since.`;
    verdict.querySelector("use").setAttribute("href", "#unk");
    document.title = "cache unknown · cachefront";
    document.querySelector("[data-said]").textContent = "connection lost, cache unknown";
  }
  document.querySelectorAll("button[data-post], button[data-ask], button[data-user], form[data-form] button").forEach((control) => {
    if (control.dataset.was) return;
    control.dataset.was = control.disabled ? "off" : "on";
    control.disabled = true;
  });
}
