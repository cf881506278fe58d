// Changes flow through the picture of the pipeline: a sample for the eye, the numbers are the truth.

const HOP_MS = 260;
const AT_ONCE_MAX = 4;
let flying = 0;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export function begin() {}

export function change() {
  if (still.matches || flying >= AT_ONCE_MAX || document.hidden) return;
  flying += 1;
  fly(0).finally(() => (flying -= 1));
}

/** A dot runs along the wires until one that nothing flows through. */
async function fly(at) {
  const stage = document.querySelector(`[data-stage="${at}"]`);
  if (!stage || stage.classList.contains("idle")) return;
  const wire = stage.querySelector(".wire");
  const dot = document.createElement("i");
  dot.className = "dot";
  wire.append(dot);
  const upright = wire.offsetHeight > wire.offsetWidth;
  const side = upright ? "top" : "left";
  try {
    await dot.animate([{ [side]: "0" }, { [side]: "100%" }], { duration: HOP_MS, easing: "linear" }).finished;
  } finally {
    dot.remove();
  }
  if (!stage.classList.contains("w")) await fly(at + 1);
}
