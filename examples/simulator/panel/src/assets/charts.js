// The charts on one time axis, drawn from the samples that the program keeps.
import { listen } from "./chart_input.js";
import * as timeline from "./timeline.js";

/** The values of a sample, in the order in which they are sent. */
const COLUMNS = ["t", "hit", "loads", "reads", "lag50", "lag99", "stale", "p50", "p99", "bus"];
/** As many samples as the program keeps. */
const SAMPLES_MAX = 620;
const HEIGHT = 64;
const root = document.getElementById("charts");
const PLOTS = [
  { name: "Hit ratio", series: [["hit", "accent"]], unit: (v) => `${v.toFixed(1)} %`, range: [0, 100] },
  { name: "Database loads", series: [["loads", "accent"]], unit: (v) => `${v.toFixed(v < 10 ? 1 : 0)} /s` },
  { name: "Invalidation lag", series: [["lag99", "accent", "p99"], ["lag50", "muted", "p50"]], unit: ms, log: true, limit: 20 },
  { name: "Staleness", series: [["stale", "stale"]], unit: (v) => (v < 0.02 ? "0 ms" : `${v.toFixed(1)} s`), loud: true },
  { name: "Request time", series: [["p99", "accent", "p99"], ["p50", "muted", "p50"]], unit: ms },
];
let samples = [];
let marks = [];
/** When the values were seen, while nothing newer is known. */
let asOf = "";

