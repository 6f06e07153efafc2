// Words over depth: the relevance of every word at every depth, the answer on top and the input at the bottom.

import { fit, make, panel } from "../viewer/elements.js";
import { canvasPen } from "../viewer/pens.js";
import { drawCell, drawScale } from "./colours.js";
import { shareOf, signed, withShare } from "./numbers.js";
import { byUnit } from "./prediction_data.js";
import { drawNames, namesHeight } from "./word_names.js";
import { drawWindow, windowOf, windowStrip } from "./word_window.js";

const [DEPTH_LEFT, DEPTH_TOP] = [66, 8];
const NARROW = 9; // words that need no more than a part of a wide page
const KEPT =
  "hatched, since it is the same in both runs and holds nothing here; above, what it took up from other words";
const byCut = new WeakMap();

/** Relevance by cut and unit. */
export function depthsOf(data) {
  if (!byCut.has(data))
    byCut.set(
      data,
      data.byDepth.map((values) => byUnit(data, values)),
    );
  return byCut.get(data);
}

/** The layer that begins at a cut; -1 for the answer's. */
export const layerAt = (data, cut) => (/^layer \d+$/.test(data.cuts[cut]) ? Number(data.cuts[cut].slice(6)) : -1);

export const cutCalled = (data, cut) => {
  if (cut === 0) return "input";
  const layer = layerAt(data, cut);
  return layer < 0 ? (cut === data.cuts.length - 1 ? "answer" : data.cuts[cut]) : `layer ${layer}`;
};

const depthCalled = (data, cut) => {
  if (cut === 0) return "at the input";
  return layerAt(data, cut) < 0 ? cutCalled(data, cut) : `before ${cutCalled(data, cut)}`;
};

function depthLayout(data, state, width) {
  const shown = windowOf(data, state, width - DEPTH_LEFT - 12);
  const rows = data.cuts.length;
  const cell = Math.min(96, (width - DEPTH_LEFT - 12) / shown.count);
  const names = namesHeight(data, shown, cell);
  const height = Math.max(6, Math.min(17, 560 / rows));
  return { ...shown, rows, cell, rowHeight: height, width, height: DEPTH_TOP + rows * height + names };
}

const depthRow = (at, cut) => DEPTH_TOP + (at.rows - 1 - cut) * at.rowHeight;

/** Whether there is room for what a row is called: the ends always, layers as far apart as letters are high. */
function isLabelled(data, at, cut) {
  if (cut === 0 || cut === at.rows - 1) return true;
  const apart = Math.ceil(12 / at.rowHeight);
  return cut >= apart && at.rows - 1 - cut >= apart && layerAt(data, cut) % apart === 0;
}

function drawDepths(pen, at, scene) {
  const { data, inks } = scene;
  const depths = depthsOf(data);
  for (let cut = 0; cut < at.rows; cut++) {
    const y = depthRow(at, cut);
    if (isLabelled(data, at, cut))
      pen.text(DEPTH_LEFT - 8, y + at.rowHeight / 2, cutCalled(data, cut), {
        fill: inks.faint,
        size: 11,
        align: "right",
      });
    for (let i = 0; i < at.count; i++) {
      const [x, unit] = [DEPTH_LEFT + i * at.cell, at.from + i];
      if (cut === 0 && data.units[unit].kept) pen.hatch(x, y, at.cell - 1, at.rowHeight - 1, inks.line);
      else drawCell(pen, x, y, at.cell - 0.5, at.rowHeight - 0.5, depths[cut][unit], scene);
    }
  }
  drawNames(pen, data, at, DEPTH_LEFT, DEPTH_TOP + at.rows * at.rowHeight, inks);
}

function markDepths(pen, at, { data, at: chosen, inks }) {
  const place = chosen.word - at.from;
  const height = at.rows * at.rowHeight;
  if (chosen.word >= 0 && place >= 0 && place < at.count)
    pen.frame(DEPTH_LEFT + place * at.cell - 1, DEPTH_TOP - 2, at.cell + 1, height + 3, inks.mark, 1.5);
  const cut = data.cuts.indexOf(`layer ${chosen.layer}`);
  if (cut >= 0)
    pen.frame(DEPTH_LEFT - 2, depthRow(at, cut) - 1, at.count * at.cell + 3, at.rowHeight + 1, inks.mark, 1.5);
}

