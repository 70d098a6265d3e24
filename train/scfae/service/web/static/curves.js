// Live curves of a run: redrawn when an event says that an epoch has ended.

import { ask, url, WHOLE } from "./site.js";

const place = document.getElementById("curves");
const id = place.dataset.id;
const box = place.querySelector(".charts");
const charts = new Map();
const synced = window.uPlot.sync("run");
let drawn = null;

const GROUPS = [
  ["Loss, weighted sum", (key) => key === "train.loss" || key === "val.loss"],
  ["Validation, nothing masked", (key) => key.startsWith("val.") && key !== "val.loss"],
  ["Parts of the training loss", (key) => key.startsWith("train.") && key !== "train.loss"],
  ["Norm of the gradient", (key) => key.startsWith("grad_norm")],
  ["Learning rate", (key) => key === "lr"],
  ["Steps a second", (key) => key === "speed.steps_per_s"],
  ["Share of the time waiting for data", (key) => key === "speed.waiting"],
];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const said = (key) => key.replace(/^(train|val|speed)\./, (all) => (all === "speed." ? "" : all)).replace("train.", "training ").replace("val.", "validation ").replaceAll("_", " ");
const digits = (value) => (value == null ? "–" : Math.abs(value) >= 1000 || (value && Math.abs(value) < 0.01) ? value.toExponential(2) : value.toFixed(3));

const axis = () => document.getElementById("axis").value;
const smoothing = () => Number(document.getElementById("smooth").value);
const isLog = () => document.getElementById("log-axis").checked;

async function load() {
  const answer = await ask("GET", `/runs/${id}/metrics?max_points=1000&smoothing=${smoothing()}`);
  drawn = answer;
  draw(answer);
}

function draw({ keys, curves, resumed }) {
  document.getElementById("no-curves").hidden = keys.length > 0;
  place.querySelector(".controls").hidden = keys.length === 0;
  for (const [title, belongs] of GROUPS) {
    const names = keys.filter(belongs);
    if (names.length) chart(title, names.map((name) => [name, curves[name]]), resumed);
  }
}

function chart(title, lines, resumed) {
  const across = axis() === "time" ? "time_s" : axis();
  const xs = [...new Set(lines.flatMap(([, line]) => line[across]))].sort((a, b) => a - b);
  const row = new Map(xs.map((x, i) => [x, i]));
  const columns = [];
  const series = [{ label: axis(), value: (u, x) => (x == null ? "–" : across === "time_s" ? new Date(x * 1000).toLocaleTimeString() : x) }];
  lines.forEach(([name, line], number) => {
    const stroke = colour(`--s${number % 6}`);
    const isSmooth = line.smooth.length > 0;
    for (const [values, extra] of [[line.value, isSmooth ? "55" : ""], ...(isSmooth ? [[line.smooth, ""]] : [])]) {
      const column = Array(xs.length).fill(null);
      line[across].forEach((x, i) => (column[row.get(x)] = values[i]));
      columns.push(column);
      series.push({
        label: said(name) + (values === line.smooth ? ", smooth" : ""),
        stroke: stroke + extra,
        width: 1.8,
        spanGaps: true,
        points: { show: xs.length < 30, size: 5 },
        value: (u, value) => digits(value),
      });
    }
  });
  const key = [axis(), isLog(), smoothing() > 0, series.length].join();
  const known = charts.get(title);
  if (known && known.key === key) {
    known.plot.setData([xs, ...columns]);
    return;
  }
  known?.plot.destroy();
  const holder = known?.holder ?? document.createElement("div");
  if (!known) {
    holder.className = "chart";
    const heading = document.createElement("h3");
    heading.textContent = title;
    holder.append(heading);
    box.append(holder);
  }
  const grid = { stroke: colour("--rule"), width: 1 };
  const options = {
    width: holder.clientWidth || 400,
    height: 220,
    cursor: { sync: { key: synced.key } },
    scales: { x: { time: across === "time_s" }, y: { distr: isLog() ? 3 : 1 } },
    axes: [
      { stroke: colour("--quiet"), grid, ticks: grid, ...(across === "time_s" ? {} : { incrs: WHOLE }) },
      { stroke: colour("--quiet"), grid, ticks: grid, size: 58, values: (u, values) => values.map((v) => (v == null ? "" : Math.abs(v) >= 1e4 || (v && Math.abs(v) < 1e-3) ? v.toExponential(0) : String(+v.toPrecision(4)))) },
    ],
    series,
    hooks: { draw: [(plot) => marks(plot, lines, resumed, across)] },
  };
  const plot = new window.uPlot(options, [xs, ...columns], holder);
  plot.root.setAttribute("role", "img");
  const last = lines.map(([name, line]) => `${said(name)} ${digits(line.value.at(-1))}`).join(", ");
  plot.root.setAttribute("aria-label", `${title}: ${last}`);
  charts.set(title, { plot, holder, key });
}

/** Dashes where the run went on after a stop. */
function marks(plot, lines, resumed, across) {
  const { ctx, bbox } = plot;
  const [, line] = lines[0];
  ctx.save();
  ctx.strokeStyle = colour("--quiet");
  ctx.setLineDash([4, 4]);
  for (const step of resumed) {
    const i = line.step.findIndex((one) => one >= step);
    if (i < 0) continue;
    const x = plot.valToPos(across === "step" ? step : line[across][i], "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function renew() {
  for (const { plot } of charts.values()) plot.destroy();
  for (const { holder } of charts.values()) holder.remove();
  charts.clear();
  if (drawn) draw(drawn);
}
document.getElementById("axis").addEventListener("change", renew);
document.getElementById("log-axis").addEventListener("change", renew);
document.getElementById("smooth").addEventListener("input", (event) => {
  event.target.nextElementSibling.value = smoothing() ? smoothing().toFixed(2) : "off";
  load();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renew);
new ResizeObserver(() => {
  for (const { plot, holder } of charts.values()) plot.setSize({ width: holder.clientWidth, height: 220 });
}).observe(box);

await load();
if (place.dataset.live) {
  const events = new EventSource(url(`/api/v1/runs/${id}/events`));
  let due = null;
  const soon = () => {
    due ??= setTimeout(() => {
      due = null;
      load();
    }, 400);
  };
  for (const kind of ["epoch", "resumed", "finished"]) events.addEventListener(kind, soon);
  events.addEventListener("end", () => {
    events.close();
    soon();
  });
}
