// The page of all heads: two measures as a picture, the chosen head's examples beside it, all of it as a table.

import { make } from "../viewer/elements.js";
import { componentTable } from "./component_table.js";
import { detail } from "./examples.js";
import { scatter } from "./scatter.js";

/** What a block of the page holds: JSON in UTF-8, in base64. */
export const dataOf = (base64) =>
  JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))));

/** Which components the picture shows, by their kinds. */
const SHOWN = { heads: ["head", "cross-head"], MLPs: ["mlp"], "heads and MLPs": ["head", "cross-head", "mlp"] };

/** Fills `place` with the page. What is chosen stands in the address behind #. */
export function mountHeads(place, data) {
  const state = { ...opening(data), ...fromAddress(data) };
  const side = make("section", { className: "side" });
  side.setAttribute("aria-live", "polite");
  const picture = scatter(data, choose);
  const table = componentTable(data, choose);
  const measures = data.measures.map((measure, value) => [String(value), measure.name]);
  const kinds = Object.keys(SHOWN).map((name) => [name, name]);
  const menus = [
    menu("x", "across", measures, (value) => change({ x: Number(value) })),
    menu("y", "up", measures, (value) => change({ y: Number(value) })),
    menu("show", "points", kinds, (value) => change({ show: value })),
  ];

  function change(wanted) {
    Object.assign(state, wanted);
    draw();
  }

  function choose(chosen) {
    change({ chosen });
  }

  function draw() {
    for (const { select } of menus) select.value = String(state[select.name]);
    picture.draw({ ...state, kinds: SHOWN[state.show] });
    table.fill(state.chosen);
    side.replaceChildren(...detail(data, data.components[state.chosen]));
    history.replaceState(null, "", address(data, state));
  }

  addEventListener("hashchange", () => change(fromAddress(data)));
  const about = "Full points carry the task: blue for the answer, orange against it. Circles are heads, squares MLPs.";
  const left = make("div", { className: "left" }, picture.element, make("p", { className: "faint" }, about));
  place.append(
    make("div", { className: "menus" }, ...menus.map(({ element }) => element)),
    make("div", { className: "beside" }, left, side),
    make("h2", {}, "All heads and MLPs"),
    table.element,
  );
  draw();
}

/** How a page opens: heads by their share and layer, the one with the largest share chosen. */
function opening(data) {
  const layer = data.measures.findIndex((measure) => measure.unit === "count");
  const heads = data.components.some((part) => SHOWN.heads.includes(part.kind));
  const show = heads ? "heads" : "MLPs";
  const size = (part) => (SHOWN[show].includes(part?.kind) ? Math.abs(part.values[0] ?? 0) : -1);
  const chosen = data.components.reduce((best, part, place, all) => (size(part) > size(all[best]) ? place : best), 0);
  return { x: 0, y: Math.max(0, layer), show, chosen };
}

function menu(name, label, choices, changed) {
  const options = choices.map(([value, text]) => make("option", { value }, text));
  const select = make("select", { name }, ...options);
  select.addEventListener("change", () => changed(select.value));
  return { element: make("label", {}, `${label} `, select), select };
}

const address = (data, { x, y, show, chosen }) => {
  const part = data.components[chosen];
  return `#${new URLSearchParams({ x, y, show, ...(part ? { part: part.name } : {}) })}`;
};

/** What the address says and the page has; nothing else. */
function fromAddress(data) {
  const known = new URLSearchParams(location.hash.slice(1));
  const wanted = {};
  for (const axis of ["x", "y"]) {
    const place = Number(known.get(axis) ?? Number.NaN);
    if (data.measures[place]) wanted[axis] = place;
  }
  if (Object.hasOwn(SHOWN, known.get("show") ?? "")) wanted.show = known.get("show");
  const chosen = data.components.findIndex((part) => part.name === known.get("part"));
  return chosen < 0 ? wanted : { ...wanted, chosen };
}
