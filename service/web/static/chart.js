// The charts: numbers from the server, drawn by Plotly as SVG. WebGL would need eval.
"use strict";

const place = document.getElementById("chart");
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

// Plotly is large: the numbers are asked for while it is read.
const ready = new Promise((done) => {
  if (document.readyState === "complete") done();
  else document.addEventListener("DOMContentLoaded", done, { once: true });
});

async function plotly() {
  await ready;
  if (typeof Plotly === "undefined") throw new Error("plotly.min.js was not loaded");
}

let etag = null;
let shown = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function axes(costName, accuracies) {
  const soft = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 56, r: 16, t: 12, b: 48 },
    hovermode: "closest",
    hoverlabel: { bgcolor: colour("shade"), bordercolor: colour("line"), font: { color: colour("ink") } },
    showlegend: true,
    // By the container: by the plot, it stays where it was when the window gets another width.
    legend: { orientation: "h", yref: "container", y: 1, yanchor: "top", x: 0 },
    xaxis: { ...soft, title: { text: costName }, rangemode: "tozero", tickformat: "~s" },
    yaxis: { ...soft, title: { text: "accuracy on validation" }, tickformat: ".1%", range: rangeOf(accuracies) },
    uirevision: costName,
  };
}

// The front is what one looks at: trials far below it would press it flat.
function rangeOf(accuracies) {
  const known = accuracies.filter((each) => each !== null).sort((a, b) => a - b);
  if (known.length === 0) return [0, 1];
  const low = known[Math.floor(known.length * 0.02)];
  const high = known[known.length - 1];
  const edge = Math.max(0.01, (high - low) * 0.08);
  const bottom = Math.max(0, low - edge);
  // A mark at 100 % is seen whole; no label says more than that.
  return [bottom, Math.min(1 + 0.02 * (1 - bottom), high + edge)];
}

// With the ends of the errors that are drawn.
function reached(points) {
  return points.accuracy.flatMap((each, i) => (points.stderr[i] ? [each - points.stderr[i], each + points.stderr[i]] : [each]));
}

function texts(points) {
  return points.number.map((number, i) => {
    const error = points.stderr?.[i] ? ` ± ${(100 * points.stderr[i]).toFixed(1)}` : "";
    return `trial ${number}: ${(100 * points.accuracy[i]).toFixed(1)}%${error}`;
  });
}

function scatter(points, more) {
  return {
    type: "scatter",
    mode: "markers",
    x: points.cost,
    y: points.accuracy,
    text: texts(points),
    customdata: points.number,
    hovertemplate: "%{text}<br>%{x:.3s}<extra></extra>",
    ...more,
  };
}

function errors(points) {
  const values = points.stderr.map((each) => each ?? 0);
  return { type: "data", array: values, visible: values.some((each) => each > 0), color: colour("soft"), thickness: 1.2, width: 3 };
}

function traces(data) {
  const order = { colorscale: [[0, colour("early")], [1, colour("late")]], showscale: data.trials.number.length > 1, colorbar: { title: { text: "trial", side: "right" }, thickness: 10, len: 0.6, outlinewidth: 0, tickformat: "d", dtick: data.trials.number.length < 6 ? 1 : undefined } };
  const found = [
    scatter(data.trials, { name: "trials", error_y: errors(data.trials), marker: { size: 7, color: data.trials.number, ...order } }),
  ];
  if (data.stopped.number.length) found.push(scatter(data.stopped, { name: "stopped early", marker: { size: 6, symbol: "circle-open", color: colour("trial") } }));
  if (data.predicted?.cost.length) found.push({ type: "scatter", mode: "lines", name: "predicted by the library", x: data.predicted.cost, y: data.predicted.accuracy, line: { dash: "dash", width: 1.5, color: colour("accent") }, hoverinfo: "skip" });
  found.push(scatter(data.front, { name: "front", mode: "lines+markers", line: { shape: "hv", width: 2, color: colour("ink") }, marker: { size: 9, color: "rgba(0,0,0,0)", line: { width: 2, color: colour("ink") } } }));
  if (data.finalists.length) {
    const columns = { number: data.finalists.map((f) => f.number), cost: data.finalists.map((f) => f.cost), accuracy: data.finalists.map((f) => f.accuracy) };
    found.push(scatter(columns, { name: "finished", marker: { size: 11, symbol: "diamond", color: colour("good") } }));
  }
  if (data.teacher) found.push({ type: "scatter", mode: "markers", name: "teacher", x: [data.teacher.cost], y: [data.teacher.accuracy], marker: { size: 14, symbol: "star", color: colour("teacher") }, hovertemplate: "teacher: %{y:.1%}<br>%{x:.3s}<extra></extra>" });
  return found;
}

