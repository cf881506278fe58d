// The way of one write, hop by hop: opened from its event, and kept current until the first fresh read has come.
import { say } from "./controls.js";
import { children } from "./morph.js";

const AGAIN_MS = 1000;

let dialog = null;
let shown = "";
let timer;

export function begin() {
  document.addEventListener("click", (event) => {
    const control = event.target.closest("[data-write]");
    if (control) open(control.dataset.write);
  });
}

function made() {
  const made = document.createElement("dialog");
  made.id = "write";
  made.setAttribute("aria-labelledby", "write-title");
  made.addEventListener("close", () => clearTimeout(timer));
  document.body.append(made);
  return made;
}

async function open(query) {
  dialog ??= made();
  shown = query;
  dialog.replaceChildren();
  if (!(await show())) return say("The panel does not respond: try again in a moment.", false);
  dialog.showModal();
  dialog.querySelector("[data-close]").focus();
}

/** Puts the write as it is known now in place; returns whether that was possible. */
async function show() {
  try {
    const answer = await fetch(`/writes?${shown}`, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign(answer.url), true;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    if (!fresh.querySelector("[data-write-shown]")) return false;
    children(dialog, fresh);
    if (!dialog.querySelector("[data-complete]")) timer = setTimeout(() => dialog.open && show(), AGAIN_MS);
    return true;
  } catch {
    return false;
  }
}
