// All layers and heads as thumbnails: layers down, maps across. A row is drawn when it comes into sight.

import { make } from "./elements.js";
import { lensOf, regroup } from "./lens.js";
import { mapsOf, rawMap } from "./maps.js";
import { shade } from "./pens.js";
import { form, isAttention, mapName } from "./wording.js";

const PIXELS = 48; // of a thumbnail: a larger map shows the strongest cell of each

export const overviewMaps = (flow) =>
  ["composed", "z2z", ...mapsOf(flow).filter((m) => /^h\d/.test(m))].filter((m) => mapsOf(flow).includes(m));

/** Pixels that all thumbnails of a layer need side by side. */
export const overviewWidth = (flow) => 50 + 26 * overviewMaps(flow).length;

export function overview(element, flow, state, inks, set) {
  const maps = overviewMaps(flow);
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target } of entries.filter((one) => one.isIntersecting)) {
        seen.unobserve(target);
        for (const canvas of target.querySelectorAll("canvas")) thumbnail(canvas, flow, state, inks);
      }
    },
    { root: null, rootMargin: "200px" },
  );
  const body = make(
    "tbody",
    {},
    ...flow.layers.map((layer, row) => {
      const cells = maps.map((map) =>
        make(
          "td",
          {},
          make(
            "button",
            {
              type: "button",
              tabIndex: -1,
              title: `Layer ${layer}: ${mapName(map, state.rule)}`,
              "data-layer": layer,
              "data-map": map,
              onclick: () => set({ layer, map }),
            },
            make("canvas", { "data-layer": layer, "data-map": map }),
          ),
        ),
      );
      const line = make("tr", {}, make("th", { scope: "row" }, `${layer} `, layerBadge(flow, row)), ...cells);
      seen.observe(line);
      return line;
    }),
  );
  const table = make("table", { onkeydown: (event) => walk(event, table, maps.length) }, head(maps), body);
  element.replaceChildren(table);
}

function head(maps) {
  const heads = maps.filter((map) => map[0] === "h").length;
  const named = { composed: "via heads", z2z: "direct" };
  const columns = maps.map((map) =>
    make("th", { scope: "col", className: named[map] ? "upright" : "" }, make("span", {}, named[map] || map.slice(1))),
  );
  const over = heads
    ? [
        make(
          "tr",
          {},
          make("th", { colSpan: 1 + maps.length - heads }),
          make("th", { colSpan: heads, scope: "colgroup" }, heads > 3 ? "what head … reads" : "head"),
        ),
      ]
    : [];
  return make("thead", {}, ...over, make("tr", {}, make("th", { scope: "col" }, "layer"), ...columns));
}

/** Arrows go from thumbnail to thumbnail; Tab leaves them. */
function walk(event, table, columns) {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const all = [...table.querySelectorAll("button")];
  const next = all[all.indexOf(document.activeElement) + by];
  if (next) roam(all, next).focus();
}

/** The one thumbnail that Tab comes to. */
function roam(all, one) {
  for (const button of all) button.tabIndex = button === one ? 0 : -1;
  return one;
}

/** Marks the thumbnail of what is shown. */
export function markOverview(element, state, scroll) {
  const all = [...element.querySelectorAll("button")];
  let shown = null;
  for (const button of all) {
    const chosen = Number(button.dataset.layer) === state.layer && button.dataset.map === state.map;
    button.ariaPressed = String(chosen);
    if (chosen) shown = button;
  }
  if (all.length) roam(all, shown || all[0]);
  if (shown && scroll && element.scrollHeight > element.clientHeight) {
    const [at, top] = [shown, element].map((one) => one.getBoundingClientRect().top);
    element.scrollTop += at - top - element.clientHeight / 2;
  }
}

function layerBadge(flow, row) {
  if (isAttention(flow)) return "";
  let [worst, bad] = [0, 0];
  for (const route of flow.routes) {
    const [residue, scale, met] = ["residue", "scale", "met"].map((p) => flow.tensor(`${route}.${p}`, row));
    residue.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value / scale[i]));
      bad += met[i] > 0 ? 0 : 1;
    });
  }
  const title = `${bad ? `${bad} not converged; ` : ""}largest completeness error ${form(worst)}`;
  return make("span", { className: bad ? "badge failed" : "badge", title }, bad ? `✗${bad}` : "✓");
}

/** A map without special tokens and sinks, each row up to its strongest cell. */
function thumbnail(canvas, flow, state, inks) {
  const seen = { ...state, layer: Number(canvas.dataset.layer), map: canvas.dataset.map, special: 1, prefix: 0 };
  const lens = lensOf(flow, seen);
  const values = regroup(rawMap(flow, flow.layers.indexOf(seen.layer), seen.map, seen.rule), lens, flow.tokens.length);
  const [rows, columns] = [lens.rows.length, lens.sources.length];
  const [height, width] = [Math.min(PIXELS, rows), Math.min(PIXELS, columns)];
  const strongest = new Float32Array(height * width);
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * columns, (r + 1) * columns);
    const most = row.reduce((size, value) => Math.max(size, Math.abs(value)), 0) || 1;
    const line = Math.floor((r * height) / rows) * width;
    for (let c = 0; c < columns; c++) {
      const at = line + Math.floor((c * width) / columns);
      if (Math.abs(row[c] / most) > Math.abs(strongest[at])) strongest[at] = row[c] / most;
    }
  }
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (const [i, value] of strongest.entries()) image.data.set([...shade(value, 1, inks), 255], i * 4);
  context.putImageData(image, 0, 0);
}
