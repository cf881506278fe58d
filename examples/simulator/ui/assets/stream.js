// Follows the program: parts that changed are put in place; silence means that nothing is known any more.
import { children } from "./morph.js";

/** Nothing heard for so long: the connection is lost. The program says something every 900 ms. */
const SILENCE_MS = 2500;
const RETRY_MS = 1000;

let source = null;
let heard = 0;
let at = Number(document.body.dataset.at);
let isLost = false;
let told = {};

export function begin(listeners) {
  told = listeners;
  connect();
  setInterval(watch, 250);
  document.addEventListener("panel:reconnect", connect);
}

/** Whether what is shown is of this moment. */
export const live = () => !isLost;

/** The page's address says what this tab wants to see. */
function address() {
  const asked = new URLSearchParams(location.search);
  asked.set("tab", document.body.dataset.tab);
  return `/live?${asked}`;
}

function connect() {
  source?.close();
  heard = performance.now();
  const mine = new EventSource(address());
  source = mine;
  const on = (name, act) =>
    mine.addEventListener(name, (event) => {
      if (source !== mine) return;
      heard = performance.now();
      if (isLost) found();
      act(JSON.parse(event.data));
    });
  on("beat", () => {});
  on("patch", patch);
  on("chart", (data) => told.chart(data));
  on("change", (data) => told.change(data));
  mine.onerror = () => {
    if (source === mine) lose();
  };
}

function patch({ title, at: seen, parts }) {
  at = seen;
  for (const [name, html] of Object.entries(parts)) {
    const old = document.querySelector(`[data-part="${name}"]`);
    if (!old || old.dataset.held !== undefined) continue;
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    children(old, fresh);
  }
  document.title = `${title} · cachefront`;
  for (const patched of told.patched) patched(parts);
}

function watch() {
  if (!isLost && performance.now() - heard > SILENCE_MS) lose();
  if (isLost) {
    told.lost(true, at);
    if (performance.now() - heard > RETRY_MS && source.readyState !== EventSource.OPEN) retry();
  }
}

/** A session that has ended needs a login; anything else is tried again. */
async function retry() {
  connect();
  try {
    const answer = await fetch("/session");
    if (answer.status === 401) location.assign("/login");
  } catch {
    // Still away.
  }
}

function lose() {
  if (isLost) return;
  isLost = true;
  told.lost(true, at);
}

function found() {
  isLost = false;
  told.lost(false, at);
}
