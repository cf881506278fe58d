// The last ten minutes by a slider: verdict, events and charts of one moment together. Everything that is of now is hidden meanwhile.
import * as charts from "./charts.js";
import { say } from "./controls.js";
import { children } from "./morph.js";
import * as timeline from "./timeline.js";

/** While the slider moves, the program is asked this often at most. */
const ASK_MS = 120;

const slider = document.getElementById("past");
const view = document.getElementById("past-view");
const time = document.getElementById("past-time");
const end = document.getElementById("past-end");

/** What the stream has sent: the charts get the part of it that lies before the chosen moment. */
let samples = [];
let marks = [];
const KEPT = 700;
/** The chosen moment in ms since 1970; `null` while the page follows the present. */
let chosen = null;
let trouble = null;
let asking = null;
let isBusy = false;

export function begin() {
  if (!slider) return;
  slider.value = "0";
  slider.addEventListener("input", moved);
  end.addEventListener("click", () => (leave(), slider.focus()));
  setInterval(tell, 1000);
}

/** The time of a sample, in either form. */
const at = (sample) => (Array.isArray(sample) ? sample[0] : sample.t);

export function chart(data) {
  samples = data.whole ? data.samples : [...samples, ...data.samples];
  samples = samples.slice(-KEPT);
  if (data.marks) marks = data.marks;
  if (chosen === null) charts.chart(data);
}

/** The time of the newest sample: another stream goes on after it. */
export const newest = () => (samples.length ? at(samples.at(-1)) : undefined);

export function lost(why) {
  trouble = why;
  if (chosen === null) charts.lost(why);
}

/** The title is not of now either. */
export function patched() {
  if (chosen !== null) document.title = `as of ${clock(chosen)} · cachefront`;
}

const clock = (ms) => `${new Date(ms).toISOString().slice(11, 19)} UTC`;
/** Now, by the program's clock as far as it is known. */
const now = () => Math.max((newest() ?? 0) * 1000, Number(document.body.dataset.at)) || Date.now();

function moved() {
  const ago = -Number(slider.value);
  if (ago <= 0) return leave();
  chosen = Math.round(now() / 1000) * 1000 - ago * 1000;
  enter();
}

function enter() {
  // A stretch that was zoomed into is not of the chosen moment.
  timeline.reset();
  document.body.classList.add("past");
  view.hidden = end.hidden = false;
  tell();
  draw();
  patched();
  clearTimeout(asking);
  asking = setTimeout(show, isBusy ? ASK_MS : 0);
}

function leave() {
  if (chosen === null) return;
  chosen = null;
  clearTimeout(asking);
  document.body.classList.remove("past");
  view.hidden = end.hidden = true;
  view.replaceChildren();
  slider.value = "0";
  tell();
  charts.chart({ samples, marks, whole: true });
  charts.lost(trouble);
  // The title and what was said are the program's again.
  document.dispatchEvent(new Event("panel:reconnect"));
}

/** Says which moment is shown, and how long ago it was. */
function tell() {
  if (!slider) return;
  if (chosen === null) {
    if (time.textContent !== "now") time.textContent = "now";
    slider.setAttribute("aria-valuetext", "now");
    return;
  }
  const seconds = Math.max(0, Math.round((now() - chosen) / 1000));
  // The moment stays, and its place on the slider moves.
  slider.value = `${-seconds}`;
  const ago = seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ${seconds % 60} s ago`;
  time.textContent = `The past: ${clock(chosen)}, ${ago}. Nothing here is live.`;
  slider.setAttribute("aria-valuetext", `${clock(chosen)}, ${ago}`);
}

/** The charts end at the chosen moment. */
function draw() {
  const until = chosen / 1000;
  const before = (one) => at(one) <= until;
  const cut = samples.filter(before);
  // Where nothing was measured the charts end at the moment all the same.
  if (!cut.length || until - at(cut.at(-1)) > 1) cut.push(Array.isArray(samples[0]) ? [until] : { t: until });
  charts.chart({ samples: cut, marks: marks.filter((mark) => mark.t <= until), whole: true });
  charts.lost({ at: chosen });
}

/** Fetches what was known at the chosen moment; the last one that was chosen wins. */
async function show() {
  if (isBusy || chosen === null) return;
  isBusy = true;
  const wanted = chosen;
  try {
    const answer = await fetch(`/past?at=${wanted}`, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign("/login");
    if (!answer.ok) throw new Error(`${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    if (chosen !== null) children(view, fresh);
  } catch {
    if (chosen !== null) {
      view.replaceChildren();
      say("What was at this moment could not be fetched: move the slider again.", false);
    }
  } finally {
    isBusy = false;
  }
  if (chosen !== null && chosen !== wanted) asking = setTimeout(show, ASK_MS);
}
