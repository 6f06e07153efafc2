// Flows as data: it reads flow files (safetensors) and works out every number that the viewer shows. No drawing, no
// page: nothing here knows of the document.
//
//   files    bytes or base64 -> a flow whose tensors are decoded when they are first looked at
//   lens     which tokens are shown, merged to words or one by one
//   maps     one map of one layer, composed here if it must be, with its certificates
//   filters  what is shown of a map, and how much of its mass that is
//   ladder   a map as links from sources over heads to targets
//   trace    relevance of a token at every depth, the strongest paths: the numbers of trace.py
//   state    what is chosen in the viewer, as text for an address and back
//
// Rows are targets and columns are sources, everywhere. The files of the viewer become one module in page.py.

import {

} from "./drawing.js";
import {

} from "./viewer.js";

const FORMAT = 1;
const CACHE_BYTES = 256 * 2 ** 20;
export const MOST_PATHS = 100;

// --- files --------------------------------------------------------------------------------------

export const fromBytes = (bytes) => ({ size: bytes.length, read: (begin, end) => bytes.slice(begin, end) });

/** Base64 as a file: a part of it is decoded when it is read. */
export function fromBase64(text) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const size = (text.length / 4) * 3 - padding;
  return {
    size,
    read: (begin, end) => {
      const from = Math.floor(begin / 3);
      const bytes = decode(text.slice(from * 4, Math.ceil(end / 3) * 4));
      return bytes.slice(begin - from * 3, end - from * 3);
    },
  };
}

function decode(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

const READ = {
  F32: (b) => new Float32Array(b.buffer),
  F64: (b) => Float32Array.from(new Float64Array(b.buffer)),
  I32: (b) => Float32Array.from(new Int32Array(b.buffer)),
  I64: (b) => Float32Array.from(new BigInt64Array(b.buffer), Number),
  BOOL: (b) => Float32Array.from(b),
  U8: (b) => Float32Array.from(b),
  I8: (b) => Float32Array.from(new Int8Array(b.buffer)),
};
const BYTES = { F32: 4, F64: 8, I32: 4, I64: 8, BOOL: 1, U8: 1, I8: 1 };

/** A flow file. Throws an Error that a person can read if it is damaged, foreign or of a newer format. */
export function openFlow(source, name = "This file") {
  const table = readTable(source, name);
  const header = readHeader(table, name);
  const tensors = Object.fromEntries(Object.entries(table.entries).filter(([, one]) => one.dtype in READ));
  const routes = ["z2u", "u2z", "z2z"].filter((route) => `${route}.total` in tensors && route in tensors);
  const heads = ["z2u", "u2z"].filter((n) => n in tensors).map((n) => tensors[n].shape[1])[0] || 0;
  const flow = { name, ...header, routes, heads, quantised: [] };
  flow.has = (tensor) => tensor in tensors;
  flow.tensor = reader(source, tensors, table.start, flow);
  flow.shape = (tensor) => tensors[tensor].shape;
  flow.quantised = Object.keys(tensors).filter((n) => `${n}.step` in tensors);
  check(flow, tensors, source.size - table.start);
  return flow;
}

function readTable(source, name) {
  const foreign = `${name} is not a ligflow flow file.`;
  if (source.size < 9) throw new Error(foreign);
  const length = Number(new DataView(source.read(0, 8).buffer).getBigUint64(0, true));
  if (length > 100e6) throw new Error(foreign);
  if (length > source.size - 8) throw new Error(`${name} is damaged: it ends within its header.`);
  try {
    const entries = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(source.read(8, 8 + length)));
    const metadata = entries.__metadata__ || {};
    delete entries.__metadata__;
    return { entries, metadata, start: 8 + length };
  } catch {
    throw new Error(foreign);
  }
}

function readHeader(table, name) {
  let header;
  try {
    header = JSON.parse(table.metadata.ligflow);
  } catch {
    throw new Error(`${name} is a safetensors file, but not a ligflow flow.`);
  }
  if (header.format > FORMAT) {
    throw new Error(`${name} has flow format ${header.format}, and this page reads up to ${FORMAT}; upgrade ligflow.`);
  }
  return { tokens: header.tokens, layers: header.layers, targets: header.targets, special: header.special,
    meta: header.meta || {} };
}

