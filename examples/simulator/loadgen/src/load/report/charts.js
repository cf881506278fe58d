// Draws the charts of the report from the data that lies in it. They are drawn once, with axes; those of the panel (its
// charts.js) follow a live feed, and only the library is the same.
"use strict";
(function () {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let plots = [];

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function number(value) {
    if (value === 0) return "0";
    if (Math.abs(value) >= 1000) return (value / 1000).toLocaleString("en", { maximumFractionDigits: 1 }) + " k";
    return value.toLocaleString("en", { maximumSignificantDigits: 3 });
  }

  function tick(unit) {
    const show = (value) => (unit === " ms" && value >= 1000 ? number(value / 1000) + " s" : number(value) + unit);
    return (plot, values) => values.map((value) => (value === null ? "" : show(value)));
  }

  // Decades only: the steps between them would lie upon each other.
  function decades(plot, axis, min, max) {
    const splits = [];
    for (let power = Math.ceil(Math.log10(min) - 1e-9); 10 ** power <= max * (1 + 1e-9); power++) {
      splits.push(10 ** power);
    }
    return splits;
  }

  function options(chart, box) {
    const axis = {
      stroke: colour("muted"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line"), width: 1, size: 4 },
    };
    const x = chart.log_x ? { distr: 3, time: false } : { time: false };
    const y = { range: (plot, min, max) => [0, chart.max || Math.max(max * 1.1, 1)] };
    const across = { values: tick(chart.x_unit), size: 28, space: 56 };
    if (chart.log_x) across.splits = decades;
    return {
      width: box.clientWidth,
      height: box.clientHeight,
      cursor: { show: false },
      legend: { show: false },
      scales: { x, y },
      axes: [
        Object.assign({}, axis, across),
        Object.assign({}, axis, { values: tick(chart.unit), size: 60, space: 32 }),
      ],
      series: [{}].concat(
        chart.series.map((series) => ({
          stroke: colour(series.colour),
          width: 2,
          dash: series.dashed ? [6, 4] : undefined,
          points: { show: chart.x.length < 3 },
          spanGaps: false,
        })),
      ),
    };
  }

  function draw() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    for (const chart of charts) {
      const box = document.getElementById(chart.id);
      const values = chart.series.some((series) => series.values.some((value) => value !== null));
      if (!values) {
        box.innerHTML = "";
        box.appendChild(document.createElement("p")).textContent = chart.empty;
        continue;
      }
      const data = [chart.x].concat(chart.series.map((series) => series.values));
      plots.push(new uPlot(options(chart, box), data, box));
    }
  }

  let waiting = 0;
  function redraw() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  }
  draw();
  window.addEventListener("resize", redraw);
  dark.addEventListener("change", redraw);
})();
