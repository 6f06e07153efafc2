// Draws the flow: ribbons as wide as what flows, the residual pale, heads as points, MLPs as bars on their column.

import { css, fitted, widthOf } from "../viewer/pens.js";

const [THINNEST, FAINTEST, ALONE] = [0.5, 0.05, 26]; // pixels, the last of all that is isolated
const PALE = { own: 0.3, "left out below": 0.28, "left out above": 0.28, "left out of a head": 0.28 };

/** The colour of a sign. */
const inkOf = (value, inks) => css(value < 0 ? inks.negative : inks.positive);

/** From places of the layout to pixels: `{ scale, x, y }`, and back. */
export const pixelX = (view, x) => view.x + x * view.scale;
export const pixelY = (view, y) => view.y + y * view.scale;

/** How many of the ways through what is isolated take a ribbon, of 1. */
export function waysOf(ribbon, isolated) {
  if (ribbon.kind === "answer") return isolated.answer[ribbon.from];
  const step = isolated.steps[ribbon.step];
  if (ribbon.kind === "own") return step.own(ribbon.to);
  if (ribbon.kind === "head") return step.head(ribbon.head, ribbon.at);
  if (ribbon.kind === "edge") return step.edge(ribbon.edge);
  return 0;
}

/** The ribbons and nodes that reach into a room, of pale ribbons those that are more than a shadow of a pixel. */
export function seenIn(at, view, { left, right }) {
  const columnAt = (x) => Math.floor((x - view.x) / (view.scale * at.column));
  const inColumns = [];
  for (let word = Math.max(0, columnAt(left) - 1); word <= Math.min(at.columns - 1, columnAt(right) + 1); word++)
    for (const each of at.columnsOf.get(word) || []) inColumns.push(each);
  const isRibbon = (each) => each.x2 !== undefined;
  const isThere = ({ x1, x2, width }) =>
    pixelX(view, Math.max(x1, x2)) + width >= left && pixelX(view, Math.min(x1, x2)) - width <= right;
  const own = inColumns.filter((each) => isRibbon(each) && !(kindIsPale(each) && each.width * view.scale < FAINTEST));
  const others = own.filter((each) => !kindIsPale(each));
  const links = [...others, ...at.between.filter(isThere)].sort((a, b) => a.width - b.width);
  const answer = at.nodes.filter(({ kind }) => kind === "answer");
  return {
    ribbons: [...own.filter(kindIsPale), ...links],
    nodes: [...inColumns.filter((each) => !isRibbon(each)), ...answer],
  };
}

/** What stays in its column is as wide as it is level; what leads across is as thick. */
const isUpright = (kind) => kind === "head" || kindIsPale({ kind });

const kindIsPale = ({ kind }) => kind in PALE;

/** What is seen of a flow, pale ribbons first, nodes last; what is isolated stands out from the rest. */
export function drawFlow(pen, at, view, { ribbons, nodes }, look, isolated) {
  for (const ribbon of ribbons) drawRibbon(pen, view, ribbon, look, ribbon.width, isolated ? 0.3 : 1);
  for (const ribbon of isolated ? ribbons : []) {
    const width = waysOf(ribbon, isolated) * ALONE;
    if (width > FAINTEST) drawRibbon(pen, view, ribbon, look, width, 1);
  }
  for (const node of nodes) drawNode(pen, at, view, node, look);
}

function drawRibbon(pen, view, { kind, value, x1, y1, x2, y2 }, { inks, patterns }, width, strength) {
  const ends = [pixelX(view, x1), pixelY(view, y1), pixelX(view, x2), pixelY(view, y2)];
  const look = [inkOf(value, inks), Math.max(THINNEST, width * view.scale), (PALE[kind] ?? 0.75) * strength];
  const isDashed = patterns && value < 0;
  if (isUpright(kind) && !isDashed) pen.band(...ends, ...look);
  else pen.rise(...ends, ...look, isDashed);
}

