// Heads and MLPs: what each contributes at all words together, layer by layer, the last one on top.

import { fit, make, panel } from "../viewer/elements.js";
import { canvasPen } from "../viewer/pens.js";
import { drawCell, drawScale } from "./colours.js";
import { withShare } from "./numbers.js";
import { edgesShown, partDetail } from "./part_detail.js";
import { columnsOf, partCalled, partOf, sumOfPart } from "./parts.js";

const [HEAD_LEFT, HEAD_TOP, HEAD_LABELS] = [66, 8, 26];

function headLayout(data, width) {
  const columns = columnsOf(data);
  const gap = columns.length > 1 && columns.at(-1)[0] === "mlp" ? 8 : 0;
  const cell = Math.max(8, Math.min(34, (width - HEAD_LEFT - 12 - gap) / columns.length));
  const rowHeight = Math.max(6, Math.min(17, 560 / data.layers.length));
  const height = HEAD_TOP + data.layers.length * rowHeight + HEAD_LABELS;
  return { columns, gap, cell, rowHeight, width: HEAD_LEFT + columns.length * cell + gap + 12, height };
}

const headColumn = (at, i) => HEAD_LEFT + i * at.cell + (at.columns[i][0] === "mlp" ? at.gap : 0);
const headRow = (at, data, row) => HEAD_TOP + (data.layers.length - 1 - row) * at.rowHeight;

function drawHeads(pen, at, scene) {
  const { data, inks } = scene;
  const every = Math.ceil(13 / at.rowHeight);
  data.layers.forEach((layer, row) => {
    const y = headRow(at, data, row);
    if (row % every === 0)
      pen.text(HEAD_LEFT - 8, y + at.rowHeight / 2, `layer ${layer}`, { fill: inks.faint, size: 11, align: "right" });
    at.columns.forEach(([key], i) => {
      const value = sumOfPart(data, layer, key);
      if (value !== undefined) drawCell(pen, headColumn(at, i), y, at.cell - 1, at.rowHeight - 1, value, scene);
    });
  });
  const bottom = HEAD_TOP + data.layers.length * at.rowHeight + 10;
  const labelled = Math.ceil(26 / at.cell);
  at.columns.forEach(([key, label], i) => {
    if (i % labelled && key !== "mlp") return;
    pen.text(headColumn(at, i) + at.cell / 2, bottom, label, { fill: inks.faint, size: 11, align: "center" });
  });
}

function markHeads(pen, at, { data, at: chosen, inks }) {
  const row = data.layers.indexOf(chosen.layer);
  if (row < 0) return;
  const [y, i] = [headRow(at, data, row), at.columns.findIndex(([key]) => key === chosen.head)];
  if (i >= 0) pen.frame(headColumn(at, i) - 1, y - 1, at.cell + 1, at.rowHeight + 1, inks.mark, 2);
  else pen.frame(HEAD_LEFT - 2, y - 1, at.width - HEAD_LEFT - 8, at.rowHeight + 1, inks.mark, 1.5);
}

/** What a click on a part shows. */
function clickSays(data, { layer, head }) {
  if (head !== "mlp") return "Click to see what it read.";
  if (data.page.hidden_units[layer] && !data.isSum) return "Click to see its strongest hidden units.";
  return "Click to see how to get its hidden units.";
}

/** The view of heads and MLPs, with what the chosen one reads beside the map. */
export function headMap(app, tell) {
  const { element: canvases, base, over } = panel("Heads and MLPs by layer; arrows move from one to another");
  const detail = partDetail(app, tell);
  const element = make("div", { className: "beside" }, canvases, detail.element);
  let at = null;
  const placeOf = (event) => {
    const box = over.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { data } = app.scene();
    const layer = data.layers[data.layers.length - 1 - Math.floor((y - HEAD_TOP) / at.rowHeight)];
    const i = at.columns.findIndex((_, each) => x >= headColumn(at, each) && x < headColumn(at, each) + at.cell);
    return layer === undefined || i < 0 || !partOf(data, layer, at.columns[i][0])
      ? null
      : { layer, head: at.columns[i][0] };
  };
  const leave = (event) => {
    tell(event);
    app.point();
  };
  over.addEventListener("pointermove", (event) => {
    const place = placeOf(event);
    if (!place) return leave(event);
    const { data } = app.scene();
    app.point(place);
    const value = sumOfPart(data, place.layer, place.head);
    tell(event, [
      `${partCalled(data, place.layer, place.head)}: ${withShare(data, value)}, at all ${data.page.unit}s together`,
      clickSays(data, place),
    ]);
  });
  over.addEventListener("pointerleave", leave);
  over.addEventListener("click", (event) => {
    const place = placeOf(event);
    if (place) app.pin(place);
  });
  over.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const { data, state } = app.scene();
    const within = (place, count) => Math.max(0, Math.min(count - 1, place));
    const row = data.layers.indexOf(state.layer < 0 ? data.layers.at(-1) : state.layer);
    const i = Math.max(
      0,
      at.columns.findIndex(([key]) => key === state.head),
    );
    app.set({
      layer: data.layers[within(row + by[1], data.layers.length)],
      head: at.columns[within(i + by[0], at.columns.length)][0],
    });
  });
  const mark = (scene) => {
    markHeads(canvasPen(fit(over, at.width, at.height)), at, scene);
    detail.mark(scene);
  };
  return {
    ...{ id: "heads", title: "Heads and MLPs", element, mark },
    isEmpty: ({ data }) => !data.layers.length,
    caption: ({ data }) =>
      `Each cell is what a head, or the MLP, contributes at all ${data.page.unit}s together; ${data.page.parts_note}. ` +
      "Click a head to see what it read, an MLP for its hidden units.",
    draw: (scene) => {
      at = headLayout(scene.data, Math.min(430, element.clientWidth));
      drawHeads(canvasPen(fit(base, at.width, at.height)), at, scene);
      detail.draw(scene);
      mark(scene);
    },
    picture: (pen, scene) => {
      const own = headLayout(scene.data, 430);
      drawHeads(pen, own, scene);
      markHeads(pen, own, { ...scene, at: scene.state });
      drawScale(pen, HEAD_LEFT, own.height, 150, scene);
      const beside = detail.picture(pen, scene, own.width + 20);
      return { width: own.width + 20 + beside.width, height: Math.max(own.height + 20, beside.height) };
    },
    table: (scene) => [
      ["layer", "part", "at", "position", "reads from", "source", "relevance", "share"],
      ...scene.data.layers.flatMap((layer) => rowsOfLayer(scene.data, layer)),
      ...edgesShown(scene),
    ],
  };
}

/** What each part of a layer writes at each token. */
const rowsOfLayer = (data, layer) =>
  columnsOf(data).flatMap(([key, label]) =>
    Array.from(partOf(data, layer, key) || [], (value, place) => [
      ...[layer, label, data.labels[place], place, "", "", value, value / data.scale],
    ]),
  );