/** From which layer on the word at which the answer is read holds more than half of the change. */
function arrival(data) {
  const depths = depthsOf(data);
  const top = depths.at(-1);
  const word = top.reduce((best, each, i) => (Math.abs(each) > Math.abs(top[best]) ? i : best), 0);
  let cut = depths.length - 1;
  while (cut > 0 && depths[cut - 1][word] / data.change > 0.5) cut--;
  const layer = layerAt(data, cut);
  if (cut === 0 || layer < 0) return "";
  return `From layer ${layer} on most of it has reached ‘${data.units[word].label}’, where the answer is read. `;
}

/** What hatches mean, where there are some. */
function keptSaid(data) {
  const kept = data.units.filter((unit) => unit.kept);
  if (!kept.length) return "";
  const names =
    kept.length > 3
      ? `${kept.length} ${data.page.unit}s are`
      : `${kept.map(quotedLabel).join(", ")} ${kept.length > 1 ? "are" : "is"}`;
  return ` Hatched at the input: ${names} the same in both runs; what stands above was taken up from other words, and white is nothing.`;
}

const quotedLabel = (unit) => `‘${unit.label}’`;

/** The view of words over depth. */
export function depthMap(app, tell) {
  const { element: canvases, base, over } = panel("Relevance of words by depth; arrows move the word and the layer");
  const strip = windowStrip(app);
  const element = make("div", {}, strip.element, canvases);
  let at = null;

  const placeOf = (event) => {
    const box = over.getBoundingClientRect();
    const i = Math.floor((event.clientX - box.left - DEPTH_LEFT) / at.cell);
    const cut = at.rows - 1 - Math.floor((event.clientY - box.top - DEPTH_TOP) / at.rowHeight);
    if (i < 0 || i >= at.count || cut < 0) return null;
    return { unit: at.from + i, cut: Math.min(cut, at.rows - 1) };
  };
  const chosenAt = (data, { unit, cut }) => ({ word: unit, layer: layerAt(data, cut), head: "" });

  over.addEventListener("pointermove", (event) => {
    const { data } = app.scene();
    const place = placeOf(event);
    if (!place) return leave(event);
    app.point(chosenAt(data, place));
    const value = depthsOf(data)[place.cut][place.unit];
    const kept = place.cut === 0 && data.units[place.unit].kept;
    tell(event, [
      `‘${data.units[place.unit].label}’, ${depthCalled(data, place.cut)}: ${kept ? KEPT : withShare(data, value)}`,
    ]);
  });
  const leave = (event) => {
    tell(event);
    app.point();
  };
  over.addEventListener("pointerleave", leave);
  over.addEventListener("click", (event) => {
    const place = placeOf(event);
    if (place) app.pin(chosenAt(app.scene().data, place));
  });
  over.addEventListener("keydown", (event) => {
    const { data, state } = app.scene();
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const word = Math.max(0, Math.min(data.units.length - 1, state.word + by[0]));
    const at = data.layers.indexOf(state.layer) + by[1];
    const layer = by[1] ? data.layers[Math.max(0, Math.min(data.layers.length - 1, at))] : state.layer;
    app.set(by[0] ? { word } : { layer, head: "" });
  });

  const mark = (scene) => {
    markDepths(canvasPen(fit(over, at.width, at.height)), at, scene);
  };
  return {
    ...{ id: "depth", title: "Words over depth", element, mark },
    isNarrow: ({ data }) => data.units.length <= NARROW,
    caption: ({ data, full }) =>
      `${arrival(data)}Each row is what there is before its layer and adds up to ${signed(data.change)}: the answer is ` +
      `read at the top, the words are at the bottom. Full colour from ${shareOf(full / data.scale)} of all that speaks for and against.${keptSaid(data)}`,
    draw: (scene) => {
      at = depthLayout(scene.data, scene.state, Math.max(280, element.clientWidth));
      strip.draw(scene, at);
      drawDepths(canvasPen(fit(base, at.width, at.height)), at, scene);
      mark(scene);
    },
    picture: (pen, scene) => {
      const own = depthLayout(scene.data, scene.state, 960);
      drawDepths(pen, own, scene);
      markDepths(pen, own, { ...scene, at: scene.state });
      drawWindow(pen, own, scene, DEPTH_LEFT, own.height - 6);
      drawScale(pen, own.width - 170, own.height - 14, 150, scene);
      return { width: own.width, height: own.height + 4 };
    },
    table: ({ data }) => [
      ["depth", "word", "position", "relevance", "share"],
      ...depthsOf(data).flatMap((values, cut) =>
        data.units.map((unit, i) => [
          cutCalled(data, cut),
          unit.label,
          unit.tokens[0],
          values[i],
          values[i] / data.scale,
        ]),
      ),
    ],
  };
}
