// The flow: words at the bottom, the answer on top, ribbons as wide as what heads, MLPs and words themselves carry up.

import { fit, make, panel } from "../viewer/elements.js";
import { canvasPen } from "../viewer/pens.js";
import { drawAnswerName, drawFlow, drawFlowNames, drawLayerLines, pixelX, pixelY, seenIn } from "./flow_drawing.js";
import { drawnFlow, flowOf } from "./flow_graph.js";
import { flowLayout } from "./flow_layout.js";
import { through } from "./flow_ways.js";
import { shareOf, signed, withShare } from "./numbers.js";
import { edgeHead, partCalled } from "./parts.js";
import { namesHeight } from "./word_names.js";

const [FLOW_LEFT, FLOW_TOP, TALLEST, NARROWEST_COLUMN] = [84, 34, 760, 16];
const zoomWithin = (zoom) => Math.max(0.5, Math.min(40, zoom));
const LARGE = 30_000; // words times layers from which the picture takes seconds
const LAID_WHOLE = 150; // words of a text that is laid out at once
const flows = new WeakMap();

/** The flow of a prediction, taken apart once. */
const flowOfData = (data) => {
  if (!flows.has(data)) flows.set(data, flowOf(data));
  return flows.get(data);
};

/** What is pinned isolates the ways through it: a word where its layer begins, or at the input; a head or MLP at all words. */
function chosenOf(data, flow, { word, layer, head }) {
  const cut = data.cuts.indexOf(`layer ${layer}`);
  if (head && cut >= 0) return head === "mlp" ? { cut, mlp: true } : { cut, head: edgeHead(data, layer, head) };
  return word < 0 || head ? null : { cut: Math.max(flow.first, cut), unit: word };
}

const headKey = (data, layer, number) => {
  const own = (data.heads[layer] || []).length;
  return number < own ? `${number}` : `x${number - own}`;
};

/** What is drawn of the flow, what is isolated, and the room for it: the layout is that of `laidOut`. */
function flowScene(scene, width, isWhole = false) {
  const { data, state } = scene;
  const flow = flowOfData(data);
  const chosen = chosenOf(data, flow, state);
  const part = chosen && chosen.unit === undefined ? JSON.stringify(chosen) : "";
  const key = `${state.flow} ${part}`;
  const drawn = recalledOf(flow, "drawn", key, () => drawnFlow(flow, state.flow / 100, chosen));
  const isolated = chosen && recalledOf(flow, "ways", JSON.stringify(chosen), () => through(flow, chosen));
  const [columns, rows] = [data.units.length, flow.steps.length + 1];
  const column = Math.max(NARROWEST_COLUMN, Math.min(210, (width - FLOW_LEFT - 12) / columns));
  const names = namesHeight(data, { from: 0, count: columns }, column);
  const row = Math.max(9, Math.min(46, (TALLEST - FLOW_TOP - names) / rows));
  const right = isWhole ? FLOW_LEFT + column * columns : width - 12;
  const room = { left: FLOW_LEFT, right, top: FLOW_TOP, bottom: FLOW_TOP + rows * row + 6, names };
  return {
    flow,
    drawn,
    isolated,
    key: `${key} ${width}`,
    columns,
    rows,
    column,
    row,
    room,
    height: room.bottom + names,
  };
}

/** The last result of a kind for a flow, made anew where its key is another. */
function recalledOf(flow, kind, key, make) {
  flow.recalled ??= {};
  if (flow.recalled[kind]?.key !== key) flow.recalled[kind] = { key, result: make() };
  return flow.recalled[kind].result;
}