function ms(value) {
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function begin() {
  if (!root) return;
  PLOTS.forEach(build);
  new ResizeObserver(resize).observe(root);
  document.addEventListener("panel:theme", rebuild);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
  document.addEventListener("pointerdown", (event) => root.contains(event.target) || (timeline.look(null), read()));
  root.closest("section").addEventListener("click", pressed);
  draw();
}

function pressed(event) {
  const { span, follow } = event.target.closest("button")?.dataset ?? {};
  if (span) timeline.choose(Number(span));
  else if (follow !== undefined) timeline.reset();
  else return;
  draw();
}

export function chart(data) {
  if (!root) return;
  const sent = data.samples.map((values) => Object.fromEntries(COLUMNS.map((name, at) => [name, values[at]])));
  samples = data.whole ? sent : [...samples, ...sent];
  samples = samples.slice(-SAMPLES_MAX);
  if (data.marks) marks = data.marks;
  draw();
}

/** The time of the newest sample: another stream goes on after it. */
export const newest = () => samples.at(-1)?.t;

/** Lines are grey while nothing is known of now, and end at the time of the last look. */
export function lost(trouble) {
  if (!root) return;
  const time = trouble ? `as of ${new Date(trouble.at).toISOString().slice(11, 19)}` : "";
  if (time === asOf) return;
  asOf = time;
  rebuild();
}

/** A colour of the page's own, as it is in the theme of this moment. */
function colour(name) {
  const probe = document.createElement("span");
  probe.className = `paint-${name}`;
  root.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function build(plot) {
  const figure = element("figure", "chart");
  const caption = document.createElement("figcaption");
  plot.value = element("b", "", "–");
  caption.append(element("span", "", plot.name), plot.value);
  plot.frame = element("div", "plot");
  const { frame } = plot;
  for (const [name, value] of [["role", "slider"], ["aria-label", plot.name], ["aria-describedby", "chart-keys"]]) {
    frame.setAttribute(name, value);
  }
  frame.tabIndex = 0;
  plot.cursor = element("i", "cursor");
  plot.spots = plot.series.map(([, paint]) => element("i", `spot paint-${paint}`));
  frame.append(plot.cursor, ...plot.spots);
  const axis = element("div", "k");
  plot.begin = element("span", "", "");
  plot.note = element("span", "", "");
  plot.end = element("span", "", "now");
  axis.append(plot.begin, plot.note, plot.end);
  figure.append(caption, frame, axis);
  root.append(figure);
  plot.chart = make(plot);
  const time = (x) => plot.chart.posToVal(x, "x");
  listen(frame, { time, step, ends: () => [inRange()[0]?.t, inRange().at(-1)?.t], now }, changed);
}

/** The time of the sample that is this many away from the one that is looked at, or from the newest one. */
function step(count) {
  const all = inRange();
  if (!all.length) return null;
  const at = timeline.looked() === null ? all.length - (count < 0 ? 0 : 1) : nearest(all, timeline.looked());
  return all[Math.min(Math.max(at + count, 0), all.length - 1)].t;
}

/** The place of the sample that is nearest to a time. */
function nearest(all, time) {
  const after = all.findIndex((sample) => sample.t >= time);
  if (after <= 0) return after === 0 ? 0 : all.length - 1;
  return all[after].t - time < time - all[after - 1].t ? after : after - 1;
}

const inRange = () => {
  const [from, to] = timeline.range(now());
  return samples.filter(({ t }) => t >= from && t <= to);
};

let drawn = "";

/** What is looked at has changed, or the stretch too. */
function changed() {
  if (String(timeline.range(now())) === drawn) read();
  else draw();
}

function make(plot) {
  const line = ([key, paint], at) => ({
    label: key,
    stroke: colour(asOf ? "muted" : paint),
    width: 1.5,
    dash: at ? [3, 3] : undefined,
    points: { show: true, size: 3, filter: alone },
    spanGaps: false,
  });
  const options = {
    width: Math.max(80, plot.frame.clientWidth),
    height: HEIGHT,
    padding: [4, 0, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, range: () => timeline.range(now()) }, y: scale(plot) },
    axes: [{ show: false }, { show: false }],
    series: [{}, ...plot.series.map(line)],
    hooks: { draw: [(u) => marked(u, plot)] },
  };
  return new uPlot(options, [[], ...plot.series.map(() => [])], plot.frame);
}

/** A value between two gaps is no line: it is shown as a point. */
function alone(u, at) {
  const values = u.data[at];
  return [...values.keys()].filter((i) => values[i] != null && values[i - 1] == null && values[i + 1] == null);
}

function scale(plot) {
  if (plot.log) return { distr: 3, range: (_u, low, high) => [0.1, Math.max(100, (high ?? 1) * 2)] };
  if (plot.range) return { range: plot.range };
  return { range: (_u, low, high) => [0, Math.max(plot.loud ? 2 : 10, (high ?? 0) * 1.2)] };
}

const now = () => samples.at(-1)?.t ?? Date.now() / 1000;

/** The threshold, the ground line, and a dashed mark where the mode or a fault changed. */
function marked(u, plot) {
  const { ctx, bbox } = u;
  const rule = (from, to, paint, dash) => {
    ctx.save();
    ctx.strokeStyle = colour(paint);
    ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(...from);
    ctx.lineTo(...to);
    ctx.stroke();
    ctx.restore();
  };
  const bottom = bbox.top + bbox.height;
  rule([bbox.left, bottom], [bbox.left + bbox.width, bottom], "line", []);
  if (plot.limit) {
    const y = u.valToPos(plot.limit, "y", true);
    rule([bbox.left, y], [bbox.left + bbox.width, y], "warn", [4, 3]);
  }
  const [from, to] = timeline.range(now());
  for (const { t } of marks.filter((mark) => mark.t >= from && mark.t <= to)) {
    const x = u.valToPos(t, "x", true);
    rule([x, bbox.top], [x, bottom], "muted", [2, 2]);
  }
}

function draw() {
  const [from, to] = timeline.range(now());
  drawn = String([from, to]);
  // A line goes on beyond the edge.
  const shown = samples.filter(({ t }) => t > from - 2 && t < to + 2);
  for (const plot of PLOTS) {
    const columns = plot.series.map(([key]) => shown.map((sample) => floor(sample[key], plot)));
    plot.chart.setData([shown.map((sample) => sample.t), ...columns]);
  }
  name();
  // The charts have their new scales only after this turn.
  queueMicrotask(read);
}

const clock = (t) => new Date(t * 1000).toISOString().slice(11, 19);

const spanInWords = () => (timeline.length() < 120 ? `${timeline.length()} s` : `${timeline.length() / 60} min`);

/** Says which stretch is shown, and which button chose it. */
function name() {
  const card = root.closest("section");
  const [from, to] = timeline.range(now());
  card.querySelector("[data-shown]").textContent = timeline.isFixed() ? `${clock(from)} to ${clock(to)} UTC` : `last ${spanInWords()}`;
  for (const button of card.querySelectorAll("[data-span]")) {
    button.setAttribute("aria-pressed", timeline.isChosen(Number(button.dataset.span)));
  }
  card.querySelector("[data-follow]").hidden = !timeline.isFixed();
}

/** The ends of the time axis. The left one gives way to the time of the moment that is looked at. */
function ends(plot, looked) {
  const [from, to] = timeline.range(now());
  plot.begin.textContent = looked ? clock(looked.t) : timeline.isFixed() ? clock(from) : spanInWords();
  plot.begin.className = looked ? "then" : "";
  plot.end.textContent = looked ? "" : timeline.isFixed() ? clock(to) : asOf || "now";
}

/** Shows the values of the moment that is looked at, or the newest ones. */
function read() {
  const all = inRange();
  const looked = timeline.looked() === null || !all.length ? null : all[nearest(all, timeline.looked())];
  for (const plot of PLOTS) caption(plot, all, looked);
}

/** A logarithm has no zero. */
function floor(value, plot) {
  if (value === null || value === undefined) return null;
  return plot.log ? Math.max(value, 0.1) : value;
}

function caption(plot, all, looked) {
  const shown = looked ?? samples.at(-1);
  const values = plot.series.map(([key]) => shown?.[key] ?? null);
  const words = values.map((value) => (value === null ? "–" : plot.unit(value)));
  const [last] = values;
  plot.value.textContent = words[0];
  plot.value.className = looked ? "then" : plot.loud && !asOf && last > 0.02 ? "bad" : "";
  plot.note.textContent = note(plot, all, looked, words);
  ends(plot, looked);
  point(plot, looked, values);
  say(plot, all, looked, words);
}

function note(plot, all, looked, words) {
  const [from, to] = looked ? [looked.t - 1, looked.t + 1] : timeline.range(now());
  const mark = marks.filter(({ t }) => t > from && t <= to).at(-1);
  if (!all.some((sample) => sample[plot.series[0][0]] !== null)) return timeline.isFixed() ? "no data" : "no data yet";
  // Between the times of both ends there is no room for more.
  if (timeline.isFixed() && !looked) return "";
  if (words.length > 1 && words[1] !== "–") return `p99 · ┄ p50 ${words[1]}`;
  return mark ? `┆ ${mark.what}` : "";
}

/** A line at the moment that is looked at, and a dot on each line of the chart. */
function point(plot, looked, values) {
  const at = (node, x, y) => {
    node.hidden = x === null;
    if (x !== null) [node.style.left, node.style.top] = [`${x}px`, `${y}px`];
  };
  const x = looked && plot.chart.valToPos(looked.t, "x");
  at(plot.cursor, x, 0);
  values.forEach((value, line) => {
    const isThere = looked && value !== null;
    at(plot.spots[line], isThere ? x : null, isThere && plot.chart.valToPos(floor(value, plot), "y") + plot.chart.over.offsetTop);
  });
}

/** The same for those who do not see it. */
function say(plot, all, looked, words) {
  const series = plot.series.map(([, , label], at) => [label, words[at]].filter(Boolean).join(" ")).join(", ");
  const time = looked ? `${clock(looked.t)} UTC` : asOf || "now";
  const at = looked ? all.indexOf(looked) : all.length - 1;
  const state = { "aria-valuemin": 0, "aria-valuemax": Math.max(0, all.length - 1), "aria-valuenow": Math.max(0, at) };
  for (const [name, value] of Object.entries(state)) plot.frame.setAttribute(name, value);
  plot.frame.setAttribute("aria-valuetext", `${time}: ${series}`);
}

function resize() {
  for (const plot of PLOTS) plot.chart.setSize({ width: Math.max(80, plot.frame.clientWidth), height: HEIGHT });
}

function rebuild() {
  for (const plot of PLOTS) {
    plot.chart.destroy();
    plot.chart = make(plot);
  }
  draw();
}
