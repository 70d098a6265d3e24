// The log of a run: follows it, finds words in it, jumps to errors, shows what came before.

import { ask, say } from "./site.js";

const log = document.getElementById("log");
const id = document.getElementById("head").dataset.id;
const find = document.getElementById("find-log");
const follow = document.getElementById("follow");
const jump = document.getElementById("next-error");
const ERROR = /^Traceback|\w*(Error|Exception)\b|^scfae: |\b(failed|error):/;
let begin = Number(log.dataset.offset);
let next = Number(log.dataset.next);
let text = log.textContent;

/** Lines as a terminal would leave them: without colours, progress by its last word. */
const plain = (raw) =>
  raw.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").split("\n").map((line) => line.replace(/\r+$/, "").split("\r").at(-1));

function draw() {
  const wanted = find.value.toLowerCase();
  const lines = document.createDocumentFragment();
  for (const line of plain(text)) {
    if (wanted && !line.toLowerCase().includes(wanted)) continue;
    const part = document.createElement("span");
    if (ERROR.test(line)) part.className = "bad";
    if (wanted) {
      let at = 0;
      for (let i = line.toLowerCase().indexOf(wanted); i >= 0; i = line.toLowerCase().indexOf(wanted, at)) {
        const mark = document.createElement("mark");
        mark.textContent = line.slice(i, i + wanted.length);
        part.append(line.slice(at, i), mark);
        at = i + wanted.length;
      }
      part.append(line.slice(at));
    } else part.textContent = line;
    lines.append(part, "\n");
  }
  log.replaceChildren(lines);
  jump.hidden = !log.querySelector(".bad");
  if (follow.checked) log.scrollTop = log.scrollHeight;
}

async function more() {
  const part = await ask("GET", `/runs/${id}/log?offset=${next}`);
  if (part.next_offset === next) return false;
  next = part.next_offset;
  text += part.text;
  draw();
  return true;
}

async function watch() {
  try {
    while (await more());
  } catch (error) {
    say(error.message);
  }
  const ended = ["finished", "failed", "cancelled"].includes(document.getElementById("head").dataset.state);
  if (!ended) setTimeout(watch, 1500);
}

find.addEventListener("input", draw);
follow.addEventListener("change", draw);
jump.addEventListener("click", () => {
  const all = [...log.querySelectorAll(".bad")];
  const below = all.find((one) => one.offsetTop - log.offsetTop > log.scrollTop + 8) ?? all[0];
  follow.checked = false;
  log.scrollTop = below.offsetTop - log.offsetTop;
});
document.getElementById("earlier")?.addEventListener("click", async (event) => {
  const size = Math.min(begin, 1 << 18);
  const part = await ask("GET", `/runs/${id}/log?offset=${begin - size}&limit=${size}`);
  begin -= size;
  text = part.text + text;
  follow.checked = false;
  draw();
  if (begin === 0) event.target.closest("p").remove();
});
draw();
watch();