/** Throws where a map, or a part of its certificates, is missing or has another size than its labels. */
function check(flow, tensors, room) {
  const bad = (what) => { throw new Error(`${flow.name} is damaged: ${what}.`); };
  const lists = [flow.tokens, flow.layers, flow.targets, flow.special];
  if (!lists.every(Array.isArray) || flow.special.length !== flow.tokens.length) bad("its labels do not fit");
  if (!flow.tokens.every((t) => typeof t === "string")) bad("a token is no text");
  if (!flow.targets.every((t) => Number.isInteger(t) && t >= 0 && t < flow.tokens.length)) bad("a target is no token");
  if (!flow.routes.length) bad("it holds no map");
  for (const [name, one] of Object.entries(tensors)) {
    const size = one.shape.reduce((a, b) => a * b, 1) * BYTES[one.dtype];
    const [begin, end] = one.data_offsets;
    if (end - begin !== size || end > room) bad(`tensor ${name} is cut short`);
  }
  const sizes = { L: flow.layers.length, H: flow.heads, T: flow.targets.length, S: flow.tokens.length };
  for (const route of flow.routes) {
    const cells = route === "z2u" ? "LHT" : "LT";
    const map = { z2u: "LHTS", u2z: "LHT", z2z: "LTS" }[route];
    const needed = { [route]: map, [`${route}.nodes`]: "LT" };
    for (const part of ["total", "scale", "residue", "origin", "met"]) needed[`${route}.${part}`] = cells;
    if (route === "u2z") needed.u2z_residual = "LT";
    if (route === "z2u") needed["z2u.floor"] = "LH";
    for (const [name, axes] of Object.entries(needed)) {
      const shape = [...axes].map((axis) => sizes[axis]).join();
      if (!(name in tensors) || tensors[name].shape.join() !== shape) bad(`tensor ${name} is missing or does not fit`);
    }
  }
}

/** tensor(name, row): one layer of a tensor, decoded once and kept while there is room. */
function reader(source, tensors, start, flow) {
  const cache = new Map();
  let used = 0;
  return (name, row) => {
    const key = `${name} ${row}`;
    if (cache.has(key)) return cache.get(key);
    const { dtype, shape, data_offsets: [begin, end] } = tensors[name];
    const each = (end - begin) / shape[0];
    let values = READ[dtype](source.read(start + begin + row * each, start + begin + (row + 1) * each));
    if (dtype === "I8" && `${name}.step` in tensors) values = widened(values, flow.tensor(`${name}.step`, row));
    used += values.byteLength;
    cache.set(key, values);
    for (const [old, one] of cache) {
      if (used <= CACHE_BYTES || old === key) break;
      cache.delete(old);
      used -= one.byteLength;
    }
    return values;
  };
}

function widened(values, steps) {
  const width = values.length / steps.length;
  return values.map((value, place) => value * steps[Math.floor(place / width)]);
}

/** Control and format characters as escapes, so that a token cannot reorder or hide what is around it. */
export function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (c) => {
    const code = c.codePointAt(0).toString(16);
    return code.length < 3 ? `\\x${code.padStart(2, "0")}` : code.length < 5 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
}

// --- lens: which tokens are shown ---------------------------------------------------------------

/** Groups of tokens (words, or tokens alone) that are shown, and the target rows of each group that has some. */
export function lensOf(flow, state) {
  const words = state.words && flow.meta.words;
  const owner = words || flow.tokens.map((_, i) => i);
  const labels = words ? flow.meta.word_labels : flow.tokens;
  const members = labels.map(() => []);
  owner.forEach((word, token) => members[word].push(token));
  const shown = (tokens) => tokens.length
    && !(state.special && tokens.some((t) => flow.special[t])) && !tokens.every((t) => t < state.prefix);
  const kept = members.map((tokens, word) => ({ tokens, label: printable(labels[word]) })).filter((g) => shown(g.tokens));
  const groups = kept.map((g) => ({ ...g, rows: flow.targets.flatMap((t, r) => (g.tokens.includes(t) ? [r] : [])) }));
  const rows = groups.map((g, i) => (g.rows.length ? i : -1)).filter((i) => i >= 0);
  const plain = groups.length === flow.tokens.length && rows.length === flow.targets.length && !words;
  return { groups, rows, plain, hidden: flow.tokens.length - groups.reduce((n, g) => n + g.tokens.length, 0) };
}

/** Sums over the sources of a group, means over its targets. */
function regroup(values, lens, count) {
  if (lens.plain) return values;
  const out = new Float32Array(lens.rows.length * lens.groups.length);
  lens.rows.forEach((place, r) => {
    const { rows } = lens.groups[place];
    lens.groups.forEach((group, c) => {
      let sum = 0;
      for (const row of rows) for (const token of group.tokens) sum += values[row * count + token];
      out[r * lens.groups.length + c] = sum / rows.length;
    });
  });
  return out;
}

