// The form of a new run: what was changed, what is wrong with it, the same by other means.

import { ask, say, url } from "./site.js";

const form = document.getElementById("new");
const clone = form.dataset.clone;
const stores = JSON.parse(document.getElementById("stores").textContent);
const start = JSON.parse(document.getElementById("start").textContent);
const branches = document.getElementById("branches");
const DRAFT = `scfae-draft${document.documentElement.dataset.root}`;
const id = (name) => document.getElementById(name);
const store = () => stores.find((one) => one.path === id("f-store").value);

/* Columns. */

function addBranch(modality = "", column = "") {
  const known = Object.entries(store()?.columns ?? {});
  const row = document.createElement("div");
  row.className = "branch";
  const name = document.createElement("input");
  name.type = "text";
  name.value = modality;
  name.setAttribute("aria-label", "Modality");
  name.placeholder = "modality";
  const select = document.createElement("select");
  select.setAttribute("aria-label", `Column of ${modality || "the modality"}`);
  select.append(new Option("choose a column", ""));
  for (const [title, info] of known) {
    const rate = info.rows_per_second ? `, ${+info.rows_per_second.toFixed(2)} rows/s` : "";
    select.append(new Option(`${title} (${info.modality}, ${info.dim}${rate})`, title, false, title === column));
  }
  if (column && !known.some(([title]) => title === column)) select.append(new Option(column, column, true, true));
  select.addEventListener("change", () => {
    if (!name.value) name.value = store().columns[select.value]?.modality ?? "";
  });
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "×";
  remove.setAttribute("aria-label", `Remove ${modality || "this column"}`);
  remove.addEventListener("click", () => {
    row.remove();
    soon();
  });
  row.append(name, select, remove);
  branches.append(row);
}

function setStore(columns) {
  branches.replaceChildren();
  const chosen = store();
  id("labels").replaceChildren(...(chosen?.labels ?? []).map((label) => new Option(label)));
  if (!columns) {
    columns = {};
    for (const [name, info] of Object.entries(chosen?.columns ?? {})) columns[info.modality] ??= name;
    const label = id("f-label"); // whoever is typing in it already is not to be written over
    if (chosen && label !== document.activeElement && !chosen.labels.includes(label.value)) label.value = chosen.labels[0] ?? "";
  }
  for (const [modality, column] of Object.entries(columns)) addBranch(modality, column);
}
id("add-branch").addEventListener("click", () => {
  addBranch();
  branches.lastElementChild.querySelector("select").focus();
});
id("f-store").addEventListener("change", () => setStore(null));

/* What is asked. */

const typed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};
const pairs = (text) =>
  Object.fromEntries(text.split(/\s+/).filter(Boolean).map((word) => {
    const at = word.indexOf("=");
    return at < 0 ? [word, ""] : [word.slice(0, at), typed(word.slice(at + 1))];
  }));

function config() {
  const settings = {};
  if (id("f-store").value) settings.store = id("f-store").value;
  const columns = {};
  for (const row of branches.children) {
    const [name, column] = [row.querySelector("input").value.trim(), row.querySelector("select").value];
    if (name || column) columns[name || "?"] = column;
  }
  if (Object.keys(columns).length) settings.columns = columns;
  if (id("f-label").value.trim()) settings.label = id("f-label").value.trim();
  for (const field of form.querySelectorAll("[data-kind]")) {
    const input = field.querySelector("input, select");
    const value = input.type === "checkbox" ? String(input.checked) : input.value.trim();
    const changed = value !== field.dataset.default;
    field.classList.toggle("changed", changed);
    if (changed) settings[field.dataset.field] = field.dataset.kind === "pairs" ? pairs(value) : field.dataset.kind === "switch" ? input.checked : value;
  }
  return settings;
}

function request() {
  const seeds = id("q-seeds").value.split(/[\s,]+/).filter(Boolean).map(Number);
  const job = { kind: seeds.length > 1 ? "sweep" : "train", config: config() };
  if (seeds.length > 1) job.seeds = seeds;
  else if (!id("q-evaluate").checked) job.evaluate = false;
  if (seeds.length === 1) job.config.seed = String(seeds[0]);
  const made = { job };
  if (id("q-name").value.trim()) made.name = id("q-name").value.trim();
  const tags = id("q-tags").value.split(/[\s,]+/).filter(Boolean);
  if (tags.length) made.tags = tags;
  if (Number(id("q-priority").value)) made.priority = Number(id("q-priority").value);
  if (clone) made.parent = clone;
  return made;
}

/* What is to be said of it. */

let due = null;
let turn = 0;
let looked = "";
function soon() {
  const asked = JSON.stringify(request());
  if (asked === looked) return; // a field that is left says again what it said before
  looked = asked;
  clearTimeout(due);
  id("submit").disabled = true;
  due = setTimeout(() => look(), 350);
}

