// What is selected, in words: at the pointer in a line, below the map in a few, with the numbers on demand.

import { make } from "./elements.js";
import { defaultMap, targetOf } from "./highlights.js";
import { viewOf } from "./views.js";
import { certifiedOf, form, isAttention, percent, wayOf, wholeRow } from "./wording.js";

const quoted = (label) => `‘${label}’`;

/** Through what, where a map is a part of the direct one. */
const way = (view) => wayOf(view.state.map) && ` through ${wayOf(view.state.map)}`;

const movedBy = (view) => (isAttention(view.flow) ? "attends to" : `is moved${way(view)} by`);

/** The share of a cell in its row. */
const shareOf = (view, r, c) => (view.sizes[r] > 0 ? view.values[r * view.columns + c] / view.sizes[r] : 0);

/** A cell, or what a row or column holds most of, in one line, and the value behind it. */
export function pointerWords(view, { r, c }) {
  if (view.other) return differenceWords(view, r, c);
  if (r >= 0 && c >= 0) {
    const share = shareOf(view, r, c);
    const [from, to] = [view.isPlayers ? headName(view, c) : quoted(view.columnLabels[c]), quoted(view.rowLabels[r])];
    const what =
      share < 0
        ? `${percent(-share)} of ${wholeRow(view.flow)}${way(view)}, holding it back`
        : `${percent(share)} of ${wholeRow(view.flow)}${way(view)}`;
    return [
      `${from} to ${to}: ${what}`,
      `${form(view.values[r * view.columns + c])}${view.certificates[r].met ? "" : "; ✗ not converged"}`,
    ];
  }
  if (r >= 0) return [`${quoted(view.rowLabels[r])} ${movedBy(view)} ${partners(view, r, 3)}`];
  return c >= 0 ? [reached(view, c, 3)] : [];
}

function differenceWords(view, r, c) {
  if (r < 0 || c < 0) return [];
  const value = view.values[r * view.columns + c];
  const size = view.state.colour === "share" ? `${(100 * Math.abs(value)).toFixed(1)} points` : form(Math.abs(value));
  return [
    `${quoted(view.columnLabels[c])} to ${quoted(view.rowLabels[r])}: ${size} ${value < 0 ? "less" : "more"} in the first`,
  ];
}

const headName = (view, c) => (c < view.flow.heads ? `head ${c}` : "the rest, past the heads,");

const order = (count, size) => [...Array(count).keys()].sort((a, b) => size(b) - size(a));

function partners(view, r, count) {
  const most = order(view.columns, (c) => Math.abs(shareOf(view, r, c)))
    .slice(0, count)
    .filter((c) => Math.abs(shareOf(view, r, c)) >= 0.0005);
  if (!most.length) return "none of the sources shown";
  return most
    .map((c) => `${view.isPlayers ? headName(view, c) : quoted(view.columnLabels[c])} ${percent(shareOf(view, r, c))}`)
    .join(", ");
}

function reached(view, c, count) {
  const most = order(view.rows, (r) => Math.abs(shareOf(view, r, c))).slice(0, count);
  const from = view.isPlayers ? headName(view, c) : quoted(view.columnLabels[c]);
  return `${from} reaches ${most.map((r) => `${quoted(view.rowLabels[r])} ${percent(shareOf(view, r, c))}`).join(", ")}`;
}

/** Fills the lines below the map with what is pinned, in every view. */
export function describe(element, views, places) {
  const open = element.querySelector("details")?.open || false;
  const lines = views.flatMap((view, i) =>
    view.other || !places[i] ? [] : pinnedLines(view, places[i], views.length > 1 ? view.title : ""),
  );
  const numbers = views.flatMap((view, i) =>
    view.other || places[i]?.side !== "target" ? [] : rowNumbers(view, places[i]),
  );
  element.replaceChildren(
    ...lines.map((line) => make("div", {}, line)),
    ...(numbers.length
      ? [make("details", { open }, make("summary", {}, "the numbers"), ...numbers.map((line) => make("div", {}, line)))]
      : []),
  );
}

function pinnedLines(view, { side, index }, title) {
  const before = title ? `${title} · ` : "";
  if (side === "target") {
    const r = view.rowIds.indexOf(index);
    if (r < 0) return [];
    const one = view.certificates[r];
    const origin = one.origin > 0.01 ? `; ${percent(one.origin)} happened at the very start of the path` : "";
    const met = isAttention(view.flow) ? "attention weights, not contributions" : certifiedOf(view.state.map);
    const mark = one.met ? met : "✗ not converged";
    return [`${before}${quoted(view.rowLabels[r])} ${movedBy(view)} ${partners(view, r, 5)}; ${mark}${origin}`];
  }
  if (side === "head" && !view.isPlayers) return [`${before}${headWords(view, index)}`];
  const c = view.columnIds.indexOf(index);
  return c < 0 ? [] : [`${before}${reached(view, c, 5)}`];
}

/** What a head reads at the target that the findings are of, what it writes there, and whether both are certified. */
function headWords(view, index) {
  const { flow, state, lens } = view;
  const isHead = index < flow.heads;
  const name = isHead ? `head ${index}` : "the rest, past the heads,";
  const target = targetOf(flow, { ...state, map: defaultMap(flow) });
  const label = quoted(lens.groups[target].label);
  const [read, written] = [
    isHead && flow.routes.includes("z2u") && `h${index}`,
    flow.routes.includes("u2z") && "u2z",
  ].map((map) => map && viewOf(flow, { ...state, map }));
  const r = lens.rows.indexOf(target);
  if (r < 0 || (!read && !written)) return name;
  const said = [
    ...(read ? [`${isAttention(flow) ? "looks at" : "reads"} ${partners(read, r, 5)} at ${label}`] : []),
    ...(written ? [`writes ${percent(shareOf(written, r, index))} of what moves ${read ? "it" : label}`] : []),
  ];
  const met = [read, written].every((one) => !one || one.certificates[r].met);
  const mark = isAttention(flow) ? "attention weights, not contributions" : met ? "✓ certified" : "✗ not converged";
  return `${name} ${said.join(", and ")}; ${mark}`;
}

function rowNumbers(view, { index }) {
  const r = view.rowIds.indexOf(index);
  if (r < 0) return [];
  const one = view.certificates[r];
  const at = (c) => view.values[r * view.columns + c];
  const most = order(view.columns, (c) => Math.abs(at(c)))
    .slice(0, 5)
    .map((c) => `${quoted(view.columnLabels[c])} ${form(at(c))}`);
  const cells = one.cells > 1 ? `, the worst of ${one.cells} integrals` : "";
  return [
    `values: ${most.join(", ")}`,
    `completeness error ${one.certificate.toExponential(1)}${cells}; ${one.nodes} steps; ${percent(one.origin)} at the very start of the path; ${percent(view.kept[r])} of the row's shown sources drawn`,
  ];
}