/** Means over the targets of a group of rows that have `count` columns of another kind. */
function regroupRows(values, lens, count) {
  const out = new Float32Array(lens.rows.length * count);
  lens.rows.forEach((place, r) => {
    const { rows } = lens.groups[place];
    for (let c = 0; c < count; c++) {
      for (const row of rows) out[r * count + c] += values[row * count + c] / rows.length;
    }
  });
  return out;
}

// --- maps ---------------------------------------------------------------------------------------

/** The maps that a flow can show: direct, composed, their difference, heads together, MLP, each head. */
export function mapsOf(flow) {
  const has = (...routes) => routes.every((route) => flow.routes.includes(route));
  const maps = [];
  if (has("z2z")) maps.push("z2z");
  if (has("z2u", "u2z")) maps.push("composed");
  if (has("z2z", "z2u", "u2z")) maps.push("difference");
  if (has("z2u")) maps.push("z2u");
  if (has("u2z")) maps.push("u2z");
  if (has("z2u")) for (let h = 0; h < flow.heads; h++) maps.push(`h${h}`);
  return maps;
}

export const mapName = (map, rule) =>
  ({ z2z: "direct (z2z)", composed: `composed (${rule})`, difference: `direct − composed (${rule})`,
    z2u: "z2u, sum of the heads", u2z: "u2z, heads and residual" })[map] || `z2u, head ${map.slice(1)}`;

const needs = (map) =>
  ({ z2z: ["z2z"], composed: ["z2u", "u2z"], difference: ["z2z", "z2u", "u2z"], u2z: ["u2z"] })[map] || ["z2u"];

/** A map of one layer over tokens, before any lens. */
export function rawMap(flow, row, map, rule) {
  const size = flow.targets.length * flow.tokens.length;
  if (map === "z2z") return flow.tensor("z2z", row);
  if (map === "composed") return composed(flow, row, rule);
  if (map === "difference") {
    const other = composed(flow, row, rule);
    return flow.tensor("z2z", row).map((value, i) => value - other[i]);
  }
  if (map === "u2z") return players(flow, row);
  const heads = flow.tensor("z2u", row);
  if (map !== "z2u") return heads.subarray(Number(map.slice(1)) * size, (Number(map.slice(1)) + 1) * size);
  const sum = new Float32Array(size);
  for (let i = 0; i < heads.length; i++) sum[i % size] += heads[i];
  return sum;
}

/** u2z with a row for each target, a column for each head, and the residual last. */
function players(flow, row) {
  const [heads, targets] = [flow.heads, flow.targets.length];
  const [m, res] = [flow.tensor("u2z", row), flow.tensor("u2z_residual", row)];
  return Float32Array.from({ length: targets * (heads + 1) }, (_, i) => {
    const [target, head] = [Math.floor(i / (heads + 1)), i % (heads + 1)];
    return head < heads ? m[head * targets + target] : res[target];
  });
}

function composed(flow, row, rule) {
  if (flow.has(`composed.${rule}`)) return flow.tensor(`composed.${rule}`, row);
  const out = new Float32Array(flow.targets.length * flow.tokens.length);
  through(flow, row, rule, (head, target, source, value) => { out[target * flow.tokens.length + source] += value; });
  return out;
}

/** What each head's row sums to, kept with the flow: pointing at a token asks for it again and again. */
function headSums(flow, row) {
  flow.sums ||= {};
  if (flow.sums[row]) return flow.sums[row];
  const [a, sources] = [flow.tensor("z2u", row), flow.tokens.length];
  const sums = new Float64Array(a.length / sources);
  for (let i = 0; i < a.length; i++) sums[Math.floor(i / sources)] += a[i];
  flow.sums[row] = sums;
  return sums;
}

/**
 * Every share that head h hands from a source to a target; the residual and heads that did not move as head -1.
 * `pick` limits targets, sources and heads to lists of them.
 */
