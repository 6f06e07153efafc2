// The flow of a prediction as data: what words hand on to each other from layer to layer, and which of it is drawn.

import { byUnit } from "./prediction_data.js";

const recalled = new WeakMap(); // what is asked again of a flow, and of its steps
const magnitude = (values) => values.reduce((sum, value) => sum + Math.abs(value), 0);

/**
 * The flow over words: `sums` by cut and word, and a step from each cut to the next: `{ cut, layer, own, heads, edges, mlp }`.
 * `own` is what a word carries past the heads (with its MLP), `heads[h]` what a head writes at it, `edges` what heads
 * read, `{ head, target, source, value }`. Heads of a second attention come after the others. Between two cuts
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
  return { cut, layer, own, heads, edges: edgesOfWords(data, layer), isRead: layer in data.edges, mlp };
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
 * of a chosen head (`{ cut, head }`). The result's `share` and `count` are those of what is drawn, `isAll` whether nothing is left out; each step has `edges`,
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
    const isChosen = (e) => chosen?.head === e.head && chosen.cut === step.cut;
    return drawnStep(flow, step, least, isChosen);
  });
  const drawn = steps.reduce((all, { edges, mlps }) => all + magnitude([...edges, ...mlps].map((e) => e.value)), 0);
  const count = steps.reduce((n, { edges }) => n + edges.length, 0);
  const isAll = !flow.unread && sizes.every((size) => !size || size >= least);
  return { steps, share: flow.all ? drawn / flow.all : 1, count, isAll };
}

function drawnStep(flow, step, least, isChosen) {
  const edges = step.edges.filter((e) => Math.abs(e.value) >= least || isChosen(e));
  const mlps = [...(step.mlp || [])].flatMap((value, unit) => (Math.abs(value) >= least ? [{ unit, value }] : []));
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

/**
 * The ways through chosen nodes: `share` of all, and for each of `steps` how many of these take each of its links, of 1:
 * `own(unit)`, `head(h, unit)`, `edge(e)`; `answer[unit]` those that the answer begins with. A way goes from the answer
 * down, and at every node on to each link by its share of magnitude. Chosen is a word at a cut (`{ cut, unit }`), or a
 * head at all words (`{ cut, head }`).
 */
export function through(flow, chosen) {
  const [all, ends, hits] = [everyWay(flow), waysDown(flow, chosen), waysUp(flow, chosen)];
  const start = all.words.at(-1).map((part, unit) => part * hits.words.at(-1)[unit]);
  const share = magnitude(start);
  const part = (ways) => (share > 0 ? ways / share : 0);
  const steps = flow.steps.map((step, i) => {
    const isAbove = step.cut > chosen.cut || (step.cut === chosen.cut && chosen.head === undefined);
    const isHere = step.cut === chosen.cut && !isAbove;
    const below = sharesBelow(step);
    const head = (h, unit) => {
      if (isAbove) return part(all.words[i + 1][unit] * below.heads[h][unit] * hits.heads[i][h][unit]);
      return part(ends.heads[i][h][unit]);
    };
    const edge = (e) => {
      const ways = (isAbove ? all : ends).heads[i][e.head][e.target] * below.edge(e);
      return part(ways * (isAbove ? hits.words[i][e.source] : 1));
    };
    const own = (taken, unit) => {
      if (isHere) return 0;
      const ways = (isAbove ? all : ends).words[i + 1][unit] * taken;
      return part(ways * (isAbove ? hits.words[i][unit] : 1));
    };
    return { own: (unit) => (unit in below.own ? own(below.own[unit], unit) : 0), head, edge };
  });
  return { share, steps, answer: Array.from(start, part) };
}

/** Which part of each node's magnitude goes to what is below it: the word itself, heads, and from heads to words. */
function sharesBelow(step) {
  if (!recalled.has(step)) recalled.set(step, takenBelow(step));
  return recalled.get(step);
}

function takenBelow(step) {
  const units = step.own ? step.own.length : 0;
  const whole = Array.from({ length: units }, (_, unit) =>
    step.heads.reduce((sum, head) => sum + Math.abs(head[unit]), Math.abs(step.own[unit])),
  );
  const part = (value, all) => (all > 0 ? Math.abs(value) / all : 0);
  const read = new Map();
  const key = (e) => e.head * units + e.target;
  for (const e of step.edges) read.set(key(e), (read.get(key(e)) || 0) + Math.abs(e.value));
  return {
    own: whole.map((all, unit) => part(step.own[unit], all)),
    heads: step.heads.map((head) => whole.map((all, unit) => part(head[unit], all))),
    edge: (e) => part(e.value, read.get(key(e))),
  };
}

/** How many of all ways reach each node. */
function everyWay(flow) {
  if (!recalled.has(flow)) recalled.set(flow, waysDown(flow));
  return recalled.get(flow);
}

/** How many of all ways reach each node: from the answer, or those that go through chosen nodes, from there. */
function waysDown(flow, chosen) {
  const count = flow.sums[0].length;
  const zeros = () => new Float64Array(count);
  const words = Array.from({ length: flow.steps.length + 1 }, zeros);
  const heads = flow.steps.map((step) => step.heads.map(zeros));
  const all = chosen && everyWay(flow);
  if (!chosen) {
    const top = flow.sums.at(-1);
    const size = magnitude(top);
    top.forEach((value, unit) => {
      words[flow.steps.length][unit] = size ? Math.abs(value) / size : 0;
    });
  }
  for (let i = flow.steps.length; i >= 0; i--) {
    if (chosen && chosen.head === undefined && flow.first + i === chosen.cut)
      words[i][chosen.unit] = all.words[i][chosen.unit];
    if (!i) break;
    const step = flow.steps[i - 1];
    const share = sharesBelow(step);
    share.own.forEach((part, unit) => {
      words[i - 1][unit] += words[i][unit] * part;
      step.heads.forEach((_, h) => {
        heads[i - 1][h][unit] += words[i][unit] * share.heads[h][unit];
      });
    });
    if (chosen?.head !== undefined && step.cut === chosen.cut)
      heads[i - 1][chosen.head].set(all.heads[i - 1][chosen.head]);
    for (const e of step.edges) words[i - 1][e.source] += heads[i - 1][e.head][e.target] * share.edge(e);
  }
  return { words, heads };
}

/** Of the ways from each node down, how many go through the chosen nodes. */
function waysUp(flow, chosen) {
  const zeros = () => new Float64Array(flow.sums[0].length);
  const words = Array.from({ length: flow.steps.length + 1 }, zeros);
  const heads = flow.steps.map((step) => step.heads.map(zeros));
  flow.steps.forEach((step, i) => {
    if (chosen.head === undefined && flow.first + i === chosen.cut) words[i][chosen.unit] = 1;
    const share = sharesBelow(step);
    for (const e of step.edges) heads[i][e.head][e.target] += words[i][e.source] * share.edge(e);
    if (chosen.head !== undefined && step.cut === chosen.cut) heads[i][chosen.head].fill(1);
    share.own.forEach((part, unit) => {
      words[i + 1][unit] = step.heads.reduce(
        (sum, _, h) => sum + share.heads[h][unit] * heads[i][h][unit],
        words[i][unit] * part,
      );
    });
  });
  const top = flow.steps.length;
  if (chosen.head === undefined && flow.first + top === chosen.cut) words[top][chosen.unit] = 1;
  return { words, heads };
}
