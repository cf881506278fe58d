// Keeps the page up to date: parts are rendered by the program, this puts them in place.
"use strict";

const PAUSE_MS = 500;
const EVENTS_MAX = 50;
const connection = document.getElementById("connection");
const events = document.getElementById("events");

/** Puts a part in place, unless somebody is typing in it or nothing changed. */
function replace(fresh) {
  const old = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
  const typing = old.contains(document.activeElement) && document.activeElement.matches("input");
  if (typing || old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement) ? pathOf(document.activeElement, old) : null;
  old.replaceChildren(...fresh.childNodes);
  if (focused) old.querySelector(focused)?.focus();
}

/** A selector that finds the same control in the next rendering. */
function pathOf(element, root) {
  const steps = [];
  for (let at = element; at !== root; at = at.parentElement) {
    const place = [...at.parentElement.children].indexOf(at) + 1;
    steps.unshift(`${at.tagName}:nth-child(${place})`);
  }
  return steps.join(">");
}

async function refresh() {
  try {
    const response = await fetch("/live");
    if (response.status === 401) location.assign("/login");
    if (!response.ok) throw new Error(response.statusText);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    page.querySelectorAll("[data-part]").forEach(replace);
    document.title = `${document.querySelector("[data-title]").textContent} · cachefront`;
    document.body.classList.remove("lost");
    connection.textContent = "live";
  } catch {
    // Never an old green: what is shown is as old as the last answer.
    document.body.classList.add("lost");
    document.title = "cache unknown · cachefront";
    document.querySelectorAll("[data-title]").forEach((title) => (title.textContent = "cache unknown"));
    if (!connection.textContent.startsWith("connection lost")) {
      connection.textContent = `connection lost, as of ${new Date().toLocaleTimeString()}`;
    }
  }
  setTimeout(refresh, PAUSE_MS);
}

function show(change) {
  const line = document.createElement("li");
  const lag = change.lag_ms === null ? "" : `${change.lag_ms.toFixed(1)} ms after the commit`;
  for (const text of [new Date().toLocaleTimeString(), change.op, change.keys.join("  "), lag]) {
    const cell = document.createElement("span");
    cell.textContent = text;
    line.append(cell);
  }
  events.prepend(line);
  while (events.children.length > EVENTS_MAX) events.lastChild.remove();
}

new EventSource("/events").addEventListener("change", (event) => show(JSON.parse(event.data)));
refresh();