function through(flow, row, rule, take, pick = {}) {
  const [heads, targets, sources] = [flow.heads, flow.targets.length, flow.tokens.length];
  const [a, m, sums] = [flow.tensor("z2u", row), flow.tensor("u2z", row), headSums(flow, row)];
  const [floor, res] = [flow.tensor("z2u.floor", row), flow.tensor("u2z_residual", row)];
  const chosen = (name, count) => pick[name] || [...Array(count).keys()];
  const [from, by] = [chosen("sources", sources), chosen("heads", heads)];
  for (const target of chosen("targets", targets)) {
    let own = rule === "conserving" ? res[target] : 0;
    for (const head of by) {
      const cell = head * targets + target;
      const sum = rule === "conserving" ? sums[cell] : 1;
      if (rule === "conserving" && Math.abs(sum) <= floor[head]) own += m[cell];
      else for (const s of from) take(head, target, s, (a[cell * sources + s] / sum) * m[cell]);
    }
    if (own) take(-1, target, flow.targets[target], own);
  }
}

/** The worst certificate of a map's row, over the routes and heads that it is made of. */
export function certificate(flow, row, map, rows) {
  const found = { certificate: 0, met: true, nodes: 0, origin: 0, total: 0, cells: 0 };
  for (const route of needs(map)) {
    const part = (name) => flow.tensor(`${route}.${name}`, row);
    const [residue, scale, origin, met, total] = ["residue", "scale", "origin", "met", "total"].map(part);
    const heads = route !== "z2u" ? [0] : map[0] === "h" ? [Number(map.slice(1))] : [...Array(flow.heads).keys()];
    for (const head of heads) for (const target of rows) {
      const i = head * flow.targets.length + target;
      const size = Math.abs(residue[i] / scale[i]);
      if (size > found.certificate) found.certificate = size;
      found.origin = Math.max(found.origin, origin[i] / scale[i]);
      found.met &&= met[i] > 0;
      found.cells += 1;
      if (route === needs(map)[0]) found.total += total[i] / rows.length;
    }
    for (const target of rows) found.nodes = Math.max(found.nodes, part("nodes")[target]);
  }
  return found;
}

// --- filters ------------------------------------------------------------------------------------

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
  if (state.filter === "threshold") return every.filter((c) => Math.abs(row[c]) >= (state.amount / 100) * size && row[c] !== 0);
  if (state.filter === "all") return every;
  const order = every.sort((a, b) => Math.abs(row[b]) - Math.abs(row[a]) || a - b);
  if (state.filter === "top") return order.slice(0, state.amount);
  let [sum, count] = [0, 0];
  while (count < order.length && sum < (state.amount / 100) * size * (1 - 1e-6)) sum += Math.abs(row[order[count++]]);
  return order.slice(0, count);
}

/** All that is drawn of one map: values, what is shown of them, labels, certificates. */
export function viewOf(flow, state) {
  const row = flow.layers.indexOf(state.layer);
  const lens = lensOf(flow, state);
  const isPlayers = state.map === "u2z";
  const raw = rawMap(flow, row, state.map, state.rule);
  const columns = isPlayers ? flow.heads + 1 : lens.groups.length;
  const values = isPlayers ? regroupRows(raw, lens, columns) : regroup(raw, lens, flow.tokens.length);
  const own = (r) => (isPlayers ? -1 : lens.rows[r]);
  const columnLabels = isPlayers
    ? [...Array(flow.heads).keys()].map((h) => `h${h}`).concat("res") : lens.groups.map((g) => g.label);
  const found = filtered(values, columns, state, own);
  const certificates = lens.rows.map((place) => certificate(flow, row, state.map, lens.groups[place].rows));
  return { flow, state, row, lens, values, columns, rows: lens.rows.length, columnLabels, isPlayers, own, certificates,
    rowLabels: lens.rows.map((place) => lens.groups[place].label), ...found, sizes: magnitudes(values, columns) };
}

const magnitudes = (values, columns) =>
  Float32Array.from({ length: values.length / columns }, (_, r) =>
    values.subarray(r * columns, (r + 1) * columns).reduce((sum, v) => sum + Math.abs(v), 0));

/** What a cell's colour stands for: its value, or its share of the row; without its sign if it says so. */
export function inked(view, r, c) {
  const value = view.shown[r * view.columns + c];
  if (view.state.colour === "share") return view.sizes[r] > 0 ? value / view.sizes[r] : 0;
  return view.state.colour === "absolute" ? Math.abs(value) : value;
}

export function largest(view) {
  let most = 0;
  for (let r = 0; r < view.rows; r++) for (let c = 0; c < view.columns; c++) {
    const size = Math.abs(inked(view, r, c));
    if (size > most) most = size;
  }
  return most;
}

