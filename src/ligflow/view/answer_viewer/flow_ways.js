// The ways that relevance takes through a flow, from the answer down, and those of them that go through chosen nodes.

import { magnitude } from "./flow_graph.js";

const recalled = new WeakMap(); // what is asked again of a flow, and of its steps

/**
 * The ways through chosen nodes: `share` of all, and for each of `steps` how many of these take each of its links, of 1:
 * `own(unit)`, `head(h, unit)`, `edge(e)`, `mlp(unit)`; `answer[unit]` those that the answer begins with. A way goes from
 * the answer down, and at every node on to each link by its share of magnitude. Chosen is a word at a cut
 * (`{ cut, unit }`), or at all words a head (`{ cut, head }`) or an MLP (`{ cut, mlp }`).
 */
export function through(flow, chosen) {
  const parts = chosenParts(flow, chosen);
  const [all, ends, hits] = [everyWay(flow), waysDown(flow, parts), waysUp(flow, parts)];
  const start = all.words.at(-1).map((part, unit) => part * hits.words.at(-1)[unit]);
  const share = magnitude(start);
  const part = (ways) => (share > 0 ? ways / share : 0);
  const steps = flow.steps.map((step, i) => {
    const isAbove = step.cut > parts.cut || (step.cut === parts.cut && parts.head === undefined);
    const isHere = step.cut === parts.cut && !isAbove;
    const below = isAbove ? sharesBelow(step) : parts.shares(step);
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
    const mlp = (unit) => {
      const passes = isAbove || isHere; // the MLP, on the way down to what is chosen
      const ways = (passes ? all : ends).words[i + 1][unit] * below.mlp[unit];
      return part(ways * (passes ? hits.words[step.isBeside ? i : i + 1][unit] : 1));
    };
    return { own: (unit) => (unit in below.own ? own(below.own[unit], unit) : 0), head, edge, mlp };
  });
  return { share, steps, answer: Array.from(start, part) };
}

/**
 * What is chosen as parts of the ways through nodes: `{ cut, words }`, of those through each word at a cut, or
 * `{ cut, head }`; `shares(step)` is where the ways go from there. An MLP has its part of the ways through each word above it;
 * below it they go on to the word and to heads as all do, or to the word alone where the MLP stands beside the heads.
 */
function chosenParts(flow, { cut, unit, head, mlp }) {
  if (head !== undefined) return { cut, head, shares: sharesBelow };
  const ones = new Float64Array(flow.sums[0].length).fill(1);
  if (!mlp) return { cut, words: ones.map((_, each) => Number(each === unit)), shares: sharesBelow };
  const chosen = flow.steps.find((step) => step.cut === cut);
  const whole = sharesBelow(chosen);
  const alone = { own: ones, heads: whole.heads.map(() => new Float64Array(ones.length)) };
  const fromMlp = { ...whole, ...(chosen.isBeside ? alone : {}), mlp: ones };
  return { cut: cut + 1, words: whole.mlp, shares: (step) => (step === chosen ? fromMlp : sharesBelow(step)) };
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
  const own = whole.map((all, unit) => part(step.own[unit], all));
  return {
    ...{ own, mlp: Float64Array.from(whole, (_, unit) => (step.isBeside ? own[unit] : 1) * partOfMlp(step, unit)) },
    heads: step.heads.map((head) => whole.map((all, unit) => part(head[unit], all))),
    edge: (e) => part(e.value, read.get(key(e))),
  };
}

/** Of what passes an MLP or goes past it, the part of the MLP: all of its word above, or beside heads what is not theirs. */
function partOfMlp({ above, own, mlp, isBeside }, unit) {
  if (!mlp) return 0;
  const past = (isBeside ? own : above)[unit] - mlp[unit];
  const size = Math.abs(mlp[unit]) + Math.abs(past);
  return size > 0 ? Math.abs(mlp[unit]) / size : 0;
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
    if (chosen?.words && flow.first + i === chosen.cut)
      words[i] = all.words[i].map((ways, unit) => ways * chosen.words[unit]);
    if (!i) break;
    const step = flow.steps[i - 1];
    const share = chosen ? chosen.shares(step) : sharesBelow(step);
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
  const choose = (i) => {
    if (chosen.words && flow.first + i === chosen.cut) words[i] = chosen.words;
  };
  flow.steps.forEach((step, i) => {
    choose(i);
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
  choose(flow.steps.length);
  return { words, heads };
}