/** The layout of the words in sight, and of as many on both sides; of a short text of all. */
function laidOut({ flow, drawn, key, columns, column, row, room }, view) {
  const columnAt = (x) => Math.max(0, Math.min(columns - 1, Math.floor((x - view.x) / (view.scale * column))));
  const [first, last] = [columnAt(room.left), columnAt(room.right)];
  const before = flow.recalled.layout;
  if (before?.key === key && before.at.range[0] <= first && before.at.range[1] >= last) return before.at;
  const beside = columns <= LAID_WHOLE ? columns : last - first + 1;
  const range = [Math.max(0, first - beside), Math.min(columns - 1, last + beside)];
  flow.recalled.layout = { key, at: flowLayout(flow, drawn, column, row, range) };
  return flow.recalled.layout.at;
}

function drawAll(pen, { at, room, isolated }, seen, view, scene, clip = (draw) => draw()) {
  clip(() => {
    drawLayerLines(pen, at, view, room, scene);
    drawFlow(pen, at, view, seen, scene, isolated);
  });
  drawFlowNames(pen, at, view, room, scene);
  drawAnswerName(pen, at, view, room, answerCalled(scene.data), scene.inks);
}

const answerCalled = (data) =>
  `${data.page.asked ? `‘${data.page.asked.trim() || data.page.asked}’ ` : ""}${signed(data.change)}`;

/** The node at a place, or else the ribbon. */
function nearest({ nodes, ribbons }, isolated, view, x, y) {
  const inside = (node) => {
    const [dx, dy] = [Math.abs(pixelX(view, node.x) - x), Math.abs(pixelY(view, node.y) - y)];
    const half = node.kind === "head" ? 5 : Math.max(4, (node.width * view.scale) / 2);
    return dx <= half + 1 && dy <= 5 ? dx + dy : Number.POSITIVE_INFINITY;
  };
  let [best, least] = [null, Number.POSITIVE_INFINITY];
  for (const node of nodes) if (inside(node) < least) [best, least] = [node, inside(node)];
  if (best) return best;
  for (const ribbon of ribbons) {
    const [y1, y2] = [pixelY(view, ribbon.y1), pixelY(view, ribbon.y2)];
    if (y > y1 || y < y2 || (isolated && ribbon.kind.startsWith("left"))) continue;
    const t = solvedFor((y1 - y) / (y1 - y2));
    const place = pixelX(view, ribbon.x1 + (ribbon.x2 - ribbon.x1) * t * t * (3 - 2 * t));
    const apart = Math.max(0, Math.abs(place - x) - (ribbon.width * view.scale) / 2);
    if (apart < 3 && apart < least) [best, least] = [ribbon, apart];
  }
  return best;
}

/** Where along a ribbon its height is a part of the whole: `1.5 t (1 - t) + t³ = part`, of its Bézier curve. */
function solvedFor(part) {
  let [low, high] = [0, 1];
  for (let i = 0; i < 20; i++) {
    const t = (low + high) / 2;
    if (1.5 * t * (1 - t) + t * t * t < part) low = t;
    else high = t;
  }
  return low;
}

/** What is pointed at, in words. */
function flowSaid(data, { kind, layer, head, word, value, at, from, to, rest, step }, steps) {
  const name = (unit) => `‘${data.units[unit].label}’`;
  const called = (number) => partCalled(data, layer, headKey(data, layer, number));
  const size = withShare(data, value);
  const said = {
    answer: () => [from === undefined ? `The answer: ${size}` : `${name(from)} hands ${size} on to the answer`],
    word: () => [
      `${name(word)}, ${step === steps ? "where the answer is read" : `before ${data.cuts.at(step - steps - 1)}`}: ${size}`,
    ],
    head: () => [
      `${called(head)}, at ${name(word ?? at)}: ${size}`,
      ...(rest === undefined ? [] : [`of which ${withShare(data, rest)} is read by links that are not drawn`]),
    ],
    mlp: () => [`${partCalled(data, layer, "mlp")}, at ${name(word)}: ${size}`],
    edge: () => [`${name(from)} to ${name(at)} through ${called(head)}: ${size}`],
    own: () => [`${name(to)} carries ${size} itself past the heads of layer ${layer}, with its MLP`],
    "left out below": () => [`All that is not drawn and arrives at ${name(to)}: ${size}`],
    "left out above": () => [`All that is not drawn and leaves ${name(from)}: ${size}`],
    "left out of a head": () => [`What ${called(head)} reads at ${name(at)} by links that are not drawn: ${size}`],
  };
  return said[kind]();
}

