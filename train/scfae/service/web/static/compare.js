// Runs side by side: one chart a curve with a line a run, and whether two differ beyond chance.

import { ask, WHOLE } from "./site.js";

const place = document.getElementById("curves");
const box = place.querySelector(".charts");
const ids = place.dataset.ids;
const known = place.dataset.keys.split(",").filter(Boolean);
const charts = new Map();
const synced = window.uPlot.sync("compare");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const said = (key) => key.replace("train.", "training ").replace("val.", "validation ").replace("speed.", "").replaceAll("_", " ");
const digits = (value) => (value == null ? "–" : value && Math.abs(value) < 0.01 ? value.toExponential(2) : value.toFixed(3));
const names = new Map();

async function show(keys) {
  const wanted = keys.filter((key) => known.includes(key));
  if (!wanted.length) return;
  const answer = await ask("GET", `/compare?ids=${ids}&keys=${encodeURIComponent(wanted.join(","))}`);
  for (const run of answer.runs) names.set(run.id, run.name);
  for (const key of wanted) {
    const lines = answer.runs.map((run) => [run.id, answer.curves[run.id]?.curves[key]]);
    charts.set(key, { lines });
    draw(key);
  }
}

function draw(key) {
  const chart = charts.get(key);
  const lines = chart.lines.filter(([, line]) => line?.value.length);
  chart.plot?.destroy();
  if (!chart.holder) {
    chart.holder = document.createElement("div");
    chart.holder.className = "chart";
    const heading = document.createElement("h3");
    heading.textContent = said(key);
    const keep = document.createElement("button");
    keep.className = "plain small";
    keep.textContent = "PNG";
    keep.setAttribute("aria-label", `${said(key)} as PNG`);
    keep.addEventListener("click", () => save(key));
    heading.append(" ", keep);
    chart.holder.append(heading);
    box.append(chart.holder);
  }
  const xs = [...new Set(lines.flatMap(([, line]) => line.epoch))].sort((a, b) => a - b);
  const row = new Map(xs.map((x, i) => [x, i]));
  const order = [...names.keys()];
  const columns = lines.map(([, line]) => {
    const column = Array(xs.length).fill(null);
    line.epoch.forEach((x, i) => (column[row.get(x)] = line.value[i]));
    return column;
  });
  const grid = { stroke: colour("--rule"), width: 1 };
  const series = lines.map(([id]) => {
    const number = order.indexOf(id);
    return {
      label: names.get(id),
      stroke: colour(`--s${number % 6}`),
      dash: number >= 6 ? [6, 4] : undefined,
      width: 1.8,
      spanGaps: true,
      points: { show: xs.length < 30, size: 5 },
      value: (u, value) => digits(value),
    };
  });
  const options = {
    width: chart.holder.clientWidth || 400,
    height: 220,
    cursor: { sync: { key: synced.key } },
    scales: { x: { time: false } },
    axes: [{ stroke: colour("--quiet"), grid, ticks: grid, incrs: WHOLE }, { stroke: colour("--quiet"), grid, ticks: grid, size: 58 }],
    series: [{ label: "epoch", value: (u, x) => x ?? "–" }, ...series],
  };
  chart.plot = new window.uPlot(options, [xs, ...columns], chart.holder);
  chart.plot.root.setAttribute("role", "img");
  const last = lines.map(([id, line]) => `${names.get(id)} ${digits(line.value.at(-1))}`).join(", ");
  chart.plot.root.setAttribute("aria-label", `${said(key)}: ${last}`);
}

// The chart as it is seen, with what the page says beside it: its name, and the lines' names.
function save(key) {
  const { plot } = charts.get(key);
  const drawn = plot.ctx.canvas;
  const scale = drawn.width / drawn.clientWidth;
  const shown = plot.series.slice(1);
  const line = 20 * scale;
  const picture = document.createElement("canvas");
  picture.width = drawn.width;
  picture.height = drawn.height + line * (shown.length + 2);
  const pen = picture.getContext("2d");
  pen.fillStyle = getComputedStyle(document.body).backgroundColor;
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.fillStyle = colour("--text") || getComputedStyle(document.body).color;
  pen.font = `600 ${14 * scale}px sans-serif`;
  pen.fillText(said(key), 8 * scale, line);
  pen.drawImage(drawn, 0, line * 1.5);
  pen.font = `${12 * scale}px sans-serif`;
  shown.forEach((series, i) => {
    const y = drawn.height + line * (i + 2.2);
    pen.strokeStyle = series.stroke(plot, i + 1);
    pen.lineWidth = 2 * scale;
    pen.setLineDash((series.dash ?? []).map((length) => length * scale));
    pen.beginPath();
    pen.moveTo(8 * scale, y - 4 * scale);
    pen.lineTo(32 * scale, y - 4 * scale);
    pen.stroke();
    pen.fillText(series.label, 40 * scale, y);
  });
  picture.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${key}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...charts.keys()].forEach(draw));
new ResizeObserver(() => {
  for (const { plot, holder } of charts.values()) plot?.setSize({ width: holder.clientWidth, height: 220 });
}).observe(box);

document.getElementById("metric")?.addEventListener("change", (event) => event.target.form.submit());

const more = document.getElementById("more");
if (more) {
  for (const key of known) more.add(new Option(said(key), key));
  more.closest(".controls").hidden = false;
  more.addEventListener("change", async () => {
    if (more.value && !charts.has(more.value)) await show([more.value]);
    more.value = "";
  });
}

const form = document.getElementById("paired");
const told = document.getElementById("paired-answer");
if (form && form.first.options.length > 1) form.hidden = false;
else if (form) told.textContent = "Two evaluated runs are needed.";
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  told.textContent = "Drawing 1,000 resamples …";
  try {
    const query = new URLSearchParams({ first: form.first.value, second: form.second.value });
    show_paired(await ask("GET", `/compare/paired?${query}`));
  } catch (error) {
    told.textContent = error.message;
  }
  button.disabled = false;
});

function show_paired(answer) {
  const table = document.createElement("table");
  const heads = ["Present", "difference", "95 % interval", "p", ""];
  const head = table.createTHead().insertRow();
  for (const text of heads) {
    const cell = document.createElement("th");
    cell.textContent = text;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const [condition, figures] of Object.entries(answer.conditions)) {
    const one = figures[told.dataset.metric];
    if (!one) continue;
    const line = body.insertRow();
    const beyond = one.interval && (one.interval[0] > 0 || one.interval[1] < 0);
    const sign = (x) => (x == null ? "–" : (x > 0 ? "+" : "") + x.toFixed(3));
    const verdict = one.interval == null ? "undefined" : beyond ? "beyond chance" : "may be chance";
    const interval = one.interval ? `${sign(one.interval[0])} to ${sign(one.interval[1])}` : "–";
    const cells = [condition, sign(one.difference), interval, one.p == null ? "–" : one.p.toFixed(3), verdict];
    for (const text of cells) line.insertCell().textContent = text;
  }
  told.replaceChildren(table);
}

const first = [`val.${place.dataset.metric}`, "val.loss", "train.loss"];
await show(first.filter((key, i) => first.indexOf(key) === i));
