// An answer of several tokens by the words of its prompt: a row for each token of the answer; a click chooses rows.

import { fit, make, panel } from "../viewer/elements.js";
import { canvasPen, fitted } from "../viewer/pens.js";
import { drawCell, drawScale } from "./colours.js";
import { withShare } from "./numbers.js";
import { byUnit, spoken } from "./prediction_data.js";
import { rowsOfState } from "./state.js";
import { drawNames, namesHeight } from "./word_names.js";
import { windowOf, windowStrip } from "./word_window.js";

const [SIDE, CEILING, STEP] = [96, 6, 22];

function matrixLayout({ data, state, group }, width) {
  const shown = windowOf(data, state, width - SIDE - 12);
  const cell = Math.min(96, (width - SIDE - 12) / shown.count);
  const floor = namesHeight(data, shown, cell);
  return { ...shown, cell, width, rows: group.rows.length, height: CEILING + group.rows.length * STEP + floor };
}

/** The colour of a matrix is full where its strongest cell is. */
const fullOf = (rows, data) =>
  rows.flatMap((row) => [...byUnit(data, row.relevance)]).reduce((most, each) => Math.max(most, Math.abs(each)), 1e-12);

function drawMatrix(pen, at, scene) {
  const { data, group, inks, state } = scene;
  const scale = { ...scene, full: fullOf(group.rows, data) };
  const [first, last] = rowsOfState(state, at.rows);
  group.rows.forEach((row, r) => {
    const y = CEILING + r * STEP;
    const name = fitted(spoken(row.page.asked).trim() || "␣", SIDE - 16, 13);
    const isChosen = r >= first && r <= last;
    pen.text(SIDE - 8, y + STEP / 2, name, {
      fill: isChosen ? inks.text : inks.faint,
      size: 13,
      align: "right",
      bold: isChosen,
    });
    const values = byUnit(data, row.relevance);
    for (let i = 0; i < at.count; i++)
      drawCell(pen, SIDE + i * at.cell, y, at.cell - 0.5, STEP - 1, values[at.from + i], scale);
  });
  drawNames(pen, data, at, SIDE, CEILING + at.rows * STEP, inks);
}

function markMatrix(pen, at, { at: chosen, state, inks }) {
  const place = chosen.word - at.from;
  if (chosen.word >= 0 && place >= 0 && place < at.count)
    pen.frame(SIDE + place * at.cell - 1, CEILING - 2, at.cell + 1, at.rows * STEP + 3, inks.mark, 1.5);
  const [first, last] = rowsOfState(state, at.rows);
  if (state.rows)
    pen.frame(2, CEILING + first * STEP - 1, SIDE + at.count * at.cell, (last - first + 1) * STEP, inks.mark, 1.5);
}

/** The view of an answer by its prompt. A click chooses a row, with shift a span; all views then show their sum. */
export function answerMatrix(app, tell) {
  const { element: canvases, base, over } = panel("The answer's tokens by words; up and down choose a row");
  const strip = windowStrip(app);
  const all = make("button", { type: "button", onclick: () => app.set({ rows: "" }) }, "The whole answer");
  const element = make("div", {}, strip.element, canvases, all);
  let at = null;
  let start = -1;
  const placeOf = (event) => {
    const box = over.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top - CEILING) / STEP);
    const i = Math.floor((event.clientX - box.left - SIDE) / at.cell);
    return row < 0 || row >= at.rows ? null : { row, unit: i >= 0 && i < at.count ? at.from + i : -1 };
  };
  over.addEventListener("pointermove", (event) => {
    const place = placeOf(event);
    if (!place || place.unit < 0) return leave(event);
    const { group, data } = app.scene();
    const row = group.rows[place.row];
    app.point({ word: place.unit });
    const value = byUnit(data, row.relevance)[place.unit];
    tell(event, [
      `‘${data.units[place.unit].label}’ for ‘${spoken(row.page.asked)}’: ${withShare(row, value)}`,
      "Click to choose this row; drag for several.",
    ]);
  });
  const leave = (event) => {
    tell(event);
    app.point();
  };
  over.addEventListener("pointerleave", leave);
  over.addEventListener("pointerdown", (event) => {
    start = placeOf(event)?.row ?? -1;
  });
  over.addEventListener("pointerup", (event) => {
    const row = placeOf(event)?.row;
    if (row === undefined || start < 0) return;
    const [first, last] = [Math.min(row, start), Math.max(row, start)];
    const rows = first === last ? `${first}` : `${first}-${last}`;
    app.set({ rows: app.scene().state.rows === rows ? "" : rows });
  });
  over.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const { state, group } = app.scene();
    const row = state.rows ? rowsOfState(state, group.rows.length)[0] + by : by > 0 ? 0 : group.rows.length - 1;
    app.set({ rows: `${Math.max(0, Math.min(group.rows.length - 1, row))}` });
  });
  const mark = (scene) => {
    if (at) markMatrix(canvasPen(fit(over, at.width, at.height)), at, scene);
  };
  return {
    ...{ id: "answer", title: "The answer by the prompt", element, mark },
    isEmpty: ({ group }) => group.rows.length < 2,
    caption: () =>
      "Each row is a token of the answer; earlier tokens of the answer are kept. Click a row, or drag over several: everything below is then about these.",
    draw: (scene) => {
      at = matrixLayout(scene, Math.max(280, element.clientWidth));
      strip.draw(scene, at);
      drawMatrix(canvasPen(fit(base, at.width, at.height)), at, scene);
      all.hidden = !scene.state.rows;
      mark(scene);
    },
    picture: (pen, scene) => {
      const own = matrixLayout(scene, 960);
      drawMatrix(pen, own, scene);
      drawScale(pen, own.width - 170, own.height - 14, 150, { ...scene, full: fullOf(scene.group.rows, scene.data) });
      return { width: own.width, height: own.height };
    },
    table: ({ group, data }) => [
      ["answer", "word", "position", "relevance", "share"],
      ...group.rows.flatMap((row) => {
        const values = byUnit(data, row.relevance);
        return data.units.map((unit, i) => [
          row.meta.question,
          unit.label,
          unit.tokens[0],
          values[i],
          values[i] / row.scale,
        ]);
      }),
    ],
  };
}
