// The steps of a race without leaving the page: the program plays them, and the focus stays where it is.
import { say } from "./controls.js";
import { morph } from "./morph.js";

/** How long a step stays while the race plays by itself: the time to read its sentence. */
const PLAY_MS = 5000;

let race = null;
let timer = null;
let isBusy = false;

export function begin() {
  race = document.querySelector("[data-race]");
  if (!race) return;
  document.addEventListener("click", clicked);
  addEventListener("popstate", () => (stop(), show(location.href)));
  if (race.dataset.playing !== undefined) play();
}

function clicked(event) {
  const control = event.target.closest("[data-go], [data-play]");
  if (!control) return;
  if (control.dataset.play !== undefined) return timer === null ? play(true) : stop();
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!isPlain || !control.href) return;
  event.preventDefault();
  stop();
  go(control.href);
}

async function go(url) {
  if (await show(url)) history.pushState(null, "", url);
}

/** Puts the race as it is at `url` in place; returns whether it could be played. */
async function show(url) {
  if (isBusy) return false;
  isBusy = true;
  try {
    const answer = await fetch(url, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign(url), false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-race]");
    if (answer.ok && fresh) {
      morph(race, fresh);
      mark();
      return true;
    }
    say(page.querySelector("[data-race-failed]")?.textContent ?? "The race cannot be played now. Wait a moment.", false);
  } catch {
    say("The panel does not respond: try again in a moment.", false);
  } finally {
    isBusy = false;
  }
  stop();
  return false;
}

function play(now = false) {
  timer = setTimeout(next, now ? 0 : PLAY_MS);
  mark();
}

function stop() {
  clearTimeout(timer);
  timer = null;
  mark();
}

/** Plays one step, and goes on unless it was stopped meanwhile or was the last one. */
async function next() {
  const link = race.querySelector("[data-go=next]");
  if (link?.href) await go(link.href);
  if (timer === null) return;
  if (race.querySelector("[data-go=next]")?.href) play();
  else stop();
}

/** Shows whether it plays by itself. */
function mark() {
  const button = race.querySelector("[data-play]");
  button?.setAttribute("aria-pressed", timer !== null);
  const words = button?.querySelector("span");
  if (words) words.textContent = timer === null ? "Play" : "Pause";
}
