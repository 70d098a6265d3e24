// What every page does: ask the service, say what came of it, obey keys, copy, pause unseen polls.

const root = document.documentElement.dataset.root;

// All scripts of the page have run by then; a button pressed earlier would do nothing (site.css).
document.addEventListener("DOMContentLoaded", () => (document.documentElement.dataset.ready = ""));

/** Ask the HTTP interface; throws the sentence of a problem. */
export async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  const csrf = document.documentElement.dataset.csrf;
  if (csrf) headers["X-CSRF-Token"] = csrf;
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`${root}/api/v1${path}`, { method, headers, body });
  } catch {
    throw new Error("The service does not answer; is it running?");
  }
  if (response.status === 204) return null;
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = null;
  }
  if (!response.ok) throw new Error(answer?.detail ?? `${response.status} ${response.statusText}`);
  return answer;
}

export const url = (path) => root + path;
/** Steps of an axis of epochs or steps: no chart has an epoch 1.5. */
export const WHOLE = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power));

/** Say something to the person, and to a screen reader. */
export function say(text) {
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("said").append(line);
  setTimeout(() => line.remove(), 9000);
}

/** Ask whether it is meant; resolves to what was typed, or true, or null for no. */
export function confirm(title, text, { yes, field = null }) {
  const dialog = document.createElement("dialog");
  const form = document.createElement("form");
  form.method = "dialog";
  const heading = document.createElement("h2");
  heading.textContent = title;
  heading.id = "asked";
  dialog.setAttribute("aria-labelledby", "asked");
  const words = document.createElement("p");
  words.textContent = text;
  form.append(heading, words);
  let input = null;
  if (field !== null) {
    const label = document.createElement("label");
    label.textContent = field;
    input = document.createElement("input");
    input.type = "text";
    label.append(input);
    form.append(label);
  }
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  for (const [value, words] of [["yes", yes], ["no", "Leave it"]]) {
    const button = document.createElement("button");
    button.value = value;
    button.textContent = words;
    if (value === "yes") button.className = "primary";
    buttons.append(button);
  }
  form.append(buttons);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue !== "yes" ? null : input === null ? true : input.value);
    });
  });
}

// A page that nobody sees asks for nothing.
document.addEventListener("htmx:beforeRequest", (event) => {
  const isPoll = event.detail.elt.getAttribute("hx-trigger")?.startsWith("every");
  if (isPoll && (document.hidden || document.querySelector("dialog[open]"))) event.preventDefault();
});
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 401) location.reload();
});

// What is shown grows old when nobody answers; that is said until somebody does.
document.addEventListener("htmx:sendError", () => {
  const lost = document.getElementById("lost");
  if (lost.textContent) return;
  const time = new Date().toLocaleTimeString();
  lost.textContent = `The service has not answered since ${time}: what is shown here is older. It is asked again and again.`;
});
document.addEventListener("htmx:afterOnLoad", () => (document.getElementById("lost").textContent = ""));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(document.getElementById(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
});

const help = document.getElementById("key-help");
document.getElementById("keys")?.addEventListener("click", () => help.showModal());
const places = { r: "/", n: "/new", s: "/stores", m: "/models", y: "/system" };
let went = 0;
document.addEventListener("keydown", (event) => {
  const inField = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && inField) event.target.blur();
  if (inField || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "?") help.showModal();
  if (event.key === "/" && document.querySelector("input[type=search]")) {
    event.preventDefault();
    document.querySelector("input[type=search]").focus();
  }
  if (event.key === "g") went = Date.now();
  else if (Date.now() - went < 1500 && places[event.key]) location.href = url(places[event.key]);
});