function drawNode(pen, at, view, node, { inks, patterns }) {
  if (node.kind === "word" && node.step && node.width * view.scale < 1) return;
  const [x, y] = [pixelX(view, node.x), pixelY(view, node.y)];
  const width = Math.max(2, node.width * view.scale);
  const high = Math.max(1.5, Math.min(5, 0.1 * at.row * view.scale));
  if (node.kind === "head") {
    const size = Math.max(4, Math.min(9, 0.22 * at.row * view.scale));
    pen.rect(x - size / 2, y - size / 2, size, size, css(inks.paper));
    pen.rect(x - size / 2 + 1, y - size / 2 + 1, size - 2, size - 2, inkOf(node.value, inks));
    if (patterns && node.value < 0) pen.hatch(x - size / 2, y - size / 2, size, size, inks.text);
  } else if (node.kind === "mlp") {
    const tall = high + 2;
    pen.rect(x - width / 2, y - tall / 2, width, tall, inkOf(node.value, inks));
    pen.frame(x - width / 2, y - tall / 2, width, tall, css(inks.paper), 1);
    if (patterns && node.value < 0) pen.hatch(x - width / 2, y - tall / 2, width, tall, inks.text);
  } else
    pen.rect(x - width / 2, y - high / 2, width, high, node.kind === "answer" ? inkOf(node.value, inks) : inks.text);
}

/** How many layers lie between two that are named. */
const namedEvery = (at, view) => Math.max(1, Math.ceil(14 / (at.row * view.scale)));

/** Lines between layers: what a layer does stands between the words before it and those after it. */
export function drawLayerLines(pen, at, view, room, { inks }) {
  const every = namedEvery(at, view);
  for (let i = 0; i < at.rows; i += every) {
    const y = pixelY(view, at.level(i));
    if (y > room.top - 4 && y < room.bottom) pen.rect(room.left, y - 0.5, room.right - room.left, 1, inks.line);
  }
}

/** The names of layers on the left, each beside its heads and MLP, and of words below, where they have room. */
export function drawFlowNames(pen, at, view, room, { data, inks }) {
  const name = (y, text) =>
    pen.text(room.left - 8, y, fitted(text, room.left - 10, 11), { fill: inks.faint, size: 11, align: "right" });
  const cuts = data.cuts.slice(data.cuts.length - at.rows);
  for (let i = 0; i < at.rows; i += namedEvery(at, view)) {
    const y = pixelY(view, at.level(i + 0.5));
    if (y > room.top - at.row / 2 && y < room.bottom) name(y, i === at.rows - 1 ? "answer" : cuts[i]);
  }
  const column = at.column * view.scale;
  const isLevel = column >= 52;
  name(room.bottom + (isLevel ? 12 : 8), `${data.page.unit}s`);
  const sparse = Math.max(1, Math.ceil(13 / column));
  for (let word = 0; word < at.columns; word++) {
    const x = pixelX(view, at.middle(word));
    if (x < room.left || x > room.right || (word % sparse && sparse > 1)) continue;
    const { label, kept } = data.units[word];
    const look = { fill: kept ? inks.faint : inks.text, size: 12 };
    if (isLevel) pen.text(x, room.bottom + 12, fitted(label, column - 2, 12), { ...look, align: "center" });
    else
      pen.text(x, room.bottom + 6, fitted(label, room.names - 8, 12), { ...look, align: "right", turn: -Math.PI / 2 });
  }
}

/** The answer's name over the top of the picture, within its sides. */
export function drawAnswerName(pen, at, view, room, text, inks) {
  const node = at.nodes.find(({ kind }) => kind === "answer");
  const half = widthOf(text, 13, true) / 2;
  const x = Math.min(room.right - half, Math.max(room.left + half, pixelX(view, node.x)));
  const y = pixelY(view, node.y) - 10;
  if (y > 0 && y < room.bottom) pen.text(x, y, text, { fill: inks.text, size: 13, bold: true, align: "center" });
}
