// Flow files (safetensors) as flows whose tensors are decoded when they are first looked at.

import { BYTES, READ, readTable } from "./safetensors.js";

const FORMAT = 1;
const CACHE_BYTES = 256 * 2 ** 20;

/** A flow file. Throws an Error that a person can read if it is damaged, foreign or of a newer format. */
export function openFlow(source, name = "This file") {
  const table = readTable(source, name, `${name} is not a ligflow flow file.`);
  const header = readHeader(table, name);
  const tensors = Object.fromEntries(Object.entries(table.entries).filter(([, one]) => one.dtype in READ));
  const routes = ["z2u", "u2z", "z2z"].filter((route) => `${route}.total` in tensors && route in tensors);
  const heads = ["z2u", "u2z"].filter((n) => n in tensors).map((n) => tensors[n].shape[1])[0] || 0;
  const waysOfHeads = tensors.z2z_heads?.shape[1] || 0;
  const flow = { name, ...header, routes, heads, waysOfHeads, quantised: [] };
  flow.has = (tensor) => tensor in tensors;
  flow.tensor = reader(source, tensors, table.start, flow);
  flow.shape = (tensor) => tensors[tensor].shape;
  flow.quantised = Object.keys(tensors).filter((n) => `${n}.step` in tensors);
  check(flow, tensors, source.size - table.start);
  return flow;
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
  return {
    tokens: header.tokens,
    layers: header.layers,
    targets: header.targets,
    special: header.special,
    meta: header.meta || {},
  };
}

/** Throws where a map, or a part of its certificates, is missing or has another size than its labels. */
function check(flow, tensors, room) {
  const bad = (what) => {
    throw new Error(`${flow.name} is damaged: ${what}.`);
  };
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
  const [ways, layers] = [flow.waysOfHeads, flow.layers.length];
  const sizes = { L: layers, H: flow.heads, W: ways, T: flow.targets.length, S: flow.tokens.length };
  for (const route of flow.routes) {
    const cells = route === "z2u" ? "LHT" : "LT";
    const map = { z2u: "LHTS", u2z: "LHT", z2z: "LTS" }[route];
    const needed = { [route]: map, [`${route}.nodes`]: "LT" };
    for (const part of ["total", "scale", "residue", "origin", "met"]) needed[`${route}.${part}`] = cells;
    if (route === "u2z") needed.u2z_residual = "LT";
    if (route === "z2u") needed["z2u.floor"] = "LH";
    if (route === "z2z" && ways) Object.assign(needed, { z2z_heads: "LWTS", z2z_mlp: "LWTS", z2z_residual_mlp: "LT" });
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
    const {
      dtype,
      shape,
      data_offsets: [begin, end],
    } = tensors[name];
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