/** Which words are in sight, where some are not. */
function inSight({ at, room }, view) {
  const wordAt = (x) => Math.max(0, Math.min(at.columns - 1, Math.floor((x - view.x) / (view.scale * at.column))));
  const [first, last] = [wordAt(room.left), wordAt(room.right)];
  const isWhole = first === 0 && last === at.columns - 1;
  return isWhole ? "" : `Words ${first + 1} to ${last + 1} of ${at.columns}; drag to see others`;
}

/** The view of the flow. */
export function flowPicture(app, tell) {
  const {
    element: canvases,
    base,
    over,
  } = panel("The flow from words to the answer; arrows move the picture, plus and minus zoom, 0 shows all");
  const slider = make("input", { type: "range", min: 5, max: 100, step: 5, ariaLabel: "How much is drawn" });
  slider.addEventListener("change", () => app.set({ flow: Number(slider.value) }));
  const sight = make("span", { className: "faint" });
  const zoom = (name, title, by) =>
    make("button", { type: "button", title, ariaLabel: title, onclick: () => zoomed(by) }, name);
  const tools = make(
    "div",
    { className: "flow-tools" },
    make("label", {}, "Draw ", slider, " of what heads and MLPs carry"),
    zoom("+", "Zoom in", 1.4),
    zoom("−", "Zoom out", 1 / 1.4),
    zoom("All", "Show all", 0),
    sight,
  );
  const element = make("div", {}, tools, canvases);
  let [now, seen, view, drag, key] = [null, null, null, null, ""];

  /** The whole picture in the middle, or of a long text its end, where the answer is read. */
  function start() {
    const free = now.room.right - now.room.left - now.columns * now.column;
    return { scale: 1, x: now.room.left + (free > 0 ? free / 2 : free), y: FLOW_TOP };
  }
  /** Where a sight looks: zoom, and the word and the row in the middle, so that it is the same in a window of any width. */
  function sighted(sight) {
    const [zoom, word, row] = sight.split("_").map(Number);
    const scale = zoomWithin(zoom);
    const [x, y] = middle();
    return { scale, x: x - word * now.column * scale, y: y - row * now.row * scale };
  }
  function sightOf(next) {
    const [x, y] = middle();
    const place = [(x - next.x) / (next.scale * now.column), (y - next.y) / (next.scale * now.row)];
    return [next.scale, ...place].map((each) => Number(each.toFixed(4))).join("_");
  }
  const middle = () => [(now.room.left + now.room.right) / 2, (now.room.top + now.room.bottom) / 2];
  const keyOf = (sight) => `${now.width} ${now.columns} ${now.rows} ${sight}`;
  const show = (sight) => {
    [view, key] = [sight ? sighted(sight) : start(), keyOf(sight)];
  };
  /** Draws another sight, or the whole, and keeps it in the address. */
  function look(next) {
    const sight = next ? sightOf(next) : "";
    show(sight);
    app.keep({ sight });
    redraw();
  }
  function redraw() {
    const scene = app.scene();
    const context = fit(base, now.width, now.height);
    const pen = canvasPen(context);
    now.at = laidOut(now, view);
    seen = seenIn(now.at, view, now.room);
    drawAll(pen, now, seen, view, scene, (draw) => {
      context.save();
      context.beginPath();
      context.rect(now.room.left - 6, 4, now.room.right - now.room.left + 12, now.room.bottom - 2);
      context.clip();
      draw();
      context.restore();
    });
    sight.textContent = inSight(now, view);
    mark(scene);
  }
  /** Zooms about a place; by 0 back to the whole. */
  function zoomed(by, [x, y] = middle()) {
    const scale = zoomWithin(view.scale * by);
    const part = scale / view.scale;
    look(by && { scale, x: x - (x - view.x) * part, y: y - (y - view.y) * part });
  }
  const panned = (dx, dy) => look({ ...view, x: view.x + dx, y: view.y + dy });
  const placeOf = (event) => {
    const box = over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const nodeChoice = (data, { kind, layer, head, word, at, step }) => {
    if (kind === "mlp") return { layer, head: "mlp" };
    if (head !== undefined) return { layer, head: headKey(data, layer, head), word: word ?? at ?? -1 };
    return kind === "word" ? { word, layer: now.flow.steps[step]?.layer ?? -1, head: "" } : null;
  };
  const leave = (event) => {
    tell(event);
    app.point();
  };
  over.addEventListener("pointerdown", (event) => {
    drag = { from: placeOf(event), moved: false };
    over.setPointerCapture(event.pointerId);
  });
  over.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event);
    if (drag) {
      const [dx, dy] = [x - drag.from[0], y - drag.from[1]];
      if (drag.moved || Math.hypot(dx, dy) > 4) {
        drag = { from: [x, y], moved: true };
        panned(dx, dy);
      }
      return;
    }
    const { data } = app.scene();
    const found = nearest(seen, now.isolated, view, x, y);
    if (!found) return leave(event);
    const choice = nodeChoice(data, found);
    if (choice) app.point(choice);
    tell(event, flowSaid(data, found, now.rows - 1));
  });
  over.addEventListener("pointerup", (event) => {
    const found = drag && !drag.moved && nearest(seen, now.isolated, view, ...placeOf(event));
    drag = null;
    const choice = found && nodeChoice(app.scene().data, found);
    if (choice) app.pin(choice);
  });
  over.addEventListener("pointerleave", leave);
  over.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== over && !event.ctrlKey) return; // the page scrolls past it
      event.preventDefault();
      zoomed(Math.exp(-event.deltaY / 400), placeOf(event));
    },
    { passive: false },
  );
  over.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    const by = { "+": 1.4, "=": 1.4, "-": 1 / 1.4, 0: 0 }[event.key];
    if (!moves && by === undefined) return;
    event.preventDefault();
    if (moves) panned(...moves);
    else zoomed(by);
  });

  function mark({ data, at: chosen, inks }) {
    if (!now) return;
    const pen = canvasPen(fit(over, now.width, now.height));
    for (const node of seen.nodes) {
      const choice = nodeChoice(data, node);
      if (!choice) continue;
      const isHead = chosen.head && choice.head === chosen.head && choice.layer === chosen.layer;
      const isWord =
        !chosen.head &&
        !choice.head &&
        choice.word === chosen.word &&
        (chosen.layer < 0 || choice.layer === chosen.layer);
      if (!isHead && !isWord) continue;
      const [x, y] = [pixelX(view, node.x), pixelY(view, node.y)];
      if (x < now.room.left || x > now.room.right || y > now.room.bottom) continue;
      const half = Math.max(5, node.kind === "head" ? 6 : (node.width * view.scale) / 2 + 3);
      if (isHead || chosen.layer >= 0 || node.step === 0) pen.frame(x - half, y - 6, 2 * half, 12, inks.mark, 1.5);
    }
  }
  return {
    ...{ id: "flow", title: "The flow", element, mark },
    isLarge: ({ data }) => data.units.length * data.layers.length > LARGE,
    isEmpty: ({ data }) => !data.layers.length,
    caption: (scene) => captionOf(scene, flowScene(scene, Math.max(280, element.clientWidth || 960))),
    draw: (scene) => {
      const width = Math.max(280, element.clientWidth);
      now = { ...flowScene(scene, width), width };
      slider.value = scene.state.flow;
      const { sight } = scene.state;
      if (keyOf(sight) !== key) show(sight);
      redraw();
    },
    picture: (pen, scene) => {
      const { width, height, draw } = wholeFlow(scene);
      draw(pen);
      pen.text(8, height + 10, captionOf(scene, flowScene(scene, 960)), { fill: scene.inks.faint, size: 11 });
      return { width, height: height + 22 };
    },
    table: tableOfFlow,
  };
}

