// Another backbone: an encoder taken from the table, and the extraction started as it was foreseen.

import { ask, say, url } from "./site.js";

document.addEventListener("click", async (event) => {
  const choice = event.target.closest("[data-encoder]");
  if (choice) {
    document.getElementById("encoder").value = choice.dataset.encoder;
    const column = document.getElementById("column");
    const fit = choice.dataset.columns.split(" ");
    if (!fit.includes(column.value)) column.value = fit[0];
    document.getElementById("encoder").focus();
    return;
  }
  const button = event.target.closest("[data-start]");
  if (!button) return;
  button.disabled = true;
  try {
    const job = await ask("POST", "/runs", JSON.parse(button.dataset.start));
    location.href = url(`/runs/${job.id}`);
  } catch (error) {
    say(error.message);
    button.disabled = false;
  }
});