/** One scale for a direct map, the composed one and their difference; a scale of its own for every other map. */
export function scaleOf(views) {
  let most = Math.max(...views.map(largest));
  for (const { flow, state } of views) {
    const shared = ["z2z", "composed", "difference"];
    if (!shared.includes(state.map)) continue;
    for (const map of shared.filter((one) => one !== state.map && mapsOf(flow).includes(one))) {
      most = Math.max(most, largest(viewOf(flow, { ...state, map })));
    }
  }
  return most || 1;
}

// --- ladder: a map as links ----------------------------------------------------------------------

/** The nodes of a ladder, column by column, and the links between neighbours: `[column, from, to, weight]`. */
export function ladderOf(view, only) {
  const sources = { title: "z (sources)", labels: view.lens.groups.map((g) => g.label) };
  const targets = { title: "z′ (targets)", labels: sources.labels };
  const heads = { title: "u (heads)", labels: [...Array(view.flow.heads).keys()].map((h) => `h${h}`).concat("res") };
  if (view.state.map === "composed" && !view.flow.has(`composed.${view.state.rule}`)) {
    return { columns: [sources, heads, targets], links: composedLinks(view, only) };
  }
  const first = view.isPlayers ? heads : sources;
  const last = view.state.map[0] === "h" || view.state.map === "z2u" ? { ...targets, title: "u (targets)" } : targets;
  const links = [];
  for (let r = 0; r < view.rows; r++) for (let c = 0; c < view.columns; c++) {
    const weight = view.shown[r * view.columns + c];
    const to = view.lens.rows[r];
    if (weight && passes(only, view.isPlayers ? { head: c, target: to } : { source: c, target: to })) links.push([0, c, to, weight]);
  }
  return { columns: [first, last], links };
}

const passes = (only, place) => !only || place[only.side] === only.index;

/** z -> u -> z' of a composed map: each shown cell, head by head, under the selection. */
function composedLinks(view, only) {
  const { flow, lens, columns, state } = view;
  const [place, rowOf] = [new Int32Array(flow.tokens.length).fill(-1), new Int32Array(flow.targets.length).fill(-1)];
  lens.groups.forEach((group, i) => group.tokens.forEach((token) => { place[token] = i; }));
  lens.rows.forEach((group, r) => lens.groups[group].rows.forEach((row) => { rowOf[row] = r; }));
  const [first, last] = [new Map(), new Map()];
  const width = lens.groups.length;
  through(flow, view.row, state.rule, (head, target, source, value) => {
    const [r, c] = [rowOf[target], place[source]];
    if (r < 0 || c < 0) return;
    const shown = view.shown[r * columns + c];
    if (Number.isNaN(shown)) return;
    const to = lens.rows[r];
    const middle = head < 0 ? flow.heads : head;
    if (!passes(only, { source: c, head: middle, target: to })) return;
    const whole = view.values[r * columns + c];
    const weight = ((state.renorm && whole ? shown / whole : 1) * value) / lens.groups[to].rows.length;
    const [one, two] = [c * (flow.heads + 1) + middle, middle * width + to];
    first.set(one, (first.get(one) || 0) + weight);
    last.set(two, (last.get(two) || 0) + weight);
  }, picked(lens, only));
  const links = [...first].map(([key, w]) => [0, Math.floor(key / (flow.heads + 1)), key % (flow.heads + 1), w]);
  return links.concat([...last].map(([key, w]) => [1, Math.floor(key / width), key % width, w]));
}

/** What a selection needs of the heads. The residual is asked of all heads, since those that are still join it. */
function picked(lens, only) {
  if (only?.side === "target") return { targets: lens.groups[only.index].rows };
  return only?.side === "source" ? { sources: lens.groups[only.index].tokens } : {};
}

// --- trace: relevance across layers, as in trace.py ---------------------------------------------

/** The layers from `layer` down to the lowest of the flow. */
const down = (flow, layer) => flow.layers.filter((one) => one <= layer).sort((a, b) => b - a);

/** The tokens or words of a trace: all of them, since relevance would be lost with those that a view hides. */
const traced = (flow, state) => lensOf(flow, { words: state.words, special: 0, prefix: 0 });

const startOf = (lens, token) => lens.groups.findIndex((group) => group.tokens.includes(token));

