// The way of one write, hop by hop: opened from its event, and kept current until the first read after it has come.
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
  const wanted = shown;
  const again = () => (timer = setTimeout(() => dialog.open && shown === wanted && show(), AGAIN_MS));
  try {
    const answer = await fetch(`/writes?${wanted}`, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign(answer.url), true;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    // Another write has been opened meanwhile.
    if (shown !== wanted) return true;
    if (!fresh.querySelector("[data-write-shown]")) return outdated(again);
    children(dialog, fresh);
    if (!dialog.querySelector("[data-complete]")) again();
    return true;
  } catch {
    return shown !== wanted || outdated(again);
  }
}

/** Says in an open dialog that it is not current, and tries again. */
function outdated(again) {
  const open = dialog.querySelector("[data-write-shown]");
  if (!open) return false;
  if (!open.querySelector("[data-outdated]")) {
    const text = document.createElement("p");
    text.dataset.outdated = "";
    text.textContent = "The panel does not respond: this is what was known before.";
    open.querySelector("h2").after(text);
  }
  again();
  return false;
}