/** All of a flow at once, in a width where that has room: `share` of the mass is drawn, `unread` layers store no links. */
export function wholeFlow(scene, width = 960) {
  const own = flowScene(scene, width, true);
  const whole = { scale: 1, x: FLOW_LEFT, y: FLOW_TOP };
  const at = laidOut(own, whole);
  const draw = (pen) => drawAll(pen, { ...own, at }, seenIn(at, whole, own.room), whole, scene);
  return { width: own.room.right + 12, height: own.height, share: own.drawn.share, unread: own.flow.unread, draw };
}

function captionOf({ data, state }, { flow, drawn, isolated }) {
  const unread = flow.unread
    ? ` What heads of ${flow.unread} layers read is not stored (--edges all stores it); they are in what is left out.`
    : "";
  const pinned = state.head ? partCalled(data, state.layer, state.head) : `‘${data.units[state.word]?.label}’`;
  const alone = isolated
    ? ` Full colour: what goes through ${pinned}, ${shareOf(isolated.share)} of all ways from the answer down. Ways are counted by magnitude, without signs, so this is no share of the change; the widths are parts of it.`
    : "";
  const links = drawn.isAll
    ? `all ${drawn.count} links`
    : `the ${drawn.count} strongest links; the rest is in pale stubs`;
  return (
    `Ribbons are as wide as what flows, and what enters a word adds up to what it has. ${shareOf(drawn.share)} of the mass of what ` +
    `heads and MLPs carry is drawn, ${links}. Pale columns are what words carry themselves; between two lines stands a ` +
    `layer, squares are its heads, short bars its MLP. Drag to move, click and wheel to zoom.${unread}${alone}`
  );
}

