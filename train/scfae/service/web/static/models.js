// A model asked for a clip or a sample; switches per modality move what is shown at once.

import { ask, confirm, say, url } from "./site.js";

const place = document.getElementById("predict");
const status = document.getElementById("status");
const switches = document.getElementById("switches");
const bars = document.getElementById("bars");
const about = document.getElementById("about-answer");
const MOST_BARS = 12;
let answer = null;
let busy = false;

const version = () => place.querySelector("[name=version]")?.value ?? "";
const path = () => `/models/${encodeURIComponent(place.dataset.name)}/predict${version() ? `?version=${version()}` : ""}`;
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(words) {
  const token = place.dataset.token ? ' -H "Authorization: Bearer $SCFAE_TOKEN"' : "";
  document.getElementById("as-curl").textContent = `curl${token} ${words} ${quoted(location.origin + url(`/api/v1${path()}`))}`;
}

async function put(body, what, words) {
  if (busy) return;
  busy = true;
  curl(words);
  status.className = "quiet";
  const begun = Date.now();
  const tell = () => {
    const seconds = Math.round((Date.now() - begun) / 1000);
    status.textContent = `Asking for ${what} … ${seconds} s${seconds > 4 ? "; the first clip takes longest, for the encoders are loaded" : ""}`;
  };
  tell();
  const clock = setInterval(tell, 1000);
  try {
    answer = await ask("POST", path(), body);
    status.textContent = `${what}: version ${answer.version}, ${answer.seconds.toFixed(1)} s`;
    choose();
  } catch (error) {
    answer = null;
    status.className = "error";
    status.textContent = error.message;
    switches.hidden = true;
    bars.replaceChildren();
    about.replaceChildren();
  }
  clearInterval(clock);
  busy = false;
}

/** Make a switch for each modality, on where it is present. */
function choose() {
  const present = new Set(answer.present.map((branch) => branch.split(":")[0]));
  const legend = switches.querySelector("legend");
  const rows = place.dataset.modalities.split(",").map((modality) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = modality;
    box.checked = present.has(modality);
    box.disabled = !present.has(modality);
    label.append(box, modality);
    if (box.disabled) {
      label.className = "absent";
      label.append(`: ${answer.absent[modality] ?? "absent"}`);
    }
    return label;
  });
  switches.replaceChildren(legend, ...rows);
  switches.hidden = false;
  const facts = [];
  if (answer.sample) {
    const labels = Object.entries(answer.sample.labels).map(([name, value]) => `${name} = ${value ?? "unknown"}`);
    facts.push(`The store says: ${labels.join(", ") || "no label"}; split ${answer.sample.split ?? "none"}.`);
    if (answer.sample.split === "train") facts.push("The model was trained on it.");
  }
  facts.push(answer.temperature ? `Calibrated on validation (temperature ${answer.temperature.toFixed(2)}).` : "Not calibrated: the run was not measured yet.");
  const line = document.createElement("p");
  line.className = "small quiet";
  line.textContent = facts.join(" ");
  about.replaceChildren(line);
  bars.replaceChildren();
  show();
}

function show() {
  const seen = [...switches.querySelectorAll("input:checked")].map((box) => box.value);
  const said = seen.length ? answer.subsets[seen.join("+")] ?? answer.answer : null;
  if (!said) {
    bars.querySelectorAll(".one").forEach((row) => set(row, null, 0, false));
    bars.dataset.said = "";
    return;
  }
  const shares = said.probabilities ?? null;
  if (!shares) {
    const text = document.createElement("p");
    text.className = "lead";
    text.textContent = "prediction" in said ? `${plain(said.prediction)}` : "";
    const rest = document.createElement("pre");
    rest.textContent = JSON.stringify(said, null, 1).slice(0, 4000);
    bars.replaceChildren(...(text.textContent ? [text] : [rest]));
    return;
  }
  const whole = answer.answer.probabilities;
  const named = Object.entries(whole).sort((a, b) => b[1] - a[1]).slice(0, MOST_BARS).map(([name]) => name);
  const order = Object.keys(whole).filter((name) => named.includes(name));
  for (const name of order) {
    const row = [...bars.children].find((one) => one.dataset.name === name) ?? make(name, whole[name]);
    set(row, shares[name], shares[name], String(said.prediction) === name || said.prediction?.includes?.(name));
  }
}

function make(name, whole) {
  const row = document.createElement("div");
  row.className = "one";
  row.dataset.name = name;
  const label = document.createElement("span");
  label.textContent = name;
  const track = document.createElement("span");
  track.className = "track";
  const mark = document.createElement("b");
  mark.title = `with all it has: ${(100 * whole).toFixed(1)} %`;
  mark.style.setProperty("--whole", whole);
  track.append(document.createElement("i"), mark);
  const value = document.createElement("span");
  value.className = "value";
  row.append(label, track, value);
  bars.append(row);
  return row;
}

function set(row, value, share, isBest) {
  row.classList.toggle("best", Boolean(isBest));
  row.querySelector("i").style.setProperty("--share", share);
  row.querySelector(".value").textContent = value == null ? "–" : `${(100 * value).toFixed(1)} %`;
}

const plain = (value) => (typeof value === "number" ? +value.toPrecision(4) : typeof value === "string" ? value : JSON.stringify(value));

function send(file) {
  if (!file) return;
  if (file.size > Number(place.dataset.limit)) {
    say(`${file.name} is larger than ${Math.floor(place.dataset.limit / 1e6)} MB.`);
    return;
  }
  const form = new FormData();
  form.append("file", file);
  put(form, file.name, `-F ${quoted(`file=@${file.name}`)}`);
}

if (place) {
  const drop = document.getElementById("drop");
  const clip = document.getElementById("clip");
  const sendChosen = () => {
    send(clip.files[0]);
    clip.value = "";
  };
  clip.addEventListener("change", sendChosen);
  for (const kind of ["dragover", "dragleave", "drop"])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") send(event.dataTransfer.files[0]);
    });
  document.getElementById("by-key").addEventListener("submit", (event) => {
    event.preventDefault();
    const sample = event.target.sample.value.trim();
    const body = JSON.stringify({ sample });
    put({ sample }, sample, `--json ${quoted(body)}`);
  });
  switches.addEventListener("change", show);
  curl("-F file=@clip.mp4");
  sendChosen(); // what was chosen before this script was there
}

document.addEventListener("click", async (event) => {
  const number = event.target.closest("button[data-version]")?.dataset.version;
  if (!number) return;
  const name = decodeURIComponent(location.pathname.split("/").at(-1));
  const text = "Its run stays, and may be deleted from then on. The number is not given again.";
  if (!(await confirm(`Take back version ${number}?`, text, { yes: "Take it back" }))) return;
  try {
    await ask("DELETE", `/models/${encodeURIComponent(name)}/versions/${number}`);
    location.href = document.querySelectorAll("button[data-version]").length > 1 ? location.href : url("/models");
  } catch (error) {
    say(error.message);
  }
});
