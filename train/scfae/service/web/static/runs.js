// The list of runs: which are chosen, what is done with them, and keys to move in it.

import { ask, confirm, say, url } from "./site.js";

const chosen = new Set();
let here = null;

const rows = () => [...document.querySelectorAll("table.runs tbody tr")];

function show() {
  for (const row of rows()) {
    row.querySelector("input[type=checkbox]").checked = chosen.has(row.dataset.id);
    row.classList.toggle("here", row.dataset.id === here);
  }
  const bar = document.querySelector("[data-chosen]");
  if (!bar) return;
  bar.hidden = chosen.size === 0;
  bar.querySelector("[data-chosen-count]").textContent = `${chosen.size} chosen`;
  const compare = bar.querySelector("[data-do=compare]");
  compare.href = url(`/compare?ids=${[...chosen].join(",")}`);
  compare.hidden = chosen.size < 2;
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("table.runs input[type=checkbox]")) return;
  event.target.checked ? chosen.add(event.target.value) : chosen.delete(event.target.value);
  show();
});
// The table that took its place knows nothing of what was chosen, or where the focus was.
let focused = null;
document.addEventListener("htmx:beforeSwap", () => {
  const row = document.activeElement?.closest("table.runs tr");
  const link = document.activeElement?.tagName === "A" ? "a" : "input";
  focused = row ? `#${row.id} ${link}` : null;
});
document.addEventListener("htmx:afterSettle", () => {
  if (focused) document.querySelector(focused)?.focus();
  show();
});

async function each(what, done) {
  const failures = [];
  let count = 0;
  for (const id of chosen) {
    try {
      await what(id);
      count += 1;
    } catch (error) {
      failures.push(error.message);
    }
  }
  say(`${done} ${count} of ${chosen.size}.${failures.length ? ` ${failures[0]}` : ""}`);
  if (!failures.length) chosen.clear();
  show();
  window.htmx.ajax("GET", location.href, { target: "#runs", swap: "outerHTML" });
}

const deeds = {
  none() {
    chosen.clear();
    show();
  },
  async cancel() {
    const text = "They save a checkpoint and stop; each can be resumed.";
    if (await confirm(`Cancel ${chosen.size} runs?`, text, { yes: "Cancel and save" }))
      await each((id) => ask("POST", `/runs/${id}/cancel`, {}), "Cancelled");
  },
  async tag() {
    const tag = await confirm("Tag", "One word to find them by.", { yes: "Tag", field: "Tag" });
    if (!tag?.trim()) return;
    await each(async (id) => {
      const job = await ask("GET", `/runs/${id}`);
      await ask("PATCH", `/runs/${id}`, { tags: [...new Set([...job.tags, tag.trim()])] });
    }, "Tagged");
  },
  async trash() {
    const text = "Only runs that have ended go; they can be taken out again.";
    if (await confirm(`Move ${chosen.size} runs to the trash?`, text, { yes: "Move them" }))
      await each((id) => ask("DELETE", `/runs/${id}`), "Moved");
  },
};
document.addEventListener("click", (event) => {
  const deed = event.target.closest("button[data-do]")?.dataset.do;
  if (deed) deeds[deed]();
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input:not([type=checkbox]), textarea, select")) return;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const list = rows();
  const at = list.findIndex((row) => row.dataset.id === here);
  if (event.key === "j" || event.key === "k") {
    const next = list[Math.max(0, Math.min(list.length - 1, at + (event.key === "j" ? 1 : -1)))];
    if (!next) return;
    here = next.dataset.id;
    next.querySelector("a").focus();
    next.scrollIntoView({ block: "nearest" });
    show();
  } else if (event.key === "x" && at >= 0) {
    chosen.has(here) ? chosen.delete(here) : chosen.add(here);
    show();
  } else if (event.key === "c" && chosen.size >= 2) {
    location.href = url(`/compare?ids=${[...chosen].join(",")}`);
  }
});
show();
