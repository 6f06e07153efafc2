// Relevance followed across layers down to the input, as in results/tracing.py: relevance of every token at every depth, the
// strongest paths and edges, and which of a page's flows can be followed.

import { lensOf, regroup } from "./lens.js";
import { mapsOf, needs, rawMap } from "./maps.js";
import { baselinesOf, mapName } from "./wording.js";

/** The layers from `layer` down to the lowest of the flow. */
const down = (flow, layer) => flow.layers.filter((one) => one <= layer).sort((a, b) => b - a);

/** The tokens or words of a trace: all of them, since relevance would be lost with those that a view hides. */
const traced = (flow, state) => lensOf(flow, { words: state.words, special: 0, map: state.map });

const startOf = (lens, token) => lens.groups.findIndex((group) => group.tokens.includes(token));

/**
 * The flow and map in which a token is followed: those shown if they can be chained, else the first of the page that
 * can, of the same tokens. Or `{ reason }`. `state.top` is a flow whose first step is taken.
 */
export function chainOf(flows, state, token) {
  const [own, top] = [flows[state.flow], flows[state.top] || null];
  const reason = refusal(own, state, token, top);
  if (!reason || top) return reason ? { reason } : { flow: own, state, top };
  const alike = flows.filter(
    (one) => one.tokens.join("\0") === own.tokens.join("\0") && one.layers.includes(state.layer),
  );
  for (const flow of [own, ...alike])
    for (const map of ["composed", "z2z"].filter((one) => mapsOf(flow).includes(one))) {
      const other = { ...state, map, rule: "conserving" };
      if (!refusal(flow, other, token)) return { flow, state: other, top: null };
    }
  return { reason };
}

/** Why a token cannot be followed through the chosen map, or "". `top` is a flow whose first step is taken. */
export function refusal(flow, state, token, top = null) {
  if (!["composed", "z2z"].includes(state.map))
    return `The map ‘${mapName(state.map, state.rule)}’ leads to heads or from them and cannot be followed; choose a map of the layer.`;
  if (state.map === "composed" && state.rule !== "conserving")
    return "Maps of the product rule lose some of what they hand on, so they cannot be followed; choose the rule conserving.";
  const layers = down(flow, state.layer);
  const [last, first] = [layers[0], layers[layers.length - 1]];
  if (layers.length !== last - first + 1) {
    return `A trace needs layers that follow each other, and this flow holds ${flow.layers.join(", ")}; explain all of ${first} to ${last}.`;
  }
  for (const [depth, layer] of layers.entries()) {
    const found = unchained(depth || !top ? flow : top, flow, layer, depth, state, token);
    if (found) return found;
  }
  return "";
}

function unchained(own, flow, layer, depth, state, token) {
  if (!own.layers.includes(layer))
    return `Layer ${layer} is not in the flow of the first step, which holds ${own.layers.join(", ")}.`;
  if (own.tokens.join("\0") !== flow.tokens.join("\0")) return "The flow of the first step has other tokens.";
  if (isCarried(own) !== isCarried(flow) || (isCarried(flow) && own.layers[0] !== flow.layers[0]))
    return "The first step starts elsewhere than the start that the layers below carry to it.";
  if (!mapsOf(own).includes(state.map))
    return `The flow of the first step has no map ‘${mapName(state.map, state.rule)}’.`;
  if (own.meta.hidden_tokens?.length) {
    return `This flow was saved without ${own.meta.hidden_tokens.length} hidden tokens, and a trace would lose what they hold; open the flow of all tokens.`;
  }
  if ((state.map === "z2z" ? ["z2z"] : ["z2u", "u2z"]).some((route) => own.has(`${route}.hidden`))) {
    return "Padding takes part in these maps, and a trace would lose what it holds; explain inputs without padding.";
  }
  const lens = traced(own, state);
  const wanted = depth ? lens.groups.map((_, i) => i) : [startOf(lens, token)];
  if (!wanted.every((i) => lens.rows.includes(i))) {
    return `A trace needs every token as a target of layer ${layer}, and this flow has ${lens.rows.length} of ${lens.groups.length}; explain all targets.`;
  }
  const names = state.map === "z2z" ? ["layer_baseline"] : ["att_baseline", "mlp_baseline"];
  const given = names.map((name) => String(own.meta.settings?.[name]));
  const fits = state.map === "z2z" ? given[0] !== "itb" : given[1] === "matched" && !given[0].startsWith("itb");
  return fits
    ? ""
    : `These maps leave out what a token keeps from layer to layer, and cannot be followed (${baselinesOf(own, names).join(", ")}). ` +
        "Make the page with --trace, or explain with --att-baseline mean --mlp-baseline matching, for maps that can.";
}