/** Why a token cannot be followed through the chosen map, or "". `top` is a flow whose first step is taken. */
export function refusal(flow, state, token, top = null) {
  if (!["composed", "z2z"].includes(state.map)) return `The map ${mapName(state.map, state.rule)} cannot be chained; choose the map direct or composed.`;
  if (state.map === "composed" && state.rule !== "conserving") return "The product rule conserves nothing, so its maps cannot be chained; choose the rule conserving.";
  const layers = down(flow, state.layer);
  const [last, first] = [layers[0], layers[layers.length - 1]];
  if (layers.length !== last - first + 1) {
    return `A trace needs layers that follow each other, and this flow holds ${flow.layers.join(", ")}; explain all of ${first} to ${last}.`;
  }
  for (const [depth, layer] of layers.entries()) {
    const reason = unchained(depth || !top ? flow : top, flow, layer, depth, state, token);
    if (reason) return reason;
  }
  return "";
}

function unchained(own, flow, layer, depth, state, token) {
  if (!own.layers.includes(layer)) return `Layer ${layer} is not in the flow of the first step, which holds ${own.layers.join(", ")}.`;
  if (own.tokens.join("\0") !== flow.tokens.join("\0")) return "The flow of the first step has other tokens.";
  if (!mapsOf(own).includes(state.map)) return `The flow of the first step has no map ${mapName(state.map, state.rule)}.`;
  if (own.meta.hidden_tokens?.length) {
    return `This flow was saved without ${own.meta.hidden_tokens.length} hidden tokens, and a trace would lose what they hold; open the flow of all tokens.`;
  }
  const lens = traced(own, state);
  const wanted = depth ? lens.groups.map((_, i) => i) : [startOf(lens, token)];
  if (!wanted.every((i) => lens.rows.includes(i))) {
    return `A trace needs every token as a target of layer ${layer}, and this flow has ${lens.rows.length} of ${lens.groups.length}; explain all targets.`;
  }
  const names = state.map === "z2z" ? ["layer_baseline"] : ["att_baseline", "mlp_baseline"];
  const given = names.map((name) => String(own.meta.settings?.[name]));
  const fits = state.map === "z2z" ? given[0] !== "itb" : given[1] === "matched" && !given[0].startsWith("itb");
  return fits ? "" : `Maps of ${names.map((name, i) => `${name} ‘${printable(given[i])}’`).join(", ")} cannot be chained: they leave out what a token keeps of itself `
    + "from layer to layer (the residual does not move). Explain with --att-baseline mean --mlp-baseline matched, or choose the map direct of a flow "
    + "with --layer-baseline mean, zero or itb_zero_ratio.";
}

/**
 * A token's relevance at every depth, 0 after the chosen layer, the last one the input: `relevance[depth][token]`.
 * `shares[step][target][source]` chain them, and `certificates[step]` is what the integrals of a layer leave open.
 */
export function traceOf(flow, state, token, top = null) {
  const lens = traced(flow, state);
  const start = startOf(lens, token);
  const layers = down(flow, state.layer);
  const relevance = [Float64Array.from(lens.groups, (_, i) => (i === start ? 1 : 0))];
  const [shares, certificates] = [[], []];
  let unmet = 0;
  layers.forEach((layer, depth) => {
    const step = stepOf(depth || !top ? flow : top, layer, state);
    const next = new Float64Array(lens.groups.length);
    let open = 0;
    relevance[depth].forEach((held, target) => {
      if (!held) return;
      step.shares[target].forEach((share, source) => { next[source] += held * share; });
      open += Math.abs(held) * step.open[target];
    });
    relevance.push(next);
    shares.push(step.shares);
    certificates.push(open);
    unmet += step.unmet;
  });
  const drift = Math.max(...relevance.map((row) => Math.abs(row.reduce((sum, held) => sum + held, 0) - 1)));
  return { layers, start, relevance, shares, certificates, unmet, drift, labels: lens.groups.map((g) => g.label) };
}

/** One layer: what each token hands to its sources, how much of that is open, and how many cells miss the tolerance. */
function stepOf(flow, layer, state) {
  const [row, lens] = [flow.layers.indexOf(layer), traced(flow, state)];
  const values = regroup(rawMap(flow, row, state.map, "conserving"), lens, flow.tokens.length);
  const count = lens.groups.length;
  const shares = lens.groups.map((_, i) => Float64Array.from(lens.groups, (_, j) => (i === j ? 1 : 0)));
  const open = new Float64Array(count);
  let unmet = 0;
  lens.rows.forEach((place, r) => {
    const own = values.subarray(r * count, (r + 1) * count);
    const [sum, size] = own.reduce(([a, b], value) => [a + value, b + Math.abs(value)], [0, 0]);
    const found = openOf(flow, row, state.map, lens.groups[place].rows);
    unmet += found.unmet;
    if (Math.abs(sum) <= 1e-6 * size) return;
    shares[place] = Float64Array.from(own, (value) => value / sum);
    open[place] = found.open;
  });
  return { shares, open, unmet };
}

