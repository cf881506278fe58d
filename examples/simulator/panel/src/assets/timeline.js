// The stretch of time that all charts show, and the moment in it that is looked at. All times are in seconds since 1970.

/** The lengths to choose from, in seconds. The program keeps samples for the longest one. */
export const SPANS = [60, 300, 600];
/** The shortest stretch that is worth a closer look. */
const SHORTEST_S = 5;

let span = SPANS[0];
/** [from, to] of a stretch that stays, while one is looked at; `null` while the charts follow the present. */
let stretch = null;
let moment = null;

export const range = (now) => stretch ?? [now - span, now];
export const length = () => span;
export const isFixed = () => stretch !== null;
export const isChosen = (seconds) => stretch === null && span === seconds;
export const looked = () => moment;

/** Follows the present with another length. */
export function choose(seconds) {
  span = seconds;
  reset();
}

/** Follows the present again. */
export function reset() {
  stretch = moment = null;
}

export function look(at) {
  moment = at;
}

/** Shows a stretch and stays there, as far as samples are kept. */
export function zoom(from, to, now) {
  const middle = (from + to) / 2;
  const half = Math.max(SHORTEST_S, to - from) / 2;
  const end = Math.min(middle + half, now);
  stretch = [Math.max(end - 2 * half, now - SPANS.at(-1)), end];
}

/** Half the stretch, around the moment that is looked at. */
export function closer(now) {
  const [from, to] = range(now);
  const quarter = (to - from) / 4;
  const middle = Math.min(Math.max(moment ?? to, from + quarter), to - quarter);
  zoom(middle - quarter, middle + quarter, now);
}

/** Twice the stretch; the longest one follows the present. */
export function wider(now) {
  const [from, to] = range(now);
  const longer = 2 * (to - from);
  if (longer >= SPANS.at(-1)) return choose(SPANS.at(-1));
  if (!stretch) return choose(SPANS.find((seconds) => seconds > span) ?? span);
  zoom(from - longer / 4, to + longer / 4, now);
}
