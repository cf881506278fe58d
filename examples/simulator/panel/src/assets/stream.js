// Follows the program: parts that changed are put in place; silence means that nothing is known any more.
import { explain } from "./controls.js";
import { children } from "./morph.js";

/** Nothing heard for so long: the connection is lost. The program says something every 900 ms. */
const SILENCE_MS = 2500;
/** What was seen so long ago says nothing about now, whoever else is heard. */
const AGE_MAX_MS = 3000;
/** A stream that is closed is opened again after this; one that only seems open, after longer. */
const RETRY_MS = 1000;
const RECONNECT_MS = 5000;
/** A tab that nobody looks at gives its connection back: a browser has six for all its tabs. */
const HIDDEN_MS = 2000;

const verdict = document.querySelector("[data-part=verdict]");
let source = null;
let opened = 0;
/** When the last message came, and when the look was over that is shown: by the clock of this page. */
let heard = performance.now();
let seen = heard - Number(document.body.dataset.age ?? 0);
/** When that look was over, by the program's clock. */
let at = Number(document.body.dataset.at);
/** The parts as the program rendered them, each cut into pieces before every `<`: what changes in them is sent by piece. */
const shown = new Map();
/** As the program rendered it, for when the connection is found again. */
let kept = { title: document.title, verdict: verdict?.innerHTML ?? "" };
let isLost = false;
/** The stream has ended, or the tab was hidden: nothing of what is shown is of now until something new has come. */
let isBroken = false;
let isSuspended = false;
/** The tab is in sight again, and nothing new has come yet. */
let isReturning = false;
let asking = false;
let told = {};

export function begin(listeners) {
  told = listeners;
  document.addEventListener("panel:reconnect", () => !isSuspended && connect());
  document.addEventListener("visibilitychange", turn);
  // A page that comes back from the browser's memory is as old as when it was left.
  addEventListener("pageshow", (event) => event.persisted && (suspend(), turn()));
  setInterval(watch, 250);
  if (document.hidden) suspend();
  else connect();
}

/** The page's address says what this tab wants to see. */
function address() {
  const asked = new URLSearchParams(location.search);
  asked.set("tab", document.body.dataset.tab);
  const since = told.newest();
  if (since) asked.set("since", since);
  return `/live?${asked}`;
}

function connect() {
  source?.close();
  opened = performance.now();
  const mine = new EventSource(address());
  source = mine;
  const on = (name, act) =>
    mine.addEventListener(name, (event) => {
      if (source !== mine) return;
      const data = JSON.parse(event.data);
      heard = performance.now();
      if (data.age !== undefined) seen = heard - data.age;
      if (data.at !== undefined) at = data.at;
      act(data);
    });
  on("beat", judge);
  on("patch", patch);
  on("chart", (data) => told.chart(data));
  on("change", (data) => told.change(data));
  mine.onerror = () => {
    if (source !== mine) return;
    isBroken = true;
    judge();
  };
}

const parse = (html) => new DOMParser().parseFromString(html, "text/html").body;

/** Puts what has changed in place. The first patch of a stream has every part; of later ones, what is not sent is as it was. */
function patch({ title, parts = {}, edits = {} }) {
  isBroken = isReturning = false;
  for (const [name, html] of Object.entries(parts)) shown.set(name, html.split("<"));
  for (const [name, list] of Object.entries(edits)) edit(shown.get(name), list);
  const changed = [...Object.keys(parts), ...Object.keys(edits)];
  for (const name of changed) {
    const old = document.querySelector(`[data-part="${name}"]`);
    if (!old || old.dataset.held !== undefined) continue;
    const fresh = parse(shown.get(name).join("<"));
    explain(fresh);
    children(old, fresh);
  }
  kept.verdict = shown.get("verdict")?.join("<") ?? kept.verdict;
  if (title !== undefined) kept.title = `${title} · cachefront`;
  if (!isLost) document.title = kept.title;
  for (const patched of told.patched) patched(changed);
  judge();
}

/** Each edit counts the pieces as they were before all of them: so the last one goes first. */
function edit(pieces, list) {
  for (const [first, count, ...put] of list.reverse()) pieces.splice(first, count, ...put);
}

/** Why nothing is known of now; empty if it is. */
function trouble() {
  const now = performance.now();
  if (isSuspended || (isReturning && now - opened < SILENCE_MS)) return "hidden";
  if (isBroken || now - heard > SILENCE_MS) return "silent";
  return now - seen > AGE_MAX_MS ? "old" : "";
}

function judge() {
  const why = trouble();
  if (why) {
    isLost = true;
    tell({ why, at, ago: performance.now() - (why === "old" ? seen : heard) });
  } else if (isLost) {
    isLost = false;
    // The program sends what has changed, and does not know what silence has changed here.
    if (verdict) children(verdict, parse(kept.verdict));
    document.title = kept.title;
    tell(null);
    for (const patched of told.patched) patched(["verdict"]);
  }
}

function tell(trouble) {
  for (const lost of told.lost) lost(trouble);
}

function watch() {
  if (isSuspended) return;
  judge();
  if (!isLost) return;
  const quiet = performance.now() - Math.max(opened, source.readyState === EventSource.OPEN ? heard : 0);
  if (quiet > (source.readyState === EventSource.OPEN ? RECONNECT_MS : RETRY_MS)) retry();
}

/** A session that has ended needs a login; anything else is tried again. */
async function retry() {
  connect();
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch("/session", { signal: AbortSignal.timeout(RECONNECT_MS) });
    if (answer.status === 401) location.assign("/login");
  } catch {
    // Still away.
  } finally {
    asking = false;
  }
}

let hiding;

function turn() {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(suspend, HIDDEN_MS);
  } else if (isSuspended) {
    isSuspended = false;
    isReturning = true;
    connect();
    judge();
  }
}

function suspend() {
  isSuspended = isBroken = true;
  source?.close();
  judge();
}