/** Every link that is drawn and the sums of those that are not, by layer. */
export function tableOfFlow(scene) {
  const { data } = scene;
  const { drawn, isolated } = flowScene(scene, 960);
  const label = (unit) => (unit === undefined ? "" : data.units[unit].label);
  const rows = drawn.steps.flatMap(({ cut, layer, own, edges, nodes, mlps, restIn, restOut }, i) => {
    const ways = isolated?.steps[i];
    const row = (kind, head, from, to, value, part = 0) => [
      ...[data.cuts[cut], kind, head, label(from), from ?? "", label(to), to ?? "", value],
      ...(ways ? [part] : []),
    ];
    const words = [...restIn.keys()];
    const key = (head) => headKey(data, layer, head);
    return [
      ...(own ? words.map((word) => row("carried by itself", "", word, word, own[word], ways?.own(word))) : []),
      ...nodes.map((n) => row("head", key(n.head), undefined, n.unit, n.value, ways?.head(n.head, n.unit))),
      ...edges.map((e) => row("read by a head", key(e.head), e.source, e.target, e.value, ways?.edge(e))),
      ...nodes.map(({ head, unit, rest }) => row("left out of a head", key(head), undefined, unit, rest)),
      ...mlps.map(({ unit, value }) => row("MLP", "", unit, unit, value, ways?.mlp(unit))),
      ...words.map((word) => row("left out, arriving", "", undefined, word, restIn[word])),
      ...words.map((word) => row("left out, leaving", "", word, undefined, restOut[word])),
    ];
  });
  const names = ["from cut", "kind", "head", "from", "from position", "to", "to position", "relevance"];
  return [[...names, ...(isolated ? ["part of the ways through what is pinned"] : [])], ...rows];
}
