// The page of a sample: one cursor over everything that has times, and arrows to the next sample.

const sample = document.getElementById("sample");
const slider = document.getElementById("time");
const lanes = [...document.querySelectorAll(".lane.timed")];

if (slider && lanes.length) {
  const start = Number(sample.dataset.start);
  const end = Number(sample.dataset.end);
  const said = document.getElementById("time-said");
  const frames = [...document.querySelectorAll(".frames figure[data-time]")];
  for (const lane of lanes) {
    const hand = document.createElement("span");
    hand.className = "hand";
    lane.append(hand);
    const follow = (event) => {
      const box = lane.getBoundingClientRect();
      show(start + ((event.clientX - box.left) / box.width) * (end - start));
    };
    lane.addEventListener("pointermove", follow);
    lane.addEventListener("pointerdown", follow);
  }
  function show(time) {
    const at = Math.max(start, Math.min(end, time));
    slider.value = at;
    said.textContent = `${at.toFixed(2)} s`;
    for (const hand of document.querySelectorAll(".lane .hand"))
      hand.style.left = `${(100 * (at - start)) / (end - start)}%`;
    const before = frames.filter((one) => Number(one.dataset.time) <= at + 1e-6);
    const now = before.at(-1) ?? frames[0];
    for (const one of frames) one.classList.toggle("at", one === now);
  }
  slider.step = (end - start) / 200;
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const one of frames) one.addEventListener("click", () => show(Number(one.dataset.time)));
  slider.closest(".controls").hidden = false;
  show(start);
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, .scroll, .frames")) return;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const link = { j: "next", k: "prev" }[event.key];
  if (link) document.querySelector(`a[rel=${link}]`)?.click();
});
