// A long text: an overview of all its words, and a window of those that a picture has room for.

import { fit, make } from "../viewer/elements.js";
import { canvasPen } from "../viewer/pens.js";
import { tone } from "./colours.js";
import { shareOf } from "./numbers.js";
import { byUnit } from "./prediction_data.js";

const NARROWEST = 14; // pixels of a word
const STRIP_HEIGHT = 34;

/** The words that have room, from the one that the state says: `{ from, count, isWhole }`. */
export function windowOf(data, state, width) {
  const all = data.units.length;
  const count = Math.min(all, Math.max(8, Math.floor(width / NARROWEST)));
  const wanted = state.word >= 0 && !state.from ? state.word - Math.floor(count / 2) : state.from;
  return { from: Math.max(0, Math.min(all - count, wanted)), count, isWhole: count === all };
}

/** Which words a picture shows, and how much of the magnitudes of all. */
export function windowSaid(data, { from, count }) {
  const sizes = byUnit(data, data.relevance).map(Math.abs);
  const shown = sizes.slice(from, from + count).reduce((sum, each) => sum + each, 0);
  const share = shareOf(shown / (sizes.reduce((sum, each) => sum + each, 0) || 1));
  return `Words ${from + 1} to ${from + count} of ${data.units.length}, ${share} of the mass of all`;
}

export function drawWindow(pen, at, { data, inks }, x, y) {
  if (!at.isWhole) pen.text(x, y, windowSaid(data, at), { fill: inks.faint, size: 12 });
}

/** A strip with the strongest of all words in their order; a click, a drag or the arrows move the window. */
export function windowStrip(app) {
  const canvas = make("canvas", { tabIndex: 0, role: "slider", ariaLabel: "Which words are shown" });
  const said = make("p", { className: "caption" });
  const element = make("div", { className: "window", hidden: true }, canvas, said);
  let at = null;
  const move = (from) => {
    const { data } = app.scene();
    app.set({ from: Math.max(1, Math.min(data.units.length - at.count, Math.round(from))) });
  };
  const moveTo = (event) => {
    const box = canvas.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * app.scene().data.units.length - at.count / 2);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    moveTo(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) moveTo(event);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: 1 - at.count, PageDown: at.count - 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    move(at.from + by);
  });
  function draw({ data, full, inks }, layout) {
    at = layout;
    element.hidden = at.isWhole;
    if (at.isWhole) return;
    const width = at.width;
    const pen = canvasPen(fit(canvas, width, STRIP_HEIGHT));
    const values = byUnit(data, data.relevance);
    const bin = Math.max(1, values.length / width);
    for (let x = 0; x < values.length / bin; x++) {
      const inside = values.slice(Math.floor(x * bin), Math.max(Math.floor(x * bin) + 1, Math.floor((x + 1) * bin)));
      const most = inside.reduce((best, each) => (Math.abs(each) > Math.abs(best) ? each : best), 0);
      const size = Math.sqrt(Math.min(1, Math.abs(most) / full)) * (STRIP_HEIGHT - 6);
      const step = (width * bin) / values.length;
      pen.rect(x * step, STRIP_HEIGHT - 2 - size, Math.max(1, step), size, tone(most, full, inks));
    }
    const scale = width / values.length;
    pen.frame(at.from * scale, 1, at.count * scale, STRIP_HEIGHT - 2, inks.mark, 2);
    said.textContent = `${windowSaid(data, at)}. Drag the frame, or use the arrows, to see others.`;
    canvas.setAttribute("aria-valuenow", String(at.from + 1));
    canvas.setAttribute("aria-valuemax", String(values.length));
  }
  return { element, draw };
}
