// The ways that relevance takes through a flow, from the answer down, and those of them that go through chosen nodes.

import { magnitude } from "./flow_graph.js";

const recalled = new WeakMap(); // what is asked again of a flow, and of its steps

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