/** The worst |residue| of a row relative to its total; of a head, to the scale of its certificate. */
function openOf(flow, row, map, rows) {
  let [open, unmet] = [0, 0];
  for (const route of needs(map)) {
    const [residue, scale, total, met] = ["residue", "scale", "total", "met"].map((part) => flow.tensor(`${route}.${part}`, row));
    for (let first = 0; first < residue.length; first += flow.targets.length) {
      const sum = (values) => rows.reduce((all, target) => all + values[first + target], 0);
      const whole = route === "z2u" ? sum(scale) : Math.max(Math.abs(sum(total)), 1e-12 * sum(scale));
      open = Math.max(open, Math.abs(sum(residue)) / whole);
      unmet += rows.every((target) => met[first + target] > 0) ? 0 : 1;
    }
  }
  return { open, unmet };
}

/** The paths with the largest |product| of shares. Exact: every node keeps its best of either sign. */
export function strongestPaths(shares, start, count) {
  if (!count) return [];
  let level = [...shares[0].keys()].map((node) => [node === start ? [{ weight: 1, node, above: null }] : [], []]);
  for (const step of shares) {
    level = level.map((_, node) => {
      const best = [[], []];
      level.forEach((signs, above) => signs.forEach((paths, sign) => {
        const kept = best[step[above][node] > 0 ? sign : 1 - sign];
        for (const path of paths) if (!keep(kept, step[above][node] * path.weight, node, path, count)) break;
      }));
      return best;
    });
  }
  return level.flat(2).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, count)
    .map((path) => ({ weight: path.weight, nodes: nodesOf(path) }));
}

/** Puts a path among the strongest of a node; false if it is too weak. */
function keep(kept, weight, node, above, count) {
  const size = Math.abs(weight);
  if (!size || (kept.length === count && size <= Math.abs(kept[count - 1].weight))) return false;
  const at = kept.findIndex((one) => size > Math.abs(one.weight));
  kept.splice(at < 0 ? kept.length : at, 0, { weight, node, above });
  if (kept.length > count) kept.pop();
  return true;
}

const nodesOf = (path) => (path ? [...nodesOf(path.above), path.node] : []);

/** The edges that carry at least `cut` of the relevance, in magnitude, the strongest first: `[step, target, source, relevance]`. */
export function edgesOf(found, cut) {
  const edges = [];
  found.shares.forEach((step, depth) => found.relevance[depth].forEach((held, target) => {
    if (held) step[target].forEach((share, source) => { if (share && Math.abs(held * share) >= cut) edges.push([depth, target, source, held * share]); });
  }));
  return edges.sort((a, b) => Math.abs(b[3]) - Math.abs(a[3]));
}

/** All that is shown of a trace. */
export function follow(flow, state, token, top) {
  const found = traceOf(flow, state, token, top);
  const cut = state.cut / 100;
  const most = Math.max(...found.relevance.slice(1).map((row) => row.reduce((size, held) => Math.max(size, Math.abs(held)), 0)));
  return { ...found, most, cut, asked: state.paths, edges: edgesOf(found, cut), paths: strongestPaths(found.shares, found.start, state.paths) };
}

// --- state --------------------------------------------------------------------------------------

export const DEFAULTS = { flow: 0, beside: -1, layer: null, map: null, rule: "conserving", colour: "value", filter: "all", amount: 0,
  renorm: 0, words: 0, special: 0, prefix: 0, diagonal: 0, pin: "", trace: 0, paths: 5, cut: 5, top: -1, zoom: 0, theme: "" };
const FRACTIONS = ["amount", "cut"]; // per cent; every other number is whole
export const AMOUNTS = { all: 0, threshold: 5, top: 3, mass: 90 };
export const CHOICES = { rule: ["conserving", "product"], colour: ["value", "absolute", "share"], filter: Object.keys(AMOUNTS),
  theme: ["", "light", "dark"] };

export function encode(state, start) {
  const parts = Object.entries(state).filter(([key, value]) => value !== start[key] && value !== null && key in DEFAULTS);
  return new URLSearchParams(parts.map(([key, value]) => [key, String(value)])).toString();
}

