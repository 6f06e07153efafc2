// Which tokens are shown: merged to words or one by one, and which are hidden as sources. Targets are never hidden.

import { rawMap } from "./maps.js";
import { labelOf } from "./wording.js";

const TAKEN = 0.5; // of the rows that can see a token: one that takes more on average is a sink
const ROWS = 3; // rows that must see it, over all layers; and tokens that a causal map has at least

/** Tokens, or words: members, label, whether it is special, and its target rows. */
export function groupsOf(flow, words) {
  const kind = words && flow.meta.words ? "words" : "tokens";
  flow.groups ||= {};
  if (flow.groups[kind]) return flow.groups[kind];
  const owner = kind === "words" ? flow.meta.words : flow.tokens.map((_, i) => i);
  const names = kind === "words" ? flow.meta.word_labels : flow.tokens;
  const groups = names.map((name) => ({
    tokens: [],
    rows: [],
    special: false,
    label: labelOf(name),
    blank: /^ +\S/.test(name),
    text: name,
  }));
  owner.forEach((group, token) => {
    groups[group].tokens.push(token);
    groups[group].special ||= !!flow.special[token];
  });
  for (const [row, token] of flow.targets.entries()) groups[owner[token]].rows.push(row);
  flow.groups[kind] = groups;
  return groups;
}

/** The groups that are shown as sources, those that are targets, and what is hidden, by reason. */
export function lensOf(flow, state) {
  const groups = groupsOf(flow, state.words);
  const [hide, before] = state.map === "u2z" ? [false, 0] : [state.special, state.prefix || 0]; // heads are all shown
  const first = groups.map((g) => g.tokens.every((token) => token < before));
  const sinks = hide ? sinksOf(flow, state) : [];
  const special = groups.map((g) => !!hide && g.special);
  let sources = [...groups.keys()].filter((i) => !first[i] && !special[i] && !sinks.includes(i));
  const hidden = {
    special: special.filter(Boolean).length,
    sinks,
    first: first.filter((is, i) => is && !special[i] && !sinks.includes(i)).length,
  };
  const nothing = !sources.length;
  if (nothing) [sources, hidden.special, hidden.sinks, hidden.first] = [[...groups.keys()], 0, [], 0];
  const rows = [...groups.keys()].filter((i) => groups[i].rows.length);
  const plain =
    sources.length === flow.tokens.length &&
    rows.length === flow.targets.length &&
    groups.length === flow.tokens.length;
  return { groups, sources, rows, hidden, plain };
}

/** Values [target token, source token] as [target, source] of a lens: sums over sources, means over targets. */
export function regroup(values, lens, count, sources = lens.sources) {
  if (lens.plain) return values;
  const out = new Float32Array(lens.rows.length * sources.length);
  lens.rows.forEach((place, r) => {
    const { rows } = lens.groups[place];
    sources.forEach((group, c) => {
      let sum = 0;
      for (const row of rows) for (const token of lens.groups[group].tokens) sum += values[row * count + token];
      out[r * sources.length + c] = sum / rows.length;
    });
  });
  return out;
}

/** Means over the targets of a group of rows that have `count` columns of another kind. */
export function regroupRows(values, lens, count) {
  const out = new Float32Array(lens.rows.length * count);
  lens.rows.forEach((place, r) => {
    const { rows } = lens.groups[place];
    for (let c = 0; c < count; c++) {
      for (const row of rows) out[r * count + c] += values[row * count + c] / rows.length;
    }
  });
  return out;
}

// --- sinks --------------------------------------------------------------------------------------

/** The groups that take most of the rows that can see them and are not special, in the map shown. */
export function sinksOf(flow, { map, rule, words }) {
  const found = scan(flow, map === "difference" ? "composed" : map, rule, words);
  return groupsOf(flow, words).flatMap((group, i) =>
    !group.special &&
    found.seen[i] * flow.layers.length >= ROWS &&
    found.taken[i] / found.seen[i] / flow.layers.length > TAKEN
      ? [i]
      : [],
  );
}

/** No target of a map has a source after it, in any layer. */
export const isCausal = (flow, { map, rule, words }) => scan(flow, map, rule, words).causal;

/** Over all layers: the shares that each group takes of the other groups' rows, and how many rows can see it. */
function scan(flow, map, rule, words) {
  const key = `${map} ${map === "composed" ? rule : ""} ${words && flow.meta.words ? 1 : 0}`;
  flow.scans ||= {};
  if (flow.scans[key]) return flow.scans[key];
  const groups = groupsOf(flow, words);
  const [all, rows] = [[...groups.keys()], [...groups.keys()].filter((i) => groups[i].rows.length)];
  const taken = new Float64Array(all.length);
  let causal = map !== "u2z" && groups.length >= ROWS;
  const layers = map === "u2z" ? [] : flow.layers;
  layers.forEach((_, layer) => {
    const plain = groups.length === flow.tokens.length && rows.length === flow.targets.length;
    const values = regroup(rawMap(flow, layer, map, rule), { groups, rows, plain }, flow.tokens.length, all);
    rows.forEach((target, r) => {
      const row = values.subarray(r * all.length, (r + 1) * all.length);
      let size = 0;
      for (let c = 0; c < row.length; c++) size += Math.abs(row[c]);
      if (!size) return;
      for (let c = 0; c < row.length; c++) {
        if (c !== target) taken[c] += Math.abs(row[c]) / size;
        if (c > target && row[c]) causal = false;
      }
    });
  });
  const seen = all.map((source) => rows.filter((target) => target !== source && (!causal || source < target)).length);
  flow.scans[key] = { taken, seen, causal };
  return flow.scans[key];
}
