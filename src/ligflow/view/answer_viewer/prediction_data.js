// A prediction's file as data: numbers by token, layer and head, edges of heads, and what is said of them in words.

import { READ, readTable } from "../viewer/safetensors.js";
import { printable } from "../viewer/wording.js";

const NODES = { heads: "heads", crossHeads: "cross_heads", mlps: "mlps", residual: "residual", routing: "routing" };

/**
 * A prediction: `tokens`, their `labels` and `pieces` of the running text, `kept`, `units` (its words, or its tokens:
 * `{ label, tokens, kept }`) and `unitOf` each token; `value`, `referenceValue`, `change`, `scale`; `relevance` and
 * `error` by token, `cuts` from the input up with `byDepth` and `late`; by layer `heads` and `crossHeads` (an array for
 * each head), `mlps`, `residual`, `routing`; `edges` by layer: `{ head, target, source, value, parts }`, arrays of one
 * length, of which `parts` (value, key, query) may be null; `edgeMass` `[kept, all]`
 * of their magnitudes, `edgeMasses` by layer those of each head, all and by part; `page`, what is said in words.
 */
export function openPrediction(source, name = "This file") {
  const foreign = `${name} is no prediction of ligflow.`;
  const table = readTable(source, name, foreign);
  let header;
  try {
    header = JSON.parse(table.metadata.ligflow_prediction);
  } catch {
    throw new Error(foreign);
  }
  const { page, tokens } = header;
  if (!page) throw new Error(`${name} is a saved prediction; ligflow view ${name} --html why.html makes its page.`);
  const read = (key) => numbersOf(source, table, key, name);
  const units = page.units.map(([label, places]) => ({
    label,
    tokens: places,
    kept: places.every((place) => header.kept[place]),
  }));
  const unitOf = new Int32Array(tokens.length);
  units.forEach((unit, i) => {
    for (const place of unit.tokens) unitOf[place] = i;
  });
  const byDepth = rowsOf(read("by_depth"), tokens.length);
  const data = {
    ...{ name, tokens, units, unitOf, byDepth, page, labels: page.labels, pieces: page.pieces, kept: header.kept },
    ...{ value: header.value, referenceValue: header.reference_value, cuts: header.cuts, meta: header.meta },
    ...{ top: header.top, referenceTop: header.reference_top, certificates: header.certificates },
    late: rowsOf(read("late"), tokens.length),
    error: read("error"),
    edges: {},
    edgeMass: page.edge_mass,
    edgeMasses: page.edge_masses,
  };
  for (const [field, stored] of Object.entries(NODES)) data[field] = byLayer(table, stored, read, tokens.length);
  for (const layer of layersOf(table, "edges")) data.edges[layer] = edgesOf(read, table, layer, tokens.length);
  return finished(data);
}

/** What follows from the numbers: change, relevance, scale, layers. */
export function finished(data) {
  const relevance = data.byDepth[0];
  const change = data.value - data.referenceValue;
  const size = relevance.reduce((sum, each) => sum + Math.abs(each), 0);
  const named = [data.heads, data.crossHeads, data.mlps].flatMap((part) => Object.keys(part).map(Number));
  const layers = [...new Set(named)].sort((a, b) => a - b);
  return { ...data, relevance, change, scale: Math.max(Math.abs(change), size) || 1, layers };
}

function numbersOf(source, table, key, name) {
  const entry = table.entries[key];
  if (!entry) throw new Error(`${name} is damaged: it holds no ${key}.`);
  const [begin, end] = entry.data_offsets;
  if (table.start + end > source.size) throw new Error(`${name} is damaged: ${key} is cut short.`);
  return READ[entry.dtype](source.read(table.start + begin, table.start + end));
}

const rowsOf = (flat, width) =>
  Array.from({ length: flat.length / width }, (_, row) => flat.subarray(row * width, (row + 1) * width));

const layersOf = (table, field) =>
  Object.keys(table.entries)
    .filter((key) => key.startsWith(`${field}.`) && /^\d+$/.test(key.slice(field.length + 1)))
    .map((key) => Number(key.slice(field.length + 1)));

function byLayer(table, field, read, width) {
  const isOfHeads = field.endsWith("heads");
  const parts = layersOf(table, field).map((layer) => {
    const flat = read(`${field}.${layer}`);
    return [layer, isOfHeads ? rowsOf(flat, width) : flat];
  });
  return Object.fromEntries(parts);
}

function edgesOf(read, table, layer, width) {
  const at = read(`edges.${layer}.at`);
  return {
    head: at.map((place) => Math.floor(place / (width * width))),
    target: at.map((place) => Math.floor(place / width) % width),
    source: at.map((place) => place % width),
    value: read(`edges.${layer}`),
    parts: `parts.${layer}` in table.entries ? rowsOf(read(`parts.${layer}`), at.length) : null,
  };
}

/** Relevance by unit of relevance by token. */
export function byUnit(data, values) {
  const sums = new Float64Array(data.units.length);
  for (let place = 0; place < values.length; place++) sums[data.unitOf[place]] += values[place];
  return sums;
}

/** What is said of text in a file, safe to show. */
export const spoken = (text) => printable(String(text));
