// Rows of an answer added up: what its tokens, or a span of them, are made of together.

import { finished } from "./prediction_data.js";

const plus = (all) => all[0].map((_, place) => all.reduce((sum, each) => sum + each[place], 0));

/** The same layer by layer; a part that a row lacks counts as 0. */
function sumsByLayer(parts) {
  const layers = [...new Set(parts.flatMap((part) => Object.keys(part)))];
  return Object.fromEntries(
    layers.map((layer) => {
      const held = parts.filter((part) => layer in part).map((part) => part[layer]);
      return [
        layer,
        Array.isArray(held[0]) ? held[0].map((_, head) => plus(held.map((each) => each[head]))) : plus(held),
      ];
    }),
  );
}

/** Edges of a layer: those of one place are added up. */
function sumOfEdges(all) {
  const places = new Map();
  const split = all.every((edges) => edges.parts);
  for (const edges of all)
    edges.value.forEach((value, i) => {
      const [head, target, source] = [edges.head[i], edges.target[i], edges.source[i]];
      const key = `${head} ${target} ${source}`;
      const sum = places.get(key) || { head, target, source, value: 0, parts: [0, 0, 0] };
      sum.value += value;
      if (split) for (let part = 0; part < 3; part++) sum.parts[part] += edges.parts[part][i];
      places.set(key, sum);
    });
  const every = [...places.values()];
  const column = (name) => every.map((edge) => edge[name]);
  return {
    ...{ head: column("head"), target: column("target"), source: column("source"), value: column("value") },
    parts: split ? [0, 1, 2].map((part) => every.map((edge) => edge.parts[part])) : null,
  };
}

/** The sum of predictions of one input and one reference, which stand for tokens of one answer. */
export function sumOfRows(rows) {
  if (rows.length === 1) return rows[0];
  const all = (field) => rows.map((row) => row[field]);
  const total = (field) => all(field).reduce((sum, value) => sum + value, 0);
  const byRow = (field) => rows[0][field].map((_, cut) => plus(rows.map((row) => row[field][cut])));
  const layers = [...new Set(all("edges").flatMap((edges) => Object.keys(edges)))];
  const edgesOfLayer = (layer) => sumOfEdges(all("edges").flatMap((edges) => (layer in edges ? [edges[layer]] : [])));
  const byLayer = ["heads", "crossHeads", "mlps", "residual", "routing"];
  return finished({
    ...rows[0],
    ...{ value: total("value"), referenceValue: total("referenceValue") },
    ...{ byDepth: byRow("byDepth"), late: byRow("late"), error: plus(all("error").map((e) => e.map(Math.abs))) },
    ...Object.fromEntries(byLayer.map((field) => [field, sumsByLayer(all(field))])),
    edges: Object.fromEntries(layers.map((layer) => [layer, edgesOfLayer(layer)])),
    isSum: true,
    page: {
      ...rows[0].page,
      met: rows.every((row) => row.page.met),
      missed: [...new Set(rows.flatMap((row) => row.page.missed))],
    },
    edgeMasses: sumsByLayer(all("edgeMasses")),
    edgeMass: [0, 1].map((side) => all("edgeMass").reduce((sum, mass) => sum + mass[side], 0)),
    certificates: all("certificates").flat(),
  });
}
