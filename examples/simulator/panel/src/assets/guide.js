// The tour of the page: starts by itself at the first visit, points at one card after another, and can be left at any time.

const KEY = "cachefront-guide";
/** Space between the box and what it points at. */
const GAP_PX = 12;

let box = null;
/** A frame around what it points at: parts of the page are replaced at any time. */
let mark = null;
let steps = [];
let at = -1;
/** What had the focus before. */
let before = null;

export function begin() {
  box = document.getElementById("guide");
  if (!box) return;
  mark = document.getElementById("guide-mark");
  steps = [...box.querySelectorAll("template")];
  document.addEventListener("click", clicked);
  box.addEventListener("keydown", pressed);
  addEventListener("resize", place);
  addEventListener("scroll", place, { passive: true });
  if (localStorage.getItem(KEY) === null) start();
}

function clicked(event) {
  const what = event.target.closest("[data-guide]")?.dataset.guide;
  if (what === "start") start();
  if (what === "next") show(at + 1);
  if (what === "back") show(at - 1);
  if (what === "end") end();
}

function pressed(event) {
  const keys = { Escape: end, ArrowRight: () => show(at + 1), ArrowLeft: () => show(at - 1) };
  if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
}

function start() {
  before = document.activeElement;
  show(0);
}

function show(number) {
  if (number < 0) return;
  if (number >= steps.length) return end();
  at = number;
  const { head, number: shown } = steps[at].dataset;
  box.querySelector("[data-step]").textContent = shown;
  document.getElementById("guide-head").textContent = head;
  document.getElementById("guide-text").textContent = steps[at].content.textContent;
  box.querySelector("[data-guide=back]").disabled = at === 0;
  box.querySelector("[data-guide=next]").textContent = at === steps.length - 1 ? "Done" : "Next";
  box.hidden = mark.hidden = false;
  target()?.scrollIntoView({ block: "center" });
  place();
  box.querySelector("[data-guide=next]").focus({ preventScroll: true });
}

const target = () => document.querySelector(steps[at].dataset.at);

/** Below what it points at, or above it, or where there is room. */
export function place() {
  if (at < 0 || !target()) return;
  const around = target().getBoundingClientRect();
  for (const side of ["top", "left", "width", "height"]) mark.style[side] = `${around[side]}px`;
  const { offsetWidth: width, offsetHeight: height } = box;
  const lowest = innerHeight - height - GAP_PX;
  const below = around.bottom + GAP_PX;
  const above = around.top - height - GAP_PX;
  const top = below <= lowest ? below : above >= GAP_PX ? above : lowest;
  box.style.top = `${Math.max(GAP_PX, top)}px`;
  box.style.left = `${Math.min(Math.max(around.left, GAP_PX), innerWidth - width - GAP_PX)}px`;
}

/** It starts by itself only once, also if it was skipped. */
function end() {
  localStorage.setItem(KEY, "seen");
  at = -1;
  box.hidden = mark.hidden = true;
  const next = before?.isConnected && before !== document.body ? before : document.querySelector("[data-guide=start]");
  next?.focus({ preventScroll: true });
}