/** The state of a link. What it cannot mean here is left at its default. */
export function decodeState(text, start, flows) {
  const state = { ...start };
  for (const [key, value] of new URLSearchParams(text)) {
    if (!(key in DEFAULTS)) continue;
    const isText = typeof DEFAULTS[key] === "string" || key === "map";
    if (isText ? !(key in CHOICES) || CHOICES[key].includes(value) : Number.isFinite(Number(value)) && value !== "") {
      state[key] = isText ? value : FRACTIONS.includes(key) ? Number(value) : Math.trunc(Number(value));
    }
  }
  return settled(state, flows);
}

/** A state that fits the flows: what is out of range goes to the nearest or the first that there is. */
export function settled(state, flows) {
  const next = { ...state };
  next.flow = flows[state.flow] ? state.flow : 0;
  next.beside = flows[state.beside] ? state.beside : -1;
  const flow = flows[next.flow];
  if (!flow.layers.includes(state.layer)) next.layer = flow.layers[0];
  const maps = mapsOf(flow);
  if (!maps.includes(state.map)) next.map = maps[0];
  next.words = state.words && flow.meta.words ? 1 : 0;
  next.amount = Math.max(0, state.filter === "top" ? state.amount : Math.min(100, state.amount));
  next.top = flows[state.top] && state.top !== next.flow ? state.top : -1;
  next.paths = Math.max(0, Math.min(MOST_PATHS, state.paths));
  next.cut = Math.max(0, Math.min(99, state.cut));
  next.prefix = Math.max(0, Math.min(flow.tokens.length - 1, state.prefix));
  next.zoom = Math.max(-8, Math.min(12, state.zoom));
  if (!lensOf(flow, next).rows.length) [next.special, next.prefix] = [0, 0];
  if (next.pin && !pinned(flow, next)) next.pin = "";
  return next;
}

/** The group, or the head, that is pinned: `t3` is token 3 as a target, `s3` as a source, `h3` is head 3. */
export function pinned(flow, state) {
  const match = /^([tsh])(\d+)$/.exec(state.pin);
  if (!match) return null;
  const [side, token] = [{ t: "target", s: "source", h: "head" }[match[1]], Number(match[2])];
  if (side === "head") return token <= flow.heads ? { side, index: token } : null;
  const lens = lensOf(flow, state);
  const index = lens.groups.findIndex((group) => group.tokens.includes(token));
  return index >= 0 && (side === "source" || lens.rows.includes(index)) ? { side, index } : null;
}

export function pinOf(flow, state, only) {
  if (!only) return "";
  return only.side === "head" ? `h${only.index}` : `${only.side[0]}${lensOf(flow, state).groups[only.index].tokens[0]}`;
}

// --- in words, and as a table --------------------------------------------------------------------

export const settingsOf = (flow) => {
  const s = flow.meta.settings || {};
  const short = ["att", "mlp", "layer"].map((n) => s[`${n}_baseline`] && `${n} ${s[`${n}_baseline`]}`).filter(Boolean);
  const towards = flow.meta.towards ? `towards ‘${flow.meta.towards}’, ` : "";
  return printable(`${flow.meta.model || flow.name}: ${towards}${short.join(", ")}${s.tol ? `, tol ${s.tol}` : ""}`);
};

export const form = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());
export const percent = (value) => `${(100 * value).toFixed(Math.abs(value) < 0.1 ? 1 : 0)}%`;

/** Every cell of the view: its value, and what is shown of it (empty where the filter leaves it out). */
export function exportCsv(views) {
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  const lines = ["flow,map,layer,target,target_label,source,source_label,value,shown,certificate,met"];
  for (const view of views) for (let r = 0; r < view.rows; r++) for (let c = 0; c < view.columns; c++) {
    const [value, shown] = [view.values[r * view.columns + c], view.shown[r * view.columns + c]];
    const one = view.certificates[r];
    const map = view.state.map === "composed" || view.state.map === "difference" ? `${view.state.map} ${view.state.rule}` : view.state.map;
    lines.push([quoted(settingsOf(view.flow)), quoted(map), view.state.layer, view.lens.groups[view.lens.rows[r]].tokens[0], quoted(view.rowLabels[r]),
      view.isPlayers ? c : view.lens.groups[c].tokens[0], quoted(view.columnLabels[c]), value, Number.isNaN(shown) ? "" : shown, one.certificate, one.met ? 1 : 0].join());
  }
  return `${lines.join("\n")}\n`;
}