/**
 * A token's relevance at every depth, 0 after the chosen layer, the last one the input: `relevance[depth][token]`.
 * `shares[step][target][source]` chain them. `certificates[step]` is by how much the sums of a layer's rows are off,
 * `errors[depth]` the estimated L1 error of the relevance, handed down as relevance is, without signs.
 */
export function traceOf(flow, state, token, top = null) {
  const lens = traced(flow, state);
  const start = startOf(lens, token);
  const layers = down(flow, state.layer);
  const relevance = [Float64Array.from(lens.groups, (_, i) => (i === start ? 1 : 0))];
  const [shares, certificates, errors] = [[], [], [0]];
  let [unmet, still, amount, off] = [0, 0, null, new Float64Array(lens.groups.length)];
  layers.forEach((layer, depth) => {
    const step = stepOf(depth || !top ? flow : top, layer, state);
    if (!depth && isCarried(flow)) amount = step.totals[start];
    const [next, nextOff] = [new Float64Array(lens.groups.length), new Float64Array(lens.groups.length)];
    let open = 0;
    relevance[depth].forEach((held, target) => {
      const size = sizeOf(step.shares[target]);
      const own = off[target] + Math.abs(held) * (step.error[target] / (size || 1));
      if (!held && !own) return;
      if (!size) nextOff[target] += own; // of a row without shares
      step.shares[target].forEach((share, source) => {
        next[source] += held * share;
        nextOff[source] += own * Math.abs(share);
      });
      if (!held) return;
      open += Math.abs(held) * step.open[target];
      still += step.still[target];
    });
    relevance.push(next);
    off = nextOff;
    errors.push(sizeOf(off));
    shares.push(step.shares);
    certificates.push(open);
    unmet += step.unmet;
  });
  const drift = Math.max(...relevance.map((row) => Math.abs(row.reduce((sum, held) => sum + held, 0) - 1)));
  return {
    layers,
    start,
    relevance,
    shares,
    certificates,
    errors,
    unmet,
    still,
    drift,
    amount,
    labels: lens.groups.map((g) => g.label),
  };
}

const sizeOf = (values) => values.reduce((size, value) => size + Math.abs(value), 0);

/**
 * One layer: what each token hands to its sources, the L1 error of those shares, by how much their sum is off, which
 * did not move, and how many cells miss the tolerance.
 */
function stepOf(flow, layer, state) {
  const [row, lens] = [flow.layers.indexOf(layer), traced(flow, state)];
  const values = regroup(rawMap(flow, row, state.map, "conserving"), lens, flow.tokens.length);
  const count = lens.groups.length;
  const shares = lens.groups.map((_, i) => Float64Array.from(lens.groups, (_, j) => (i === j ? 1 : 0)));
  const [open, error, totals, still] = [
    ...Array.from({ length: 3 }, () => new Float64Array(count)),
    new Uint8Array(count),
  ];
  let unmet = 0;
  lens.rows.forEach((place, r) => {
    const own = values.subarray(r * count, (r + 1) * count);
    const [sum, size] = own.reduce(([a, b], value) => [a + value, b + Math.abs(value)], [0, 0]);
    const found = openOf(flow, row, state.map, lens.groups[place].rows);
    unmet += found.unmet;
    const whole = isCarried(flow) ? totalOf(flow, row, state.map, lens.groups[place].rows) : sum;
    totals[place] = whole;
    still[place] = Math.abs(whole) <= 1e-6 * size ? 1 : 0;
    if (still[place]) return;
    shares[place] = Float64Array.from(own, (value) => value / whole);
    open[place] = found.open;
    const [off, residue] = (state.map === "z2z" ? errorOf : composedError)(flow, row, lens, lens.groups[place].rows);
    const divided = isCarried(flow) ? 0 : residue * sizeOf(shares[place]); // by a sum that is off itself
    error[place] = (off + divided) / Math.abs(whole);
  });
  return { shares, error, open, totals, unmet, still };
}