function lines(data) {
  const line = { color: colour("teacher"), dash: "dot", width: 1.5 };
  const found = [];
  if (data.budget !== null) found.push({ type: "line", xref: "x", yref: "paper", x0: data.budget, x1: data.budget, y0: 0, y1: 1, line });
  if (data.floor !== null) found.push({ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: data.floor, y1: data.floor, line });
  return found;
}

function labels(data) {
  if (data.budget === null) return [];
  return [{ x: data.budget, xref: "x", y: 0.02, yref: "paper", text: "budget", showarrow: false, xanchor: "right", yanchor: "bottom", textangle: -90, font: { color: colour("teacher") } }];
}

function draw(data) {
  shown = data;
  if (!data.teacher && data.trials.number.length === 0 && data.stopped.number.length === 0) {
    place.querySelector(".waiting p").textContent = "Nothing is measured yet: the teacher comes first.";
    return;
  }
  const layout = axes(data.cost_name, [...reached(data.trials), ...data.finalists.map((f) => f.accuracy), data.teacher?.accuracy ?? null]);
  layout.shapes = lines(data);
  layout.annotations = labels(data);
  const found = traces(data);
  if (narrow.matches) found[0].marker.showscale = false;
  place.querySelector(".waiting")?.remove();
  Plotly.react(place, found, layout, { ...CONFIG, displayModeBar: narrow.matches ? false : "hover" });
  document.getElementById("chart-note").textContent = data.hidden
    ? `${data.hidden} trials that others dominate and that lie close to one that is drawn are left out; all are in the list of trials.`
    : "";
  if (!place.dataset.listens) {
    place.dataset.listens = "true";
    place.on("plotly_click", (event) => open(event.points[0].customdata));
  }
}

function open(number) {
  if (number === undefined || number === null) return;
  htmx.ajax("GET", `${place.dataset.plans}${number}`, { target: "#plan-panel", select: "#plan-view", swap: "innerHTML" })
    .then(() => document.getElementById("plan-title")?.focus({ preventScroll: false }));
}

async function load() {
  const headers = etag === null ? {} : { "if-none-match": etag };
  const answer = await fetch(place.dataset.chart, { headers, cache: "no-store" });
  if (answer.status === 304 || !answer.ok) return;
  const data = await answer.json();
  await plotly();
  draw(data);
  etag = answer.headers.get("etag");
}

// --- several jobs over each other, by the share of their teacher's cost -----------------------

async function compare(ids) {
  const answers = await Promise.all(ids.map((id) => fetch(`/ui/jobs/${id}/chart?cost=flops`).then((a) => a.json())));
  await plotly();
  const dashes = ["solid", "dash", "dot", "dashdot"];
  const colours = ["accent", "good", "ink", "soft"];
  const known = answers.filter((each) => each.teacher);
  const found = known.map((data, i) => {
    const share = { ...data.front, cost: data.front.cost.map((cost) => cost / data.teacher.cost) };
    const paint = colour(colours[i % 4]);
    return { ...scatter(share, { name: data.name, mode: "lines+markers", line: { shape: "hv", width: 2, dash: dashes[Math.floor(i / 4) % 4], color: paint }, marker: { size: 7, color: paint } }), hovertemplate: "%{text}<br>%{x:.1%}<extra></extra>" };
  });
  // Jobs of one teacher measure it alike: it is one star.
  for (const accuracy of new Set(known.map((each) => each.teacher.accuracy))) {
    const name = `teacher, ${(100 * accuracy).toFixed(1)}%`;
    found.push({ type: "scatter", mode: "markers", name, x: [1], y: [accuracy], marker: { size: 14, symbol: "star", color: colour("teacher") }, text: known.filter((each) => each.teacher.accuracy === accuracy).map((each) => each.name).join("<br>"), hovertemplate: "teacher of %{text}<br>%{y:.1%}<extra></extra>" });
  }
  place.querySelector(".waiting")?.remove();
  const layout = axes("FLOPs, share of the teacher's", known.flatMap((each) => [...each.front.accuracy, each.teacher.accuracy]));
  layout.xaxis.tickformat = ".0%";
  Plotly.react(place, found, layout, { ...CONFIG, displayModeBar: false });
}

async function show() {
  try {
    if (place.dataset.compare) await compare(place.dataset.compare.split(" "));
    else await load();
  } catch {
    const waiting = place.querySelector(".waiting p");
    if (waiting) waiting.textContent = "The chart could not be loaded.";
  }
}

if (place) {
  show();
  document.body.addEventListener("job-event", show);
  for (const each of [dark, narrow]) each.addEventListener("change", () => (shown ? draw(shown) : show()));
}
