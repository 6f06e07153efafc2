// All that is drawn of a map: what a filter keeps of it and how much of its mass that is, its links as a ladder, and
// the difference of two flows.

import { aligned } from "./alignment.js";
import { lensOf, regroup, regroupRows } from "./lens.js";
import { certificate, mapsOf, rawMap, through } from "./maps.js";

/** What is shown of each row (NaN: not shown), and the share of its magnitude that is. */
export function filtered(values, columns, state, own) {
  const rows = values.length / columns;
  const shown = new Float32Array(values.length).fill(NaN);
  const kept = new Float32Array(rows);
  let [all, seen] = [0, 0];
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * columns, (r + 1) * columns);
    const size = row.reduce((sum, v) => sum + Math.abs(v), 0);
    const chosen = choose(row, size, state).filter((c) => !(state.diagonal && c === own(r)));
    const mass = chosen.reduce((sum, c) => sum + Math.abs(row[c]), 0);
    const scale = state.renorm && mass > 0 ? size / mass : 1;
    for (const c of chosen) shown[r * columns + c] = row[c] * scale;
    kept[r] = size > 0 ? mass / size : 1;
    [all, seen] = [all + size, seen + mass];
  }
  return { shown, kept, share: all > 0 ? seen / all : 1 };
}

/** The columns of a row that a filter keeps. */
function choose(row, size, state) {
  const every = [...row.keys()];
  if (state.filter === "threshold")
    return every.filter((c) => Math.abs(row[c]) >= (state.amount / 100) * size && row[c] !== 0);
  if (state.filter === "all") return every;
  const order = every.sort((a, b) => Math.abs(row[b]) - Math.abs(row[a]) || a - b);
  if (state.filter === "top") return order.slice(0, state.amount);
  let [sum, count] = [0, 0];
  while (count < order.length && sum < (state.amount / 100) * size * (1 - 1e-6)) sum += Math.abs(row[order[count++]]);
  return order.slice(0, count);
}

/** One map: values, what is shown of them, labels, certificates, and what part of each row is hidden. */
export function viewOf(flow, state) {
  const row = flow.layers.indexOf(state.layer);
  const lens = lensOf(flow, state);
  const isPlayers = state.map === "u2z";
  const raw = rawMap(flow, row, state.map, state.rule);
  const columns = isPlayers ? flow.heads + 1 : lens.sources.length;
  const values = isPlayers ? regroupRows(raw, lens, columns) : regroup(raw, lens, flow.tokens.length);
  const own = (r) => (isPlayers ? -1 : lens.sources.indexOf(lens.rows[r]));
  const columnLabels = isPlayers
    ? [...Array(flow.heads).keys()].map((h) => `h${h}`).concat("rest")
    : lens.sources.map((i) => lens.groups[i].label);
  const certificates = lens.rows.map((place) => certificate(flow, row, state.map, lens.groups[place].rows));
  return {
    flow,
    state,
    row,
    lens,
    values,
    columns,
    rows: lens.rows.length,
    columnLabels,
    isPlayers,
    own,
    certificates,
    columnIds: isPlayers ? [...Array(columns).keys()] : lens.sources,
    rowIds: lens.rows,
    blanks: isPlayers ? [] : lens.sources.map((i) => lens.groups[i].blank),
    rowBlanks: lens.rows.map((i) => lens.groups[i].blank),
    rowLabels: lens.rows.map((place) => lens.groups[place].label),
    ...filtered(values, columns, state, own),
    sizes: magnitudes(values, columns),
    hidden: isPlayers ? null : hiddenOf(raw, lens, flow.tokens.length),
  };
}

const magnitudes = (values, columns) =>
  Float32Array.from({ length: values.length / columns }, (_, r) =>
    values.subarray(r * columns, (r + 1) * columns).reduce((sum, v) => sum + Math.abs(v), 0),
  );

/** What part of each row's magnitudes the hidden sources hold; null where none are hidden. */
function hiddenOf(raw, lens, count) {
  if (lens.sources.length === lens.groups.length) return null;
  const every = [...lens.groups.keys()];
  const whole = magnitudes(regroup(raw, { ...lens, plain: false }, count, every), every.length);
  const seen = magnitudes(regroup(raw, lens, count), lens.sources.length);
  return whole.map((size, r) => (size > 0 ? Math.max(0, 1 - seen[r] / size) : 0));
}

