// The pages of the system: each change through the HTTP interface, then the page anew.

import { ask, confirm, say } from "./site.js";

const deeds = {
  async drain({ id }) {
    const text = "It takes no more jobs, and ends when those that it has have ended.";
    if (!(await confirm(`Drain ${id}?`, text, { yes: "Drain it" }))) return false;
    await ask("POST", `/workers/${encodeURIComponent(id)}/drain`);
  },
  async empty({ bytes, count }) {
    const text = `${count} runs are gone for good then: checkpoints, logs, reports. That frees ${bytes}.`;
    if (!(await confirm("Empty the trash?", text, { yes: "Empty it" }))) return false;
    const { num_jobs, freed_bytes } = await ask("POST", "/trash/empty");
    keep(`${num_jobs} runs are gone; ${(freed_bytes / 1e6).toFixed(1)} MB are free again.`);
  },
  async restore({ id }) {
    const job = await ask("POST", `/trash/${encodeURIComponent(id)}/restore`);
    keep(`${job.name || job.id} is back among the runs.`);
  },
  async "remove-token"({ id }) {
    const text = "Whoever uses it is refused from now on, also on the pages.";
    if (!(await confirm(`Remove the token of ${id}?`, text, { yes: "Remove it" }))) return false;
    await ask("DELETE", `/tokens/${encodeURIComponent(id)}`);
  },
  async ping({ id }) {
    await ask("POST", `/webhooks/${id}/ping`);
    say("It is posted within a second; see below what becomes of it.");
    return false;
  },
  async "remove-webhook"({ id, url }) {
    const text = `${url} is told nothing more.`;
    if (!(await confirm("Remove the webhook?", text, { yes: "Remove it" }))) return false;
    await ask("DELETE", `/webhooks/${id}`);
  },
  async retry({ id }) {
    await ask("POST", `/webhooks/deliveries/${id}/retry`);
    say("It is posted again within a second.");
    return false;
  },
};

/** Say something after the page was loaded anew. */
function keep(text) {
  sessionStorage.setItem("said", text);
}
const said = sessionStorage.getItem("said");
if (said) {
  sessionStorage.removeItem("said");
  say(said);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-system]");
  if (!button) return;
  button.disabled = true;
  try {
    if ((await deeds[button.dataset.system](button.dataset)) !== false) location.reload();
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
});

/** Show a secret that is shown this once. */
function made(form, words, secret) {
  const place = form.parentElement.querySelector("[data-made]");
  const line = document.createElement("p");
  line.textContent = words;
  const code = document.createElement("code");
  code.className = "secret";
  code.id = "secret";
  code.textContent = secret;
  const copy = document.createElement("button");
  copy.dataset.copy = "secret";
  copy.textContent = "Copy";
  const done = document.createElement("button");
  done.textContent = "I have kept it";
  done.addEventListener("click", () => location.reload());
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  buttons.append(copy, done);
  place.replaceChildren(line, code, buttons);
  place.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-form]");
  if (!form) return;
  event.preventDefault();
  const fields = new FormData(form);
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    if (form.dataset.form === "token") {
      const token = await ask("POST", "/tokens", {
        name: fields.get("name"),
        role: fields.get("role"),
      });
      made(form, `The token of ${token.name} (${token.role}); it is shown this once.`, token.token);
    } else {
      const events = fields.getAll("events");
      if (!events.length) throw new Error("Choose what it is told of.");
      const hook = await ask("POST", "/webhooks", { url: fields.get("url").trim(), events });
      made(form, "The secret that its posts are signed with; it is shown this once.", hook.secret);
    }
    form.reset();
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
});
