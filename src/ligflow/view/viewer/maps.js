// One map of one layer over tokens, composed here if it must be, with its certificates. Rows are targets and columns
// are sources, everywhere.

import { wayOf } from "./wording.js";

/**
 * The maps that a flow can show: direct, composed, their difference, heads together, MLP, each head; of a direct map
 * that was split what passes through the MLP and through each head (`e0`, ...).
 */
export function mapsOf(flow) {
  const has = (...routes) => routes.every((route) => flow.routes.includes(route));
  const maps = [];
  if (has("z2z")) maps.push("z2z");
  if (has("z2u", "u2z")) maps.push("composed");
  if (has("z2z", "z2u", "u2z")) maps.push("difference");
  if (has("z2u")) maps.push("z2u");
  if (has("u2z")) maps.push("u2z");
  if (has("z2u")) for (let h = 0; h < flow.heads; h++) maps.push(`h${h}`);
  if (flow.has("z2z_heads")) {
    maps.push("through_mlp");
    for (let h = 0; h < flow.waysOfHeads; h++) maps.push(`e${h}`);
  }
  return maps;
}

/** The routes that a map is made of. */
export const needs = (map) =>
  wayOf(map)
    ? ["z2z"]
    : { z2z: ["z2z"], composed: ["z2u", "u2z"], difference: ["z2z", "z2u", "u2z"], u2z: ["u2z"] }[map] || ["z2u"];

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
  if (map === "through_mlp") return throughMlp(flow, row);
  const heads = flow.tensor(wayOf(map) ? "z2z_heads" : "z2u", row);
  if (map !== "z2u") return heads.subarray(Number(map.slice(1)) * size, (Number(map.slice(1)) + 1) * size);
  const sum = new Float32Array(size);
  for (let i = 0; i < heads.length; i++) sum[i % size] += heads[i];
  return sum;
}

/** What passes through the MLP, by way of all heads and, at the target itself, past attention. */
function throughMlp(flow, row) {
  const sources = flow.tokens.length;
  const sum = new Float32Array(flow.targets.length * sources);
  flow.tensor("z2z_mlp", row).forEach((value, i) => {
    sum[i % sum.length] += value;
  });
  flow.tensor("z2z_residual_mlp", row).forEach((value, place) => {
    sum[place * sources + flow.targets[place]] += value;
  });
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

/** One target's row of a map, as `rawMap` has it; `place` is its place among the targets. */
export function rawRow(flow, row, map, rule, place) {
  const sources = flow.tokens.length;
  if (map !== "composed" || flow.has(`composed.${rule}`))
    return rawMap(flow, row, map, rule).subarray(place * sources, (place + 1) * sources);
  const out = new Float32Array(sources);
  through(
    flow,
    row,
    rule,
    (_, __, source, value) => {
      out[source] += value;
    },
    { targets: [place] },
  );
  return out;
}

function composed(flow, row, rule) {
  if (flow.has(`composed.${rule}`)) return flow.tensor(`composed.${rule}`, row);
  const out = new Float32Array(flow.targets.length * flow.tokens.length);
  through(flow, row, rule, (_, target, source, value) => {
    out[target * flow.tokens.length + source] += value;
  });
  return out;
}

/** What each head's row sums to with hidden sources, kept with the flow: pointing at a token asks for it again. */
function headSums(flow, row) {
  flow.sums ||= {};
  if (flow.sums[row]) return flow.sums[row];
  const [a, sources] = [flow.tensor("z2u", row), flow.tokens.length];
  const sums = new Float64Array(a.length / sources);
  if (flow.has("z2u.hidden")) sums.set(flow.tensor("z2u.hidden", row));
  for (let i = 0; i < a.length; i++) sums[Math.floor(i / sources)] += a[i];
  flow.sums[row] = sums;
  return sums;
}

/**
 * Every share that head h hands from a source to a target; the residual and heads that did not move as head -1.
 * `pick` limits targets, sources and heads to lists of them.
 */
export function through(flow, row, rule, take, pick = {}) {
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
    for (const head of heads)
      for (const target of rows) {
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
