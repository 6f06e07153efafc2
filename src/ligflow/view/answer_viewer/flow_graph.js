// The flow of a prediction as data: what words hand on to each other from layer to layer, and which of it is drawn.

import { byUnit } from "./prediction_data.js";

/** What numbers come to without their signs. */
export const magnitude = (values) => values.reduce((sum, value) => sum + Math.abs(value), 0);

/**
 * The flow over words: `sums` by cut and word, and a step from each cut to the next: `{ cut, layer, own, heads, edges, mlp, above }`.
 * `own` is what a word carries past the heads (with its MLP), `heads[h]` what a head writes at it, `edges` what heads
 * read, `{ head, target, source, value }`; `mlp` what passes the MLP, `above` what there is at the words above. Heads of
 * a second attention come after the others. `isBeside`: the MLP reads what the heads read, and not what they write. Between two cuts
 * without known heads words carry on what they have, where that is the same in both; else `own` is null.
 * `all` is what heads and MLPs carry, `Σ |edge| + Σ |MLP|`, with the edges that the page does not hold.
 */
export function flowOf(data) {
  const sums = data.byDepth.map((values) => byUnit(data, values));
  const first = Math.max(0, data.cuts.indexOf(`layer ${data.layers[0]}`));
  const steps = [];
  for (let cut = first; cut + 1 < data.cuts.length; cut++) steps.push(stepOf(data, sums, cut));
  const known = steps.reduce(
    (sum, { edges, mlp }) => sum + magnitude(edges.map((e) => e.value)) + magnitude(mlp || []),
    0,
  );
  const unread = steps.filter(({ heads, isRead }) => heads.length && !isRead);
  const unknown = unread.reduce((sum, { heads }) => sum + heads.reduce((own, head) => own + magnitude(head), 0), 0);
  return { sums, first, steps, unread: unread.length, all: known + unknown + data.edgeMass[1] - data.edgeMass[0] };
}

function stepOf(data, sums, cut) {
  const layer = Number(/^layer (\d+)$/.exec(data.cuts[cut])?.[1] ?? -1);
  const written = [...(data.heads[layer] || []), ...(data.crossHeads[layer] || [])];
  const heads = written.map((values) => byUnit(data, values));
  const mlp = data.mlps[layer] ? byUnit(data, data.mlps[layer]) : null;
  const above = sums[cut + 1];
  const same = above.every((value, unit) => Math.abs(value - sums[cut][unit]) <= 1e-6 * data.scale);
  const own =
    heads.length || same ? above.map((value, unit) => heads.reduce((rest, h) => rest - h[unit], value)) : null;
  const isBeside = !!data.meta.parallel?.includes(layer);
  const edges = edgesOfWords(data, layer);
  return { ...{ cut, layer, own, heads, edges, isRead: layer in data.edges }, ...{ mlp, above, isBeside } };
}

/** What heads read, word by word. */
function edgesOfWords(data, layer) {
  const { head, target, source, value } = data.edges[layer] || { value: [] };
  const sums = new Map();
  value.forEach((size, i) => {
    const [to, from] = [data.unitOf[target[i]], data.unitOf[source[i]]];
    const key = (head[i] * data.units.length + to) * data.units.length + from;
    if (!sums.has(key)) sums.set(key, { head: head[i], target: to, source: from, value: 0 });
    sums.get(key).value += size;
  });
  return [...sums.values()];
}

/**
 * The strongest links of a flow, by which `share` of what heads and MLPs carry is drawn, or all that there are, and those
 * of a chosen head or MLP (`{ cut, head }`, `{ cut, mlp }`). The result's `share` and `count` are those of what is drawn, `isAll` whether nothing is left out; each step has `edges`,
 * `mlps` (words with a drawn one), `nodes` (heads at words, `{ head, unit, value, rest }`: what it writes there, and what of
 * that the drawn edges do not read), and by word `restIn` and `restOut`: what arrives at the word above, and leaves
 * the word below, by links that are not drawn.
 */
export function drawnFlow(flow, share, chosen) {
  const sizes = flow.steps.flatMap(({ edges, mlp }) => [...edges.map((e) => e.value), ...(mlp || [])].map(Math.abs));
  sizes.sort((a, b) => b - a);
  let [least, sum] = [Number.POSITIVE_INFINITY, 0];
  for (const size of sizes) {
    if (!size || (sum >= share * flow.all && size < least)) break;
    [least, sum] = [size, sum + size];
  }
  const steps = flow.steps.map((step) => {
    const isHere = chosen?.cut === step.cut;
    return drawnStep(flow, step, least, { head: isHere ? chosen.head : undefined, mlp: isHere && chosen.mlp });
  });
  const drawn = steps.reduce((all, { edges, mlps }) => all + magnitude([...edges, ...mlps].map((e) => e.value)), 0);
  const count = steps.reduce((n, { edges }) => n + edges.length, 0);
  const isAll = !flow.unread && sizes.every((size) => !size || size >= least);
  return { steps, share: flow.all ? drawn / flow.all : 1, count, isAll };
}

function drawnStep(flow, step, least, chosen) {
  const edges = step.edges.filter((e) => Math.abs(e.value) >= least || e.head === chosen.head);
  const mlps = [...(step.mlp || [])].flatMap((value, unit) =>
    Math.abs(value) >= least || (chosen.mlp && value) ? [{ unit, value }] : [],
  );
  const nodes = new Map();
  for (const { head, target, value } of edges) {
    const key = `${head} ${target}`;
    const written = step.heads[head][target];
    if (!nodes.has(key)) nodes.set(key, { head, unit: target, value: written, rest: written });
    nodes.get(key).rest -= value;
  }
  const own = (unit) => step.own?.[unit] || 0;
  const restIn = flow.sums[step.cut + 1].map((value, unit) => value - own(unit));
  const restOut = flow.sums[step.cut].map((value, unit) => value - own(unit));
  for (const { unit, value } of nodes.values()) restIn[unit] -= value;
  for (const { source, value } of edges) restOut[source] -= value;
  return { ...step, edges, mlps, nodes: [...nodes.values()], restIn, restOut };
}