/** Whether each layer starts at what the one before made of its start, so that rows share out what moved above. */
export const isCarried = (flow) => Boolean(flow.meta.settings?.carried);

/** By how much a layer moved a target, a mean over the targets of a word. */
function totalOf(flow, row, map, rows) {
  const totals = flow.tensor(`${needs(map).at(-1)}.total`, row);
  return rows.reduce((sum, target) => sum + totals[target], 0) / rows.length;
}

/** The L1 error of a cell, at least what its sum misses; and that. Means over the targets of a word. */
function errorOf(flow, row, _, rows, route = "z2z", first = 0) {
  const mean = (part) => {
    const values = flow.tensor(`${route}.${part}`, row);
    return Math.abs(rows.reduce((sum, target) => sum + values[first + target], 0)) / rows.length;
  };
  const residue = mean("residue");
  return [Math.max(mean("error"), residue), residue];
}

/** The L1 error of a composed row: those of the heads' shares, weighted by what they write, and those of that. */
function composedError(flow, row, lens, rows) {
  const [targets, sources] = [flow.targets.length, flow.tokens.length];
  const [a, m, floor] = ["z2u", "u2z", "z2u.floor"].map((name) => flow.tensor(name, row));
  const [written, residue] = errorOf(flow, row, lens, rows, "u2z");
  let [off, largest] = [0, 1];
  for (let head = 0; head < flow.heads; head++) {
    const first = head * targets;
    const read = lens.groups.map(({ tokens }) =>
      rows.reduce((sum, r) => tokens.reduce((s, token) => s + a[(first + r) * sources + token], sum), 0),
    );
    const whole = Math.abs(read.reduce((sum, value) => sum + value, 0)) / rows.length;
    if (whole <= floor[head]) continue;
    const size = sizeOf(read) / rows.length / whole;
    const [error, missed] = errorOf(flow, row, lens, rows, "z2u", first);
    const writes = rows.reduce((sum, r) => sum + m[first + r], 0) / rows.length;
    off += (Math.abs(writes) * (error + missed * size)) / whole;
    largest = Math.max(largest, size);
  }
  return [off + written * largest, residue];
}

/** The worst |residue| of a row relative to its total; of a head, to the scale of its certificate. */
function openOf(flow, row, map, rows) {
  let [open, unmet] = [0, 0];
  for (const route of needs(map)) {
    const [residue, scale, total, met] = ["residue", "scale", "total", "met"].map((part) =>
      flow.tensor(`${route}.${part}`, row),
    );
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
      for (const [above, signs] of level.entries())
        for (const [sign, paths] of signs.entries()) {
          const kept = best[step[above][node] > 0 ? sign : 1 - sign];
          for (const path of paths) if (!keep(kept, step[above][node] * path.weight, node, path, count)) break;
        }
      return best;
    });
  }
  return level
    .flat(2)
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))
    .slice(0, count)
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
  for (const [depth, step] of found.shares.entries())
    for (const [target, held] of found.relevance[depth].entries()) {
      if (held)
        step[target].forEach((share, source) => {
          if (share && Math.abs(held * share) >= cut) edges.push([depth, target, source, held * share]);
        });
    }
  return edges.sort((a, b) => Math.abs(b[3]) - Math.abs(a[3]));
}

/** All that is shown of a trace. */
export function follow({ flow, state, top }, token) {
  const found = traceOf(flow, state, token, top);
  const cut = state.cut / 100;
  const most = Math.max(
    ...found.relevance.slice(1).map((row) => row.reduce((size, held) => Math.max(size, Math.abs(held)), 0)),
  );
  return {
    ...found,
    most,
    cut,
    asked: state.paths,
    edges: edgesOf(found, cut),
    paths: strongestPaths(found.shares, found.start, state.paths),
  };
}

/** A path with its repeated steps in one: `[label, times]`. */
export function runsOf(labels) {
  return labels.reduce((runs, label) => {
    const last = runs[runs.length - 1];
    if (last && last[0] === label) last[1] += 1;
    else runs.push([label, 1]);
    return runs;
  }, []);
}
