// The buttons of a run.

import { ask, confirm, say, url } from "./site.js";

const head = () => document.getElementById("head");
const id = head().dataset.id;
const RATES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];

function renew() {
  window.htmx.ajax("GET", url(`/runs/${id}/head`), { target: "#head", swap: "outerHTML" });
}

const deeds = {
  async cancel() {
    await ask("POST", `/runs/${id}/cancel`, {});
    say("It saves a checkpoint and stops.");
  },
  async kill() {
    const text = "What it did since its last checkpoint is lost, and done again if it is resumed.";
    if (await confirm("Stop at once?", text, { yes: "Stop now" }))
      await ask("POST", `/runs/${id}/cancel`, { now: true });
  },
  async resume() {
    await ask("POST", `/runs/${id}/resume`, {});
    say("It is in the queue, and goes on from its last checkpoint.");
  },
  async evaluate() {
    const job = { kind: "evaluate", run: id, missing_rates: RATES };
    const made = await ask("POST", "/runs", { job, name: "", tags: [] });
    location.href = url(`/runs/${made.id}`);
  },
  async promote() {
    const text = "A promoted run is kept, and can be used to predict under Models.";
    const name = await confirm("Promote", text, { yes: "Promote", field: "Name of the model" });
    if (!name?.trim()) return;
    await ask("POST", `/models/${encodeURIComponent(name.trim())}/promote`, { run: id });
    location.href = url(`/models/${encodeURIComponent(name.trim())}`);
  },
  async name() {
    const name = await confirm("Name", "What people call this run.", { yes: "Name it", field: "Name" });
    if (name?.trim()) await ask("PATCH", `/runs/${id}`, { name: name.trim() });
  },
  async trash() {
    const text = "It can be taken out again, until the trash is emptied.";
    if (!(await confirm("Move it to the trash?", text, { yes: "Move it" }))) return;
    await ask("DELETE", `/runs/${id}`);
    location.href = url("/");
  },
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-run]");
  if (!button) return;
  button.disabled = true;
  try {
    await deeds[button.dataset.run]();
    renew();
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
});

// A state that has changed may have brought new parts: an evaluation, a report, other buttons.
let before = head().dataset.state;
document.addEventListener("htmx:afterSettle", () => {
  const now = head()?.dataset.state;
  const ended = ["finished", "failed", "cancelled"];
  if (now && now !== before && ended.includes(now) && !ended.includes(before)) location.reload();
  before = now ?? before;
});
