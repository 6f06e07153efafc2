// The chosen head or MLP: what it contributes where, a head's edges as a ladder, an MLP's hidden units and features.

import { fit, make, panel } from "../viewer/elements.js";
import { canvasPen } from "../viewer/pens.js";
import { drawLadder, edgesOfHead, ladderLayout, markLadder, valuesOfPart, wordAt } from "./ladder.js";
import { plainly, shareOf, signed, withShare } from "./numbers.js";
import { edgeHead, partCalled, partOf, sumOfPart } from "./parts.js";

const SPLITS = { all: "all", value: "what it read", key: "where it found it", query: "what it asked" };
const ROWS = 10;

/** The strongest head, of all layers or of one, which is shown where none is chosen. */
export function strongestPart(data, only = -1) {
  let best = { layer: -1, head: "", size: -1 };
  for (const layer of only < 0 ? data.layers : [only])
    (data.heads[layer] || []).forEach((_, head) => {
      const size = Math.abs(sumOfPart(data, layer, `${head}`));
      if (size > best.size) best = { layer, head: `${head}`, size };
    });
  return best;
}

/** The chosen part, or the strongest head: what the panel beside the map shows. */
function partShown({ data, state }) {
  return state.head ? { layer: state.layer, head: state.head } : strongestPart(data, state.layer);
}

/** The edges, by token, of the head that is shown, as rows of a table; of its part that is chosen. */
export function edgesShown({ data, state }) {
  const { layer, head } = partShown({ data, state });
  const edges = data.edges[layer];
  if (!edges || head === "mlp") return [];
  const number = edgeHead(data, layer, head);
  const values = valuesOfPart(edges, state.part);
  const name = `h${head}, ${SPLITS[edges.parts ? state.part : "all"]}`;
  const order = [...values.keys()].filter((i) => edges.head[i] === number);
  return order.map((i) => {
    const [target, source] = [edges.target[i], edges.source[i]];
    return [layer, name, data.labels[target], target, data.labels[source], source, values[i], values[i] / data.scale];
  });
}

/** The panel beside the map of heads. */
export function partDetail(app, tell) {
  const title = make("h3");
  const said = make("p");
  const splits = make("div", { className: "choices", role: "group", ariaLabel: "Parts of what the head reads" });
  const { element: ladder, base, over } = panel("What the head reads: words it reads from, and words it writes at");
  const tables = make("div");
  const element = make("div", { className: "detail", ariaLive: "polite" }, title, said, splits, ladder, tables);
  let at = null;

  over.addEventListener("pointermove", (event) => {
    const box = over.getBoundingClientRect();
    const word = at ? wordAt(at, event.clientX - box.left, event.clientY - box.top) : -1;
    app.point(word < 0 ? {} : { word });
    tell(event, word < 0 ? [] : [`‘${app.scene().data.units[word].label}’: click to pin it`]);
  });
  over.addEventListener("pointerleave", (event) => {
    tell(event);
    app.point();
  });
  over.addEventListener("click", (event) => {
    const box = over.getBoundingClientRect();
    const word = at ? wordAt(at, event.clientX - box.left, event.clientY - box.top) : -1;
    if (word >= 0) app.pin({ word });
  });

  function draw(scene) {
    const { data, state } = scene;
    const { layer, head } = partShown(scene);
    const values = partOf(data, layer, head);
    element.hidden = !values;
    if (!values) return;
    const called = partCalled(data, layer, head);
    title.textContent = `${called[0].toUpperCase()}${called.slice(1)}: ${withShare(data, sumOfPart(data, layer, head))}, at all ${data.page.unit}s together`;
    const edges = head === "mlp" ? null : edgesOfHead(data, layer, edgeHead(data, layer, head), state.part);
    at = edges?.rows.length ? ladderLayout(data, edges, Math.max(260, Math.min(560, element.clientWidth))) : null;
    said.textContent = sentence(data, head, values, edges);
    ladder.hidden = !at;
    splits.hidden = !data.edges[layer]?.parts || head === "mlp";
    splits.replaceChildren(...splitButtons(app, state.part));
    tables.replaceChildren(...(head === "mlp" ? mlpTables(data, layer) : []));
    if (!at) return;
    drawLadder(canvasPen(fit(base, at.width, at.height)), at, scene);
    mark(scene);
  }
  function mark(scene) {
    if (at) markLadder(canvasPen(fit(over, at.width, at.height)), at, scene);
  }
  function picture(pen, scene, x) {
    const { layer, head } = partShown(scene);
    if (!partOf(scene.data, layer, head)) return { width: 0, height: 0 };
    pen.text(x, 14, partCalled(scene.data, layer, head), { fill: scene.inks.text, size: 14, bold: true });
    if (head === "mlp") return { width: 200, height: 30 };
    const edges = edgesOfHead(scene.data, layer, edgeHead(scene.data, layer, head), scene.state.part);
    pen.text(x, 34, sentence(scene.data, head, partOf(scene.data, layer, head), edges), {
      fill: scene.inks.faint,
    });
    if (!edges?.rows.length) return { width: 520, height: 40 };
    const own = ladderLayout(scene.data, edges, 520, x, 48);
    drawLadder(pen, own, scene);
    return { width: 560, height: own.height + 48 };
  }
  return { element, draw, mark, picture };
}