/** What a cell's colour stands for: its value, or its share of the row; without its sign if it says so. */
export function inked(view, r, c) {
  const value = view.shown[r * view.columns + c];
  if (view.state.colour === "share") return view.sizes[r] > 0 ? value / view.sizes[r] : 0;
  return view.state.colour === "absolute" ? Math.abs(value) : value;
}

export function largest(view) {
  let most = 0;
  for (let r = 0; r < view.rows; r++)
    for (let c = 0; c < view.columns; c++) {
      const size = Math.abs(inked(view, r, c));
      if (size > most) most = size;
    }
  return most;
}

/** One scale for a direct map, the composed one and their difference; a scale of its own for every other map. */
export function scaleOf(views) {
  let most = Math.max(...views.map(largest));
  for (const { flow, state, other } of views) {
    const shared = ["z2z", "composed", "difference"];
    if (other || !shared.includes(state.map)) continue;
    for (const map of shared.filter((one) => one !== state.map && mapsOf(flow).includes(one))) {
      most = Math.max(most, largest(viewOf(flow, { ...state, map })));
    }
  }
  return most || 1;
}

// --- two flows -----------------------------------------------------------------------------------

/** The pairs of groups of two views, kept with the second of them. */
export function pairsOf(first, second) {
  second.pairs ||= aligned(
    first.lens.groups.map((g) => g.label),
    second.lens.groups.map((g) => g.label),
  );
  return second.pairs;
}

/** Columns of heads that both have, by their numbers, and of what is past the heads: the last column of each. */
function playersOfBoth(first, second) {
  const heads = Math.min(first.columns, second.columns) - 1;
  return [...Array(heads).keys()].map((head) => [head, head]).concat([[first.columns - 1, second.columns - 1]]);
}

/** A cell as a part of its row, whatever is coloured. */
export const inShare = (view, r, c) => (view.sizes[r] > 0 ? view.values[r * view.columns + c] / view.sizes[r] : 0);

/** What part of each row two views share out alike: 1 less half of what their shares differ by, over the columns of either. */
function agreedOf(first, second, rows, columns) {
  return rows.map(([r, s]) => {
    if (!first.sizes[r] && !second.sizes[s]) return 1;
    let [gap, one, two] = [0, 0, 0];
    for (const [c, d] of columns) {
      const [a, b] = [inShare(first, r, c), inShare(second, s, d)];
      [gap, one, two] = [gap + Math.abs(a - b), one + Math.abs(a), two + Math.abs(b)];
    }
    return Math.max(0, 1 - (gap + (1 - one) + (1 - two)) / 2);
  });
}

/** First minus second, over the tokens that both have; of shares, in points. */
export function differenceOf(first, second) {
  const pairs = pairsOf(first, second);
  const both = (a, b) =>
    pairs.flatMap(([i, j]) => (a.includes(i) && b.includes(j) ? [[a.indexOf(i), b.indexOf(j)]] : []));
  const rows = both(first.rowIds, second.rowIds);
  const columns = first.isPlayers ? playersOfBoth(first, second) : both(first.columnIds, second.columnIds);
  const minus = (size) =>
    Float32Array.from({ length: rows.length * columns.length }, (_, i) => {
      const [[r, s], [c, d]] = [rows[Math.floor(i / columns.length)], columns[i % columns.length]];
      return size(first, r, c) - size(second, s, d);
    });
  const values = minus(inked);
  const name = (a, b) => (a === b ? a : `${a} / ${b}`);
  const worse = (a, b) => ({
    ...a,
    certificate: Math.max(a.certificate, b.certificate),
    met: a.met && b.met,
    nodes: Math.max(a.nodes, b.nodes),
    origin: Math.max(a.origin, b.origin),
  });
  const certificates = rows.map(([r, s]) => worse(first.certificates[r], second.certificates[s]));
  return {
    ...first,
    other: second,
    values,
    shareGaps: minus(inShare),
    agreed: agreedOf(first, second, rows, columns),
    shown: values,
    rows: rows.length,
    columns: columns.length,
    certificates,
    rowIds: rows.map(([r]) => first.rowIds[r]),
    columnIds: columns.map(([c]) => first.columnIds[c]),
    own: () => -1,
    hidden: null,
    share: 1,
    blanks: [],
    rowBlanks: [],
    kept: rows.map(() => 1),
    sizes: rows.map(() => 1),
    rowLabels: rows.map(([r, s]) => name(first.rowLabels[r], second.rowLabels[s])),
    columnLabels: columns.map(([c, d]) => name(first.columnLabels[c], second.columnLabels[d])),
  };
}

