// The table of users: which rows are open, what is searched, and the form of a user.
import { complain, once, say } from "./controls.js";

/** A pause in typing. */
const TYPING_MS = 150;
const dialog = document.getElementById("user-form");
const url = () => new URL(location.href);
let opened = new Set((url().searchParams.get("open") ?? "").split(",").filter(Boolean));
let action = "/users";

export function begin() {
  document.addEventListener("click", clicked);
  dialog.querySelector("form").addEventListener("submit", save);
  dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  patched();
  const search = document.querySelector("[data-search]");
  if (!search) return;
  search.value = url().searchParams.get("q") ?? "";
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => want({ q: search.value.trim(), ...FIRST }), TYPING_MS);
  });
  const only = document.querySelector("[data-only]");
  if (only) press(only, url().searchParams.get("only") === "stale");
}

function clicked(event) {
  const button = event.target.closest("button");
  if (!button || button.disabled || button.getAttribute("aria-disabled") === "true") return;
  const { toggle, user, want: wanted } = button.dataset;
  if (toggle) flip(toggle);
  if (user) edit(button);
  if (wanted !== undefined) want(Object.fromEntries(new URLSearchParams(wanted)));
  if (button.dataset.only !== undefined) {
    const on = button.getAttribute("aria-pressed") !== "true";
    press(button, on);
    want({ only: on ? "stale" : "", ...FIRST });
  }
}

const press = (button, on) => button.setAttribute("aria-pressed", on);

/** Another search begins at the first page. */
const FIRST = { after: "", before: "", page: "" };

/** What this tab wants to see stands in its address, so that a reload shows the same. */
function want(changes) {
  const next = url();
  for (const [name, value] of Object.entries(changes)) {
    if (value && value !== "0") next.searchParams.set(name, value);
    else next.searchParams.delete(name);
  }
  history.replaceState(null, "", next);
  document.dispatchEvent(new Event("panel:reconnect"));
}

function flip(id) {
  if (opened.has(id)) opened.delete(id);
  else opened.add(id);
  const next = url();
  if (opened.size) next.searchParams.set("open", [...opened].join(","));
  else next.searchParams.delete("open");
  history.replaceState(null, "", next);
  patched();
}

let shown = null;

/** The row that a demo is about opens by itself, once. */
function follow() {
  const user = document.querySelector("[data-demo-user]")?.dataset.demoUser ?? null;
  if (user && user !== shown) opened.add(user);
  shown = user;
}

/** Rows that were open stay so, whatever is pushed. */
export function patched() {
  follow();
  for (const button of document.querySelectorAll("[data-toggle]")) {
    const open = opened.has(button.dataset.toggle);
    button.setAttribute("aria-expanded", open);
    const row = document.querySelector(`[data-opens="${CSS.escape(button.dataset.toggle)}"]`);
    if (row) row.hidden = !open;
  }
}

function edit(button) {
  const { user, name = "", email = "", status = "" } = button.dataset;
  const isNew = user === "new";
  action = isNew ? "/users" : `/users/${user}/write`;
  document.getElementById("user-title").textContent = isNew ? "New user" : `Write user ${user}`;
  document.getElementById("user-text").textContent = "Goes to the database and nowhere else: the cache follows by TTL or CDC.";
  const { elements } = dialog.querySelector("form");
  // The id of a row is chosen when it is inserted, and stays.
  elements.id.value = "";
  elements.id.disabled = !isNew;
  dialog.querySelector("[data-new]").hidden = !isNew;
  elements.name.value = name;
  elements.email.value = email;
  // A status that another program has written is none of these, and stays.
  elements.status.value = isNew ? "active" : status;
  complain("user-form", "");
  dialog.showModal();
  elements.name.select();
}

async function save(event) {
  event.preventDefault();
  const said = await once(event.submitter, action, `${new URLSearchParams(new FormData(event.target))}`);
  if (!said) return;
  if (!said.ok) return complain("user-form", said.message);
  dialog.close();
  say(said.message, true);
}