const splitButtons = (app, part) =>
  Object.entries(SPLITS).map(([key, name]) =>
    make("button", { type: "button", ariaPressed: String(key === part), onclick: () => app.set({ part: key }) }, name),
  );

/** Where it writes most, what it reads there most, and how much of what it reads is drawn. */
function sentence(data, head, values, edges) {
  const order = [...values.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  const place = order[0];
  const where = `Most at ‘${data.labels[place]}’ (${signed(values[place])})`;
  if (head === "mlp") return `${where}.`;
  if (!edges)
    return `${where}. What it reads is not stored for this layer: explain with edges="all" (--edges all) to see it here.`;
  if (!edges.rows.length) return `${where}. None of its edges is strong enough to be on this page.`;
  return `${where}. Drawn: ${shareOf(edges.shown / edges.all)} of the mass of what it reads.`;
}

function mlpTables(data, layer) {
  if (data.isSum) return [make("p", { className: "faint" }, "Choose one token of the answer to see its hidden units.")];
  const units = data.page.hidden_units[layer];
  const features = data.page.features.map((each) => listing(data, each.title, "feature", each.rows, each.said));
  if (!units)
    return [
      ...features,
      make(
        "p",
        { className: "faint" },
        `Its hidden units are not stored: explain with neurons=[${layer}] (--neurons 20 --layer ${layer}) to see them here.`,
      ),
    ];
  const listed = units.rows.slice(0, ROWS).reduce((sum, row) => sum + row[2], 0);
  const said = `${units.count} hidden units at all tokens together: ${signed(units.total)}; those listed: ${signed(listed)}.`;
  return [listing(data, "Strongest hidden units", "hidden unit", units.rows, [said]), ...features];
}

function listing(data, title, what, rows, said) {
  const head = [what, "at", "relevance", "activation", "with the reference"];
  const cell = (tag, text, isNumber) => make(tag, { className: isNumber ? "number" : "" }, text);
  const lines = rows
    .slice(0, ROWS)
    .map(([name, place, value, own, other]) =>
      make(
        "tr",
        {},
        cell("td", name),
        cell("td", data.labels[place]),
        ...[signed(value), plainly(own), plainly(other)].map((text) => cell("td", text, true)),
      ),
    );
  const names = make("tr", {}, ...head.map((name, i) => cell("th", name, i > 1)));
  return make(
    "div",
    {},
    make("h4", {}, title),
    make("table", {}, make("thead", {}, names), make("tbody", {}, ...lines)),
    ...said.map((line) => make("p", { className: "faint" }, line)),
  );
}