async function look(measure = false) {
  const mine = ++turn;
  const asked = request();
  if (!clone) localStorage.setItem(DRAFT, JSON.stringify(asked));
  if (!asked.job.config.store) return show({ problems: [], notes: ["Choose a store."], facts: {} });
  let answer;
  try {
    answer = await ask("POST", `/runs/check${measure ? "?measure=true" : ""}`, asked);
  } catch (error) {
    answer = { problems: [error.message], notes: [], facts: {} };
  }
  if (mine === turn) show(answer); // a later look has been begun otherwise
}

function show({ problems, notes, facts, estimate = null, settings = {}, yaml = "", command = "", curl = "" }) {
  const list = document.createElement("ul");
  list.className = "checks";
  const say = (kind, text) => {
    const item = document.createElement("li");
    item.className = kind;
    item.textContent = text;
    list.append(item);
  };
  for (const error of form.querySelectorAll(".field .error")) error.hidden = true;
  for (const problem of problems) {
    say("bad", problem);
    const name = /^[\w]+/.exec(problem)?.[0];
    const error = form.querySelector(`[data-field="${name}"] .error`);
    if (error) {
      error.textContent = problem;
      error.hidden = false;
      error.closest("details")?.setAttribute("open", "");
    }
  }
  const isWhole = "parameters" in facts;
  if (isWhole) {
    const sizes = Object.entries(facts).filter(([name]) => name.endsWith("samples"));
    say("ok", sizes.map(([name, size]) => `${size.toLocaleString()} ${name}`).join(", "));
    say("ok", `${facts.parameters.toLocaleString()} parameters, ${facts["bytes a row"].toLocaleString()} bytes of features a row`);
  }
  for (const said of estimate?.said ?? []) say("", `${said}.`);
  id("measure").hidden = !estimate;
  for (const note of notes) say("", note);
  id("checked").replaceChildren(list);
  id("as-yaml").textContent = yaml;
  id("as-command").textContent = command;
  id("as-curl").textContent = curl;
  id("submit").disabled = !isWhole;
  if (clone) differences(settings);
}

let parent = null;
async function differences(settings) {
  parent ??= ask("GET", `/runs/${clone}`).then((job) => Object.assign({}, ...Object.values(job.request.job.config)));
  const before = await parent;
  const list = document.createDocumentFragment();
  for (const name of new Set([...Object.keys(settings), ...Object.keys(before)])) {
    const field = form.querySelector(`[data-field="${name}"][data-kind]`);
    const now = name in settings ? settings[name] : field ? typedDefault(field) : before[name];
    if (name === "run" || spelled(now) === spelled(before[name])) continue;
    const line = document.createElement("div");
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name.replaceAll("_", " ");
    text.textContent = `${JSON.stringify(before[name])} → ${JSON.stringify(now)}`;
    line.append(term, text);
    list.append(line);
  }
  if (!list.children.length) list.append("nothing yet");
  id("differs").replaceChildren(list);
}
const spelled = (value) => JSON.stringify(value === "none" ? null : value); // "none" is also a word of some settings
const typedDefault = (field) => (field.dataset.kind === "pairs" ? pairs(field.dataset.default) : field.dataset.default === "none" ? null : typed(field.dataset.default));

form.addEventListener("input", soon);
form.addEventListener("change", soon);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  id("submit").disabled = true;
  try {
    const made = await ask("POST", "/runs", request());
    localStorage.removeItem(DRAFT);
    location.href = url(`/runs/${made.id}`);
  } catch (error) {
    say(error.message);
    looked = "";
    soon();
  }
});
id("measure").addEventListener("click", async () => {
  const button = id("measure");
  button.disabled = true;
  button.textContent = "Timing a few steps …";
  await look(true);
  button.textContent = "Time a few steps";
  button.disabled = false;
});
id("forget").addEventListener("click", () => {
  localStorage.removeItem(DRAFT);
  location.href = url("/new");
});

/* A draft that was left is there again; a link to a store or a run wins over it. */

function restore(draft) {
  const settings = draft.job.config;
  id("f-store").value = settings.store ?? "";
  id("f-label").value = settings.label ?? "";
  setStore(settings.columns ?? null);
  for (const field of form.querySelectorAll("[data-kind]")) {
    if (!(field.dataset.field in settings)) continue;
    const value = settings[field.dataset.field];
    const input = field.querySelector("input, select");
    if (input.type === "checkbox") input.checked = value;
    else input.value = typeof value === "object" ? Object.entries(value).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`).join(" ") : value;
    field.closest("details")?.setAttribute("open", "");
  }
  id("q-name").value = draft.name ?? "";
  id("q-tags").value = (draft.tags ?? []).join(" ");
  id("q-seeds").value = (draft.job.seeds ?? []).join(" ");
  id("q-priority").value = draft.priority ?? 0;
  id("q-evaluate").checked = draft.job.evaluate ?? true;
}
const kept = !clone && !start.store ? localStorage.getItem(DRAFT) : null;
if (kept) restore(JSON.parse(kept));
else setStore(clone || Object.keys(start.columns).length ? start.columns : null);
if (id("f-store").value || stores.length) soon();
