// Four charts on one time axis, drawn from the samples that the program keeps.

const WINDOW_S = 60;
const root = document.getElementById("charts");
const PLOTS = [
  { name: "Hit ratio", series: [["hit", "accent"]], unit: (v) => `${v.toFixed(1)} %`, range: [0, 100] },
  { name: "Database loads", series: [["loads", "accent"]], unit: (v) => `${v.toFixed(v < 10 ? 1 : 0)} /s` },
  { name: "Invalidation lag", series: [["lag99", "accent"], ["lag50", "muted"]], unit: ms, log: true, limit: 20 },
  { name: "Staleness", series: [["stale", "stale"]], unit: (v) => (v < 0.02 ? "0 ms" : `${v.toFixed(1)} s`), loud: true },
  { name: "Request time", series: [["p99", "accent"], ["p50", "muted"]], unit: ms },
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
  draw();
}

export function chart(data) {
  if (!root) return;
  samples = data.whole ? data.samples : [...samples, ...data.samples];
  samples = samples.slice(-180);
  marks = data.marks;
  draw();
}

/** Lines are grey while nothing is known of now, and end at the time of the last look. */
export function lost(trouble) {
  if (!root) return;
  const time = trouble ? `as of ${new Date(trouble.at).toISOString().slice(11, 19)}` : "";
  if (time === asOf) return;
  asOf = time;
  for (const plot of PLOTS) plot.end.textContent = asOf || "now";
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
  plot.frame.setAttribute("role", "img");
  plot.note = element("span", "", "");
  const axis = element("div", "k");
  plot.end = element("span", "", "now");
  axis.append(element("span", "", `${WINDOW_S} s`), plot.note, plot.end);
  figure.append(caption, plot.frame, axis);
  root.append(figure);
  plot.chart = make(plot);
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
    height: 64,
    padding: [4, 0, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, range: () => [now() - WINDOW_S, now()] }, y: scale(plot) },
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
  for (const { t } of marks.filter((mark) => mark.t > now() - WINDOW_S)) {
    const x = u.valToPos(t, "x", true);
    rule([x, bbox.top], [x, bottom], "muted", [2, 2]);
  }
}

function draw() {
  const shown = samples.filter((sample) => sample.t > now() - WINDOW_S - 2);
  for (const plot of PLOTS) {
    const columns = plot.series.map(([key]) => shown.map((sample) => floor(sample[key], plot)));
    plot.chart.setData([shown.map((sample) => sample.t), ...columns]);
    caption(plot, columns);
  }
}

/** A logarithm has no zero. */
function floor(value, plot) {
  if (value === null || value === undefined) return null;
  return plot.log ? Math.max(value, 0.1) : value;
}

function caption(plot, columns) {
  const last = columns[0].at(-1) ?? null;
  const known = last !== null;
  plot.value.textContent = known ? plot.unit(last) : "–";
  plot.value.className = plot.loud && !asOf && last > 0.02 ? "bad" : "";
  plot.frame.setAttribute("aria-label", `${plot.name}: ${known ? plot.unit(last) : "no data"}`);
  const mark = marks.filter(({ t }) => t > now() - WINDOW_S).at(-1);
  const any = columns[0].some((value) => value !== null);
  const second = columns[1]?.at(-1) ?? null;
  if (!any) plot.note.textContent = "no data yet";
  else if (second !== null) plot.note.textContent = `p99 · ┄ p50 ${plot.unit(second)}`;
  else plot.note.textContent = mark ? `┆ ${mark.what}` : "";
}

function resize() {
  for (const plot of PLOTS) plot.chart.setSize({ width: Math.max(80, plot.frame.clientWidth), height: 64 });
}

function rebuild() {
  for (const plot of PLOTS) {
    plot.chart.destroy();
    plot.chart = make(plot);
  }
  draw();
}