// --- ladder: a map as links ----------------------------------------------------------------------

/**
 * The nodes of a ladder, column by column, and the links between neighbours: `[column, from, to, weight]`. `ids` of a
 * column are the groups, or heads, that its nodes stand for; `only` leaves the links of one of them.
 */
export function ladderOf(view, only) {
  const { lens, flow, state } = view;
  const column = (title, side, ids) => ({
    title,
    side,
    ids,
    labels: ids.map((i) => lens.groups[i].label),
    blanks: ids.map((i) => lens.groups[i].blank),
  });
  const heads = {
    title: "heads",
    side: "head",
    ids: [...Array(flow.heads + 1).keys()],
    blanks: [],
    labels: [...Array(flow.heads).keys()].map((h) => `h${h}`).concat("rest"),
  };
  const sources = view.isPlayers ? heads : column("sources", "source", lens.sources);
  const targets = column("targets", "target", lens.rows);
  if (state.map === "composed" && !flow.has(`composed.${state.rule}`)) {
    return { columns: [sources, heads, targets], links: composedLinks(view, only) };
  }
  const links = [];
  for (let r = 0; r < view.rows; r++)
    for (let c = 0; c < view.columns; c++) {
      const weight = view.shown[r * view.columns + c];
      if (weight && passes(only, { [sources.side]: view.columnIds[c], target: view.rowIds[r] }))
        links.push([0, c, r, weight]);
    }
  return { columns: [sources, targets], links };
}

const passes = (only, place) => !only || place[only.side] === only.index;

/** z -> u -> z' of a composed map: each shown cell, head by head, under the selection. */
function composedLinks(view, only) {
  const { flow, lens, columns, state } = view;
  const [place, rowOf] = [new Int32Array(flow.tokens.length).fill(-1), new Int32Array(flow.targets.length).fill(-1)];
  for (const [i, group] of lens.sources.entries()) for (const token of lens.groups[group].tokens) place[token] = i;
  for (const [r, group] of lens.rows.entries()) for (const row of lens.groups[group].rows) rowOf[row] = r;
  const [first, last] = [new Map(), new Map()];
  const width = lens.rows.length;
  through(
    flow,
    view.row,
    state.rule,
    (head, target, source, value) => {
      const [r, c] = [rowOf[target], place[source]];
      if (r < 0 || c < 0) return;
      const shown = view.shown[r * columns + c];
      if (Number.isNaN(shown)) return;
      const middle = head < 0 ? flow.heads : head;
      if (!passes(only, { source: lens.sources[c], head: middle, target: lens.rows[r] })) return;
      const whole = view.values[r * columns + c];
      const weight = ((state.renorm && whole ? shown / whole : 1) * value) / lens.groups[lens.rows[r]].rows.length;
      const [one, two] = [c * (flow.heads + 1) + middle, middle * width + r];
      first.set(one, (first.get(one) || 0) + weight);
      last.set(two, (last.get(two) || 0) + weight);
    },
    picked(lens, only),
  );
  const links = [...first].map(([key, w]) => [0, Math.floor(key / (flow.heads + 1)), key % (flow.heads + 1), w]);
  return links.concat([...last].map(([key, w]) => [1, Math.floor(key / width), key % width, w]));
}

/** What a selection needs of the heads. The residual is asked of all heads, since those that are still join it. */
function picked(lens, only) {
  if (only?.side === "target") return { targets: lens.groups[only.index].rows };
  return only?.side === "source" ? { sources: lens.groups[only.index].tokens } : {};
}
