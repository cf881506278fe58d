// What the pointer and the keyboard do on a chart: look at a moment, or at a stretch more closely.
import * as timeline from "./timeline.js";

/** A shorter way of the pointer is a click. */
const DRAG_PX = 8;
/** Samples that one press of a key passes, alone and with Shift. */
const STEPS = [1, 10];

/** `at` has `time(x)` of a place in the frame, `step(count)` of samples away, `ends()` of the samples, and `now()`. */
export function listen(frame, at, changed) {
  let start = null;
  const chosen = document.createElement("i");
  chosen.className = "stretch";
  chosen.hidden = true;
  frame.append(chosen);
  const place = (event) => {
    const box = frame.getBoundingClientRect();
    return Math.min(Math.max(event.clientX - box.left, 0), box.width);
  };
  const end = () => {
    start = null;
    chosen.hidden = true;
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = place(event);
    frame.setPointerCapture(event.pointerId);
    timeline.look(at.time(start));
    changed();
  });
  frame.addEventListener("pointermove", (event) => {
    const x = place(event);
    timeline.look(at.time(x));
    if (start !== null && Math.abs(x - start) >= DRAG_PX) {
      chosen.hidden = false;
      chosen.style.left = `${Math.min(x, start)}px`;
      chosen.style.width = `${Math.abs(x - start)}px`;
    }
    changed();
  });
  frame.addEventListener("pointerup", (event) => {
    const [from, to] = [start, place(event)].sort((a, b) => a - b);
    const isStretch = start !== null && to - from >= DRAG_PX;
    end();
    if (!isStretch) return;
    timeline.zoom(at.time(from), at.time(to), at.now());
    timeline.look(null);
    changed();
  });
  frame.addEventListener("pointercancel", end);
  frame.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && start === null && leave(changed));
  frame.addEventListener("blur", () => leave(changed));
  frame.addEventListener("dblclick", () => (timeline.reset(), changed()));
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !press(event, at)) return;
    event.preventDefault();
    changed();
  });
}

function leave(changed) {
  timeline.look(null);
  changed();
}

/** Returns whether the key means something here. */
function press(event, at) {
  const [first, last] = at.ends();
  const step = STEPS[event.shiftKey ? 1 : 0];
  const keys = {
    ArrowLeft: () => timeline.look(at.step(-step)),
    ArrowRight: () => timeline.look(at.step(step)),
    Home: () => timeline.look(first),
    End: () => timeline.look(last),
    "+": () => timeline.closer(at.now()),
    "=": () => timeline.closer(at.now()),
    "-": () => timeline.wider(at.now()),
    Escape: () => timeline.reset(),
  };
  keys[event.key]?.();
  return event.key in keys;
}
