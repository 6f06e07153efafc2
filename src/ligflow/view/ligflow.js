// The viewer of ligflow: one module, no dependencies. It reads flow files (safetensors) and draws them on canvas;
// the same drawing code writes SVG. An exported page, the notebook widget and the server all call `mount`.
//
//   files    bytes or base64 -> a flow whose tensors are decoded when they are first looked at
//   lens     which tokens are shown, merged to words or one by one
//   maps     one map of one layer, composed here if it must be, with its certificates
//   filters  what is shown of a map, and how much of its mass that is
//   trace    relevance of a token at every depth, the strongest paths: the numbers of trace.py
//   scenes   heat map, ladder and trace as calls of a pen: a canvas or an SVG
//   mount    controls, pointer, keyboard, state in the URL fragment, export
//
// Rows are targets and columns are sources, everywhere.

const FORMAT = 1;
const CACHE_BYTES = 256 * 2 ** 20;
const LINKS = 600; // links that a ladder draws; the caption counts the others
const CROWDED = 16384; // cells from which an SVG holds the heat map as pixels
const MOST_PATHS = 100;

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
function inked(view, r, c) {
  const value = view.shown[r * view.columns + c];
  if (view.state.colour === "share") return view.sizes[r] > 0 ? value / view.sizes[r] : 0;
  return view.state.colour === "absolute" ? Math.abs(value) : value;
}

function largest(view) {
  let most = 0;
  for (let r = 0; r < view.rows; r++) for (let c = 0; c < view.columns; c++) {
    const size = Math.abs(inked(view, r, c));
    if (size > most) most = size;
  }
  return most;
}

/** One scale for a direct map, the composed one and their difference; a scale of its own for every other map. */
function scaleOf(views) {
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

// --- colours ------------------------------------------------------------------------------------

const INKS = {
  light: { paper: [255, 255, 255], positive: [33, 102, 172], negative: [217, 95, 14], text: "#16181d", faint: "#8a8f99",
    line: "#d5d8de", mark: "#111111" },
  dark: { paper: [22, 25, 31], positive: [110, 176, 255], negative: [255, 150, 60], text: "#e8eaee", faint: "#8a919e",
    line: "#363c47", mark: "#ffffff" },
};

/** Paper at 0, blue for what adds, orange for what takes away; safe for colour-blind readers. */
export function shade(value, most, inks) {
  if (Number.isNaN(value)) return inks.paper;
  const strength = Math.min(1, Math.abs(value) / most);
  const ink = value >= 0 ? inks.positive : inks.negative;
  return inks.paper.map((p, i) => Math.round(p + (ink[i] - p) * strength));
}

const css = ([r, g, b]) => `rgb(${r},${g},${b})`;

// --- pens: the same calls on a canvas and in an SVG ---------------------------------------------

const FONT = "system-ui, sans-serif";

export function canvasPen(context) {
  return {
    rect: (x, y, w, h, fill) => { context.fillStyle = fill; context.fillRect(x, y, w, h); },
    frame: (x, y, w, h, stroke, width = 1) => {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.strokeRect(x, y, w, h);
    },
    curve: (x1, y1, x2, y2, stroke, width, alpha) => {
      context.globalAlpha = alpha;
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x1, y1);
      context.bezierCurveTo((x1 + x2) / 2, y1, (x1 + x2) / 2, y2, x2, y2);
      context.stroke();
      context.globalAlpha = 1;
    },
    text: (x, y, text, { fill, size = 12, align = "left", turn = 0, bold = false }) => {
      context.save();
      context.translate(x, y);
      context.rotate(turn);
      Object.assign(context, { fillStyle: fill, textAlign: align, textBaseline: "middle", direction: "ltr" });
      context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
      context.fillText(text, 0, 0);
      context.restore();
    },
    hatch: (x, y, w, h, stroke) => {
      context.save();
      context.beginPath();
      context.rect(x, y, w, h);
      context.clip();
      context.strokeStyle = stroke;
      context.lineWidth = 1;
      for (let at = x - h; at < x + w; at += 5) {
        context.beginPath();
        context.moveTo(at, y + h);
        context.lineTo(at + h, y);
        context.stroke();
      }
      context.restore();
    },
    cells: (x, y, cell, view, colour) => context.drawImage(pixels(view, colour), x, y, cell * view.columns, cell * view.rows),
  };
}

/** A canvas with a pixel for each cell. */
function pixels(view, colour) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [view.columns, view.rows];
  const context = canvas.getContext("2d");
  const image = context.createImageData(view.columns, view.rows);
  for (let i = 0; i < view.rows * view.columns; i++) {
    image.data.set(colour(Math.floor(i / view.columns), i % view.columns), i * 4);
    image.data[i * 4 + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const round = (x) => Number(x.toFixed(2));

export function svgPen() {
  const parts = [];
  const put = (text) => parts.push(text);
  let hatched = 0;
  return {
    parts,
    rect: (x, y, w, h, fill) => put(`<rect x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" fill="${fill}"/>`),
    frame: (x, y, w, h, stroke, width = 1) =>
      put(`<rect x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" fill="none" stroke="${stroke}" stroke-width="${width}"/>`),
    curve: (x1, y1, x2, y2, stroke, width, alpha) => {
      const half = round((x1 + x2) / 2);
      put(`<path d="M${round(x1)} ${round(y1)}C${half} ${round(y1)} ${half} ${round(y2)} ${round(x2)} ${round(y2)}" fill="none" stroke="${stroke}" stroke-width="${round(width)}" opacity="${round(alpha)}"/>`);
    },
    text: (x, y, text, { fill, size = 12, align = "left", turn = 0, bold = false }) => {
      const anchor = { left: "start", center: "middle", right: "end" }[align];
      const rotated = turn ? ` transform="rotate(${round((turn * 180) / Math.PI)} ${round(x)} ${round(y)})"` : "";
      put(`<text x="${round(x)}" y="${round(y)}" font-size="${round(size)}" fill="${fill}" text-anchor="${anchor}" dominant-baseline="central"${bold ? ' font-weight="600"' : ""}${rotated}>${escaped(text)}</text>`);
    },
    hatch: (x, y, w, h, stroke) => {
      const id = `hatch${hatched++}`;
      put(`<pattern id="${id}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V5" stroke="${stroke}"/></pattern>`);
      put(`<rect x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" fill="url(#${id})"/>`);
    },
    cells: (x, y, cell, view, colour) => {
      if (view.rows * view.columns > CROWDED) {
        const size = `width="${round(cell * view.columns)}" height="${round(cell * view.rows)}"`;
        put(`<image x="${round(x)}" y="${round(y)}" ${size} preserveAspectRatio="none" style="image-rendering:pixelated" href="${pixels(view, colour).toDataURL()}"/>`);
        return;
      }
      for (let r = 0; r < view.rows; r++) for (let c = 0; c < view.columns; c++) {
        const value = view.shown[r * view.columns + c];
        if (Number.isNaN(value)) continue;
        put(`<rect class="cell" data-target="${r}" data-source="${c}" data-value="${value}" x="${round(x + c * cell)}" y="${round(y + r * cell)}" width="${round(cell)}" height="${round(cell)}" fill="${css(colour(r, c))}"/>`);
      }
    },
  };
}

const svgOf = (pen, width, height, paper) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(width)}" height="${Math.ceil(height)}" viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" font-family="${FONT}"><rect width="100%" height="100%" fill="${paper}"/>${pen.parts.join("")}</svg>\n`;

// --- scenes -------------------------------------------------------------------------------------

const cut = (label, room) => (label.length > room ? `${label.slice(0, room - 1)}…` : label);
const LABEL = 14; // characters of a label beside a map; the tooltip has all of them

/** Where things stand in a heat map that has `width` to itself. */
function heatLayout(view, width, zoom) {
  const wide = Math.min(LABEL, Math.max(3, ...view.rowLabels.map((l) => l.length)));
  const high = Math.min(LABEL, Math.max(3, ...view.columnLabels.map((l) => l.length)));
  const [left, top, right] = [30 + wide * 7, 30 + high * 6.2, 26];
  const fit = Math.min(26, Math.max(2, (width - left - right) / Math.max(view.columns, 1)));
  const cell = Math.max(1.5, fit * 1.25 ** zoom);
  return { left, top, cell, width: left + cell * view.columns + right, height: top + cell * view.rows + 8,
    step: Math.max(1, Math.ceil(9 / cell)) };
}

function drawHeat(pen, view, at, most, inks) {
  const { left, top, cell, step } = at;
  const size = Math.max(8, Math.min(12, cell * 0.85));
  pen.text(left + (cell * view.columns) / 2, 10, view.isPlayers ? "head (column)" : "source (column)", { fill: inks.faint, size: 11, align: "center" });
  pen.text(10, top + (cell * view.rows) / 2, "target (row)", { fill: inks.faint, size: 11, align: "center", turn: -Math.PI / 2 });
  view.columnLabels.forEach((label, c) => {
    if (c % step === 0) pen.text(left + (c + 0.5) * cell, top - 6, cut(label, LABEL), { fill: inks.text, size, turn: -Math.PI / 2 });
  });
  view.rowLabels.forEach((label, r) => {
    if (r % step === 0) pen.text(left - 6, top + (r + 0.5) * cell, cut(label, LABEL), { fill: inks.text, size, align: "right" });
  });
  pen.cells(left, top, cell, view, (r, c) => shade(inked(view, r, c), most, inks));
  view.certificates.forEach((one, r) => {
    if (!one.met) pen.hatch(left, top + r * cell, cell * view.columns, cell, inks.mark);
    if (r % step === 0) {
      pen.text(left + cell * view.columns + 12, top + (r + 0.5) * cell, one.met ? "✓" : "✗",
        { fill: one.met ? inks.faint : inks.text, size, align: "center", bold: !one.met });
    }
  });
  pen.frame(left, top, cell * view.columns, cell * view.rows, inks.line);
}

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

function ladderLayout(ladder, width, height) {
  const longest = Math.max(6, ...[0, ladder.columns.length - 1].flatMap((i) => ladder.columns[i].labels.map((l) => l.length)));
  const [margin, top] = [Math.min(118, 20 + 7 * Math.min(longest, LABEL)), 34];
  const inner = ladder.columns.length === 3 ? [margin, width / 2, width - margin] : [margin, width - margin];
  const most = Math.max(...ladder.columns.map((one) => one.labels.length), 1);
  const gap = Math.max(2, Math.min(22, (height - top - 30) / most));
  const places = ladder.columns.map((one, i) => ({
    x: inner[i], gap: i === 1 && inner.length === 3 ? Math.min(26, (gap * most) / one.labels.length) : gap,
  }));
  places.forEach((one, i) => { one.top = top + (gap * most - one.gap * ladder.columns[i].labels.length) / 2; });
  return { places, width, height: top + gap * most + 24, y: (column, index) => places[column].top + (index + 0.5) * places[column].gap };
}

function drawLadder(pen, ladder, at, inks, only) {
  const ordered = [...ladder.links].sort((a, b) => Math.abs(b[3]) - Math.abs(a[3]));
  const drawn = ordered.slice(0, LINKS);
  const most = Math.abs(drawn[0]?.[3] || 1);
  for (const [column, from, to, weight] of drawn.reverse()) {
    const strength = Math.abs(weight) / most;
    const x1 = at.places[column].x + (column === 1 ? 14 : 4);
    const x2 = at.places[column + 1].x - (ladder.columns.length === 3 && column === 0 ? 14 : 4);
    pen.curve(x1, at.y(column, from), x2, at.y(column + 1, to), css(weight > 0 ? inks.positive : inks.negative),
      0.3 + 7 * strength, 0.04 + 0.86 * strength);
  }
  ladder.columns.forEach((one, column) => drawNodes(pen, one, column, ladder, at, inks, only));
  const more = ordered.length - drawn.length;
  const caption = more ? `the ${LINKS} strongest of ${ordered.length} links` : `${ordered.length} links`;
  pen.text(at.width / 2, at.height - 10, caption, { fill: inks.faint, size: 11, align: "center" });
}

function drawNodes(pen, one, column, ladder, at, inks, only) {
  const { x, gap } = at.places[column];
  const last = column === ladder.columns.length - 1;
  const align = column === 0 ? "right" : last ? "left" : "center";
  const step = Math.max(1, Math.ceil(9 / gap));
  pen.text(x, 12, one.title, { fill: inks.faint, size: 11, align: "center" });
  one.labels.forEach((label, i) => {
    const side = column === 0 ? (one.title[0] === "u" ? "head" : "source") : last ? "target" : "head";
    const chosen = only && only.side === side && only.index === i;
    if (i % step && !chosen) return;
    const size = Math.max(8, Math.min(12, gap * 0.85));
    const offset = { right: -8, left: 8, center: 0 }[align];
    if (align === "center") pen.rect(x - 12, at.y(column, i) - 7, 24, 14, css(inks.paper));
    pen.text(x + offset, at.y(column, i), cut(label, LABEL), { fill: inks.text, size, align, bold: chosen });
  });
}

function drawLegend(pen, x, y, view, most, inks) {
  const signed = view.state.colour !== "absolute";
  const steps = 60;
  for (let i = 0; i < steps; i++) {
    const value = signed ? (i / (steps - 1)) * 2 - 1 : i / (steps - 1);
    pen.rect(x + i * 2, y, 2.2, 10, css(shade(value, 1, inks)));
  }
  const form = (v) => (view.state.colour === "share" ? `${(100 * v).toPrecision(3)}%` : Number(v.toPrecision(3)).toString());
  pen.text(x, y + 19, signed ? `−${form(most)}` : "0", { fill: inks.text, size: 11 });
  pen.text(x + steps * 2, y + 19, form(most), { fill: inks.text, size: 11, align: "right" });
}

export function legendText(view) {
  const what = { value: "signed value", absolute: "magnitude; the sign is not shown", share: "share of the row's sum of magnitudes, signed" };
  const coarse = view.flow.quantised.length ? `; ${view.flow.quantised.join(", ")} stored as 8-bit numbers (within 0.4% of a row's largest)` : "";
  return `${what[view.state.colour]}${coarse}`;
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
function follow(flow, state, token, top) {
  const found = traceOf(flow, state, token, top);
  const cut = state.cut / 100;
  const most = Math.max(...found.relevance.slice(1).map((row) => row.reduce((size, held) => Math.max(size, Math.abs(held)), 0)));
  return { ...found, most, cut, asked: state.paths, edges: edgesOf(found, cut), paths: strongestPaths(found.shares, found.start, state.paths) };
}

const depthName = (found, depth) => (depth < found.layers.length ? `after layer ${found.layers[depth]}` : "input");

/** Columns are depths, the input on the left as in the ladder; rows are tokens. */
function traceLayout(found, width) {
  const longest = Math.max(6, ...found.labels.map((label) => label.length));
  const [left, top, box] = [24 + 7 * Math.min(longest, LABEL), 26, 30];
  const pitch = Math.max(50, Math.min(150, (width - left - box - 20) / found.layers.length));
  const gap = Math.max(3, Math.min(20, 640 / found.labels.length));
  const x = (depth) => left + (found.layers.length - depth) * pitch;
  return { left, top, box, gap, pitch, x, y: (token) => top + (token + 0.5) * gap,
    width: left + found.layers.length * pitch + box + 20, height: top + gap * found.labels.length + 24 };
}

function drawTrace(pen, found, at, inks) {
  const { box, gap, top } = at;
  const edges = found.edges.slice(0, LINKS);
  const link = (depth, target, source, ...look) =>
    pen.curve(at.x(depth + 1) + box, at.y(source), at.x(depth), at.y(target), ...look);
  for (const [depth, target, source, held] of [...edges].reverse()) {
    const strength = Math.min(1, Math.abs(held));
    link(depth, target, source, css(held > 0 ? inks.positive : inks.negative), 0.6 + 10 * strength, 0.2 + 0.5 * strength);
  }
  for (const { nodes } of found.paths) {
    nodes.slice(1).forEach((source, depth) => link(depth, nodes[depth], source, inks.mark, 1, 0.55));
  }
  found.relevance.forEach((row, depth) => {
    const name = at.pitch < 84 && depth < found.layers.length ? `layer ${found.layers[depth]}` : depthName(found, depth);
    pen.text(at.x(depth) + box / 2, 10, name, { fill: inks.faint, size: 11, align: "center" });
    pen.rect(at.x(depth), top, box, gap * row.length, css(inks.paper));
    row.forEach((held, token) => drawHeld(pen, held, at.x(depth), at.y(token), at, found.most, inks));
    pen.frame(at.x(depth), top, box, gap * row.length, inks.line);
  });
  const step = Math.max(1, Math.ceil(9 / gap));
  const size = Math.max(8, Math.min(12, gap * 0.85));
  found.labels.forEach((label, token) => {
    const chosen = token === found.start;
    if (chosen || (token % step === 0 && Math.abs(token - found.start) >= step)) pen.text(at.left - 8, at.y(token), cut(label, LABEL), { fill: inks.text, size, align: "right", bold: chosen });
  });
  pen.text(at.left, at.height - 10, traceCaption(found, edges.length), { fill: inks.faint, size: 11 });
}

/** Relevance in per cent on its colour. */
function drawHeld(pen, held, x, y, { box, gap }, most, inks) {
  pen.rect(x + 1, y - gap / 2 + 0.5, box - 2, Math.max(1, gap - 1), css(shade(held, most, inks)));
  const text = Math.round(100 * held);
  if (gap >= 11 && text) pen.text(x + box / 2, y, String(text), { fill: Math.abs(held) > 0.7 * most ? css(inks.paper) : inks.text, size: 10, align: "center" });
}

const traceCaption = (found, drawn) =>
  `relevance in %; ${found.edges.length > drawn ? `the ${drawn} strongest of ${found.edges.length}` : drawn} edges from ${form(100 * found.cut)}%; thin lines: the ${found.paths.length} strongest paths`;

// --- state --------------------------------------------------------------------------------------

const DEFAULTS = { flow: 0, beside: -1, layer: null, map: null, rule: "conserving", colour: "value", filter: "all", amount: 0,
  renorm: 0, words: 0, special: 0, prefix: 0, diagonal: 0, pin: "", trace: 0, paths: 5, cut: 5, top: -1, zoom: 0, theme: "" };
const FRACTIONS = ["amount", "cut"]; // per cent; every other number is whole
const AMOUNTS = { all: 0, threshold: 5, top: 3, mass: 90 };
const CHOICES = { rule: ["conserving", "product"], colour: ["value", "absolute", "share"], filter: Object.keys(AMOUNTS),
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
function settled(state, flows) {
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
function pinned(flow, state) {
  const match = /^([tsh])(\d+)$/.exec(state.pin);
  if (!match) return null;
  const [side, token] = [{ t: "target", s: "source", h: "head" }[match[1]], Number(match[2])];
  if (side === "head") return token <= flow.heads ? { side, index: token } : null;
  const lens = lensOf(flow, state);
  const index = lens.groups.findIndex((group) => group.tokens.includes(token));
  return index >= 0 && (side === "source" || lens.rows.includes(index)) ? { side, index } : null;
}

function pinOf(flow, state, only) {
  if (!only) return "";
  return only.side === "head" ? `h${only.index}` : `${only.side[0]}${lensOf(flow, state).groups[only.index].tokens[0]}`;
}

// --- elements -----------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function fit(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  [canvas.width, canvas.height] = [Math.ceil(width * ratio), Math.ceil(height * ratio)];
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = false;
  return context;
}

/** A picture and what is drawn over it while the pointer moves. */
function panel(label) {
  const [base, over] = [make("canvas"), make("canvas", { className: "over", tabIndex: 0, role: "img", ariaLabel: label })];
  const element = make("div", { className: "panel" }, base, over);
  return { element, base, over };
}

const settingsOf = (flow) => {
  const s = flow.meta.settings || {};
  const short = ["att", "mlp", "layer"].map((n) => s[`${n}_baseline`] && `${n} ${s[`${n}_baseline`]}`).filter(Boolean);
  const towards = flow.meta.towards ? `towards ‘${flow.meta.towards}’, ` : "";
  return printable(`${flow.meta.model || flow.name}: ${towards}${short.join(", ")}${s.tol ? `, tol ${s.tol}` : ""}`);
};

const form = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());
const percent = (value) => `${(100 * value).toFixed(Math.abs(value) < 0.1 ? 1 : 0)}%`;

// --- mount --------------------------------------------------------------------------------------

/**
 * Shows flow files in an element. `files` are `{ name, bytes }` or `{ name, base64 }`. Options: `fragment` keeps the
 * state in the URL, `start` is the state to begin with, `onSelect` hears what is pinned.
 * Returns `{ destroy, state, add }`.
 */
export function mount(root, files, { fragment = false, start = "", onSelect = () => {} } = {}) {
  root.classList.add("ligflow");
  const message = make("div", { className: "message", role: "alert" });
  root.append(message);
  const say = (text) => { message.textContent = text; message.hidden = !text; };
  say("");
  if (!document.createElement("canvas").getContext?.("2d")) {
    say("This browser has no canvas, on which the maps are drawn. Open the page in a current browser.");
    return { destroy: () => root.replaceChildren(), state: () => null, add: () => {} };
  }
  const flows = [];
  const open = (file) => {
    try {
      flows.push(openFlow(file.bytes ? fromBytes(file.bytes) : fromBase64(file.base64), printable(file.name)));
      return true;
    } catch (error) {
      say(error.message);
      return false;
    }
  };
  files.forEach(open);
  const app = application(root, flows, { fragment, start, onSelect });
  const add = (file) => { if (open(file)) { say(""); app.added(); } };
  const stop = acceptFiles(root, add, say);
  if (flows.length) app.start();
  return { add, state: app.state, destroy: () => { stop(); app.destroy(); root.replaceChildren(); } };
}

/** Flow files that are dropped on the page are opened beside what is there. */
function acceptFiles(root, add, say) {
  const take = async (list) => {
    for (const file of list) {
      try {
        add({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
      } catch {
        say(`${printable(file.name)} cannot be read.`);
      }
    }
  };
  const over = (event) => event.preventDefault();
  const drop = (event) => { event.preventDefault(); take(event.dataTransfer.files); };
  root.addEventListener("dragover", over);
  root.addEventListener("drop", drop);
  root.takeFiles = take;
  return () => { root.removeEventListener("dragover", over); root.removeEventListener("drop", drop); };
}

function application(root, flows, { fragment, start: opening, onSelect }) {
  let base = { ...DEFAULTS };
  let state = base;
  let views = [];
  let most = 1;
  let hover = null;
  let frame = 0;
  let followed = {};
  const parts = skeleton();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => state.theme || (dark.matches ? "dark" : "light");
  const inks = () => INKS[theme()];
  const current = () => flows[state.flow];
  const only = () => hover || pinned(current(), state);

  function set(change, fromLink = false) {
    const before = state;
    state = settled({ ...state, ...change }, flows);
    if (fragment && !fromLink) history.replaceState(null, "", `#${encode(state, base)}`);
    hover = null;
    draw(before);
    if (before.pin !== state.pin || before.layer !== state.layer || before.map !== state.map) onSelect(selection());
  }

  function selection() {
    const place = pinned(current(), state);
    const group = place && place.side !== "head" ? lensOf(current(), state).groups[place.index] : null;
    return { layer: state.layer, map: state.map, rule: state.rule, side: place ? place.side : null,
      tokens: group ? group.tokens : [], head: place && place.side === "head" ? place.index : null,
      label: group ? group.label : "" };
  }

  function draw(before = {}) {
    root.dataset.theme = theme();
    fillControls(parts, flows, state, set);
    const shown = [current(), ...(flows[state.beside] ? [flows[state.beside]] : [])];
    views = shown.map((flow) => viewOf(flow, stateFor(flow)));
    most = scaleOf(views);
    drawOverview(before);
    drawPanels();
    report();
  }

  /** What the state means for a second flow, which may lack a map or a layer. */
  const stateFor = (flow) => settled({ ...state, flow: flows.indexOf(flow), pin: "" }, flows);

  function drawOverview(before) {
    const key = ["flow", "words", "special", "prefix", "rule", "theme"].map((n) => state[n]).join() + theme() + flows.length;
    if (parts.overview.dataset.key !== key) {
      overview(parts.overview, current(), state, inks(), set);
      parts.overview.dataset.key = key;
    }
    for (const button of parts.overview.querySelectorAll("button")) {
      const chosen = Number(button.dataset.layer) === state.layer && button.dataset.map === state.map;
      button.ariaPressed = String(chosen);
      if (chosen && before.layer !== state.layer) button.scrollIntoView?.({ block: "nearest", inline: "nearest" });
    }
  }

  function drawPanels() {
    const width = Math.max(280, parts.views.clientWidth - 4);
    const narrow = width < 900;
    const below = !narrow && views.length > 1 && width < 1200; // two maps need the width; the ladder goes under them
    const share = narrow || below ? Math.min(width, 700) : Math.min(width * 0.4, 560);
    const rest = narrow ? width : below ? (width - 16) / 2 : (width - share - 24) / views.length;
    parts.ladder.element.style.order = below ? 1 : 0;
    views.forEach((view, i) => {
      view.at = heatLayout(view, rest, state.zoom);
      const context = fit(parts.heats[i].base, view.at.width, view.at.height);
      drawHeat(canvasPen(context), view, view.at, most, inks());
      fit(parts.heats[i].over, view.at.width, view.at.height);
    });
    parts.heats[1].element.hidden = views.length < 2;
    const height = Math.min(900, Math.max(260, views[0].at.height));
    views[0].ladder = ladderOf(views[0], null);
    views[0].ladderAt = ladderLayout(views[0].ladder, share, height);
    const at = views[0].ladderAt;
    const context = fit(parts.ladder.base, share, at.height);
    drawLadder(canvasPen(context), views[0].ladder, at, inks(), null);
    fit(parts.ladder.over, share, at.height);
    const legend = fit(parts.legend, 122, 30);
    parts.legendText.textContent = legendText(views[0]);
    drawLegend(canvasPen(legend), 0, 2, views[0], most, inks());
    parts.legend.setAttribute("aria-label", `Colours: ${legendText(views[0])}, up to ${form(most)}`);
    drawOver();
    drawTracePanel(width);
  }

  function drawTracePanel(width) {
    parts.trace.hidden = !state.trace;
    views[0].traced = null;
    if (!state.trace) return;
    const place = pinned(current(), state);
    if (place?.side !== "target") return fillTrace(parts, "Pin a target (click its row, or press ↓) to follow it down to the input.");
    const [flow, top, token] = [current(), flows[state.top] || null, Number(state.pin.slice(1))];
    const reason = refusal(flow, state, token, top);
    if (reason) return fillTrace(parts, reason, offers(token));
    const key = ["flow", "top", "layer", "map", "words", "pin", "paths", "cut"].map((name) => state[name]).join();
    if (followed.key !== key) followed = { key, ...follow(flow, state, token, top) }; // not again when the window is resized
    const found = { ...followed, at: traceLayout(followed, width) };
    views[0].traced = found;
    fillTrace(parts, traceWords(found, flow, top, state));
    drawTrace(canvasPen(fit(parts.traceCanvas, found.at.width, found.at.height)), found, found.at, inks());
    describeTrace(parts, found);
  }

  /** Buttons for the maps in this page that can be chained from the same token. */
  function offers(token) {
    const alike = flows.filter((one) => one.tokens.join("\0") === current().tokens.join("\0") && one.layers.includes(state.layer));
    return alike.flatMap((one) => ["composed", "z2z"].filter((map) => mapsOf(one).includes(map))
      .map((map) => ({ flow: flows.indexOf(one), map, rule: "conserving", top: -1 }))
      .filter((change) => !refusal(one, { ...state, ...change }, token))
      .map((change) => make("button", { type: "button", onclick: () => set(change) },
        `Trace ${mapName(change.map, "conserving")}${change.flow === state.flow ? "" : ` of ${settingsOf(one)}`}`)));
  }

  /** The crosshair, and the ladder of what is selected alone. Nothing else is drawn while the pointer moves. */
  function drawOver() {
    frame = 0;
    const chosen = only();
    views.forEach((view, i) => {
      const { left, top, cell } = view.at;
      const context = clear(parts.heats[i].over);
      context.strokeStyle = inks().mark;
      context.lineWidth = 1.5;
      if (!chosen) return;
      const row = chosen.side === "target" ? view.lens.rows.indexOf(chosen.index) : -1;
      const column = chosen.side === (view.isPlayers ? "head" : "source") ? chosen.index : chosen.column ?? -1;
      if (row >= 0) context.strokeRect(left, top + row * cell, cell * view.columns, cell);
      if (column >= 0 && column < view.columns) context.strokeRect(left + column * cell, top, cell, cell * view.rows);
    });
    const [view, over] = [views[0], parts.ladder.over];
    const context = clear(over);
    parts.ladder.base.style.opacity = chosen ? 0.08 : 1;
    if (chosen) drawLadder(canvasPen(context), ladderOf(view, chosen), view.ladderAt, inks(), chosen);
    describe(chosen);
  }

  function clear(canvas) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    return context;
  }

  const later = () => { if (!frame) frame = requestAnimationFrame(drawOver); };

  function describe(chosen) {
    const lines = chosen ? words(views, chosen) : [];
    parts.details.replaceChildren(...lines.map((line) => make("div", {}, line)));
  }

  function report() {
    const view = views[0];
    const bad = view.certificates.filter((one) => !one.met).length;
    const worst = Math.max(0, ...view.certificates.map((one) => one.certificate));
    parts.title.textContent = printable(current().meta.text || current().name);
    parts.heading.textContent = `Layer ${state.layer}, ${mapName(state.map, state.rule)}`;
    parts.badge.textContent = bad ? `✗ ${bad} of ${view.rows} targets miss the tolerance` : `✓ all ${view.rows} targets certified`;
    parts.badge.className = bad ? "badge failed" : "badge";
    parts.badge.title = `Largest |certificate| ${form(worst)}. ${notesOf(current()).join(" ")}`;
    const hidden = view.lens.hidden ? `, ${view.lens.hidden} tokens hidden` : "";
    parts.kept.textContent = `${percent(view.share)} of the magnitude shown${state.renorm && view.share < 1 ? ", scaled up to the whole" : ""}${hidden}; worst certificate ${worst.toExponential(0)}`;
  }

  function pointed(event, view) {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { left, top, cell } = view.at;
    const [r, c] = [Math.floor((y - top) / cell), Math.floor((x - left) / cell)];
    const [row, column] = [r >= 0 && r < view.rows, c >= 0 && c < view.columns];
    if (row) return { side: "target", index: view.lens.rows[r], column: column ? c : undefined };
    return column ? { side: view.isPlayers ? "head" : "source", index: c } : null;
  }

  function pointedLadder(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { ladder, ladderAt: at, isPlayers, lens } = views[0];
    const column = at.places.reduce((best, one, i) => (Math.abs(one.x - x) < Math.abs(at.places[best].x - x) ? i : best), 0);
    const index = Math.floor((y - at.places[column].top) / at.places[column].gap);
    if (index < 0 || index >= ladder.columns[column].labels.length) return null;
    const last = column === at.places.length - 1;
    if (last) return lens.rows.includes(index) ? { side: "target", index } : null;
    return { side: column === 0 && !isPlayers ? "source" : "head", index };
  }

  const same = (a, b) => a?.side === b?.side && a?.index === b?.index && a?.column === b?.column;

  function listen(element, find) {
    element.addEventListener("pointermove", (event) => {
      const next = find(event);
      if (!same(next, hover)) { hover = next; later(); }
    });
    element.addEventListener("pointerleave", () => { hover = null; later(); });
    element.addEventListener("click", (event) => {
      const next = find(event);
      const pin = pinOf(current(), state, next);
      set({ pin: pin === state.pin ? "" : pin });
    });
  }

  parts.heats.forEach((one, i) => listen(one.over, (event) => pointed(event, views[i])));
  listen(parts.ladder.over, pointedLadder);
  const onKey = (event) => keyboard(event, state, current(), views[0], set);
  root.addEventListener("keydown", onKey);
  const onHash = () => set(decodeState(location.hash.slice(1), base, flows), true);
  const onTheme = () => { if (flows.length) draw(); };
  const resized = new ResizeObserver(() => { if (views.length) drawPanels(); });
  root.append(parts.element);
  parts.element.hidden = true;

  parts.exports.svg.addEventListener("click", () => save(exportSvg(views, most, inks(), only()), "image/svg+xml", `${fileName()}.svg`));
  parts.exports.png.addEventListener("click", async () => save(await exportPng(views, most, inks(), only()), "image/png", `${fileName()}.png`));
  parts.exports.csv.addEventListener("click", () => save(exportCsv(views), "text/csv", `${fileName()}.csv`));
  parts.file.addEventListener("change", () => { root.takeFiles(parts.file.files); parts.file.value = ""; });
  const fileName = () => `ligflow-layer${state.layer}-${state.map}`;

  function start() {
    parts.element.hidden = false;
    base = decodeState(opening, DEFAULTS, flows);
    state = fragment ? decodeState(location.hash.slice(1), base, flows) : base;
    draw();
    resized.observe(parts.views);
    dark.addEventListener("change", onTheme);
    if (fragment) window.addEventListener("hashchange", onHash);
    performance.mark("ligflow-first-paint");
  }

  return {
    state: () => ({ ...state }),
    start,
    added: () => (parts.element.hidden ? start() : set({ beside: flows.length - 1 })),
    destroy: () => {
      resized.disconnect();
      dark.removeEventListener("change", onTheme);
      window.removeEventListener("hashchange", onHash);
      root.removeEventListener("keydown", onKey);
      cancelAnimationFrame(frame);
    },
  };
}

const notesOf = (flow) => (flow.meta.notes || []).map((note) => printable(String(note)));

/** What the trace is of, and what is known of its accuracy. */
function traceWords(found, flow, top, state) {
  const coarse = [flow, top].some((one) => one?.quantised.length) ? "; maps stored as 8-bit numbers, so that each share is rounded (see the legend)" : "";
  const missed = found.unmet ? `; ${found.unmet} integrals miss the tolerance` : "";
  const hidden = state.special || state.prefix ? "; hidden tokens take part, since relevance would be lost without them" : "";
  const first = top ? `; first step: ${settingsOf(top)}` : "";
  return `‘${found.labels[found.start]}’ after layer ${found.layers[0]} down to the input, ${mapName(state.map, "conserving")} maps${first}; `
    + `the sum at every depth is 1 within ${found.drift.toExponential(0)}; the integrals leave open at most ${Math.max(...found.certificates).toExponential(0)}${missed}${hidden}${coarse}.`;
}

function fillTrace(parts, text, buttons = []) {
  parts.traceText.replaceChildren(text);
  parts.offers.replaceChildren(...buttons);
  parts.depths.replaceChildren();
  parts.pathsText.replaceChildren();
  parts.paths.replaceChildren();
  parts.traceScroll.hidden = true;
}

/** Every depth and the strongest paths in words. */
function describeTrace(parts, found) {
  parts.traceScroll.hidden = false;
  const head = ["", "relevance, the strongest first", "left open by its layer"].map((name) => make("th", { scope: "col" }, name));
  const rows = found.relevance.map((row, depth) => make("tr", {}, make("th", { scope: "row" }, depthName(found, depth)),
    make("td", {}, strongestWords(row, found.labels)), make("td", {}, depth < found.layers.length ? found.certificates[depth].toExponential(1) : "")));
  parts.depths.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  parts.pathsText.textContent = `The strongest paths, from the token down to the input${found.paths.length < found.asked ? "; there are no more" : ""}:`;
  parts.paths.replaceChildren(...found.paths.map(({ weight, nodes }) =>
    make("li", {}, `${percent(weight)}: ${nodes.map((node) => found.labels[node]).join(" ← ")}`)));
}

function strongestWords(row, labels) {
  const order = [...row.keys()].filter((i) => Math.abs(row[i]) >= 0.005).sort((a, b) => Math.abs(row[b]) - Math.abs(row[a])).slice(0, 8);
  return order.map((i) => `‘${labels[i]}’ ${percent(row[i])}`).join(", ");
}

/** What is selected, in words: the cell if there is one, the strongest partners, the certificate. */
function words(views, chosen) {
  return views.flatMap((view, i) => {
    const title = views.length > 1 ? `${i ? "beside" : "first"} · ` : "";
    const line = chosen.side === "target" ? targetWords(view, chosen) : partnerWords(view, chosen);
    return line.map((text) => `${title}${text}`);
  });
}

function targetWords(view, { index, column }) {
  const r = view.lens.rows.indexOf(index);
  if (r < 0) return [];
  const at = (c) => view.values[r * view.columns + c];
  const one = view.certificates[r];
  const share = (c) => percent(view.sizes[r] > 0 ? at(c) / view.sizes[r] : 0);
  const order = [...Array(view.columns).keys()].sort((a, b) => Math.abs(at(b)) - Math.abs(at(a))).slice(0, 5);
  const lines = [];
  if (column !== undefined) {
    lines.push(`source ‘${view.columnLabels[column]}’ → target ‘${view.rowLabels[r]}’: ${form(at(column))} (${share(column)} of its row)`);
  }
  lines.push(`target ‘${view.rowLabels[r]}’: ${order.map((c) => `‘${view.columnLabels[c]}’ ${form(at(c))} (${share(c)})`).join(", ")}`);
  const cells = one.cells > 1 ? `, the worst of ${one.cells} integrals` : "";
  lines.push(`certificate ${one.certificate.toExponential(1)} ${one.met ? "✓" : "✗ misses the tolerance"}${cells}; ${one.nodes} points; origin mass ${form(one.origin)}; ${percent(view.kept[r])} of the row shown`);
  return lines;
}

function partnerWords(view, { side, index }) {
  if (side === "head" && !view.isPlayers) return [index < view.flow.heads ? `head ${index}` : "residual"];
  if (index >= view.columns) return [];
  const at = (r) => view.values[r * view.columns + index];
  const order = [...Array(view.rows).keys()].sort((a, b) => Math.abs(at(b)) - Math.abs(at(a))).slice(0, 5);
  const text = order.map((r) => `‘${view.rowLabels[r]}’ ${form(at(r))} (${percent(view.sizes[r] > 0 ? at(r) / view.sizes[r] : 0)} of its row)`);
  return [`${side} ‘${view.columnLabels[index]}’ to targets: ${text.join(", ")}`];
}

// --- controls -----------------------------------------------------------------------------------

function skeleton() {
  const [heat, beside, ladder] = [panel("Heat map: rows are targets, columns are sources"), panel("Heat map of the flow beside"), panel("Ladder from sources to targets")];
  const parts = {
    heats: [heat, beside], ladder, title: make("h1"), heading: make("h2"), badge: make("span", { className: "badge" }),
    kept: make("p", { className: "kept" }), details: make("div", { className: "details", ariaLive: "polite" }),
    controls: make("div", { className: "controls" }), overview: make("div", { className: "overview" }),
    legend: make("canvas", { className: "legend", role: "img" }), legendText: make("span"), views: make("div", { className: "views" }),
    trace: make("section", { className: "trace", ariaLabel: "Trace" }), traceText: make("p", { ariaLive: "polite" }), offers: make("div", { className: "line" }),
    traceScroll: make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Picture of the trace" }),
    traceCanvas: make("canvas", { role: "img", ariaLabel: "Relevance at every depth; the table below holds the same in words" }), depths: make("table"), pathsText: make("p"), paths: make("ol"),
    file: make("input", { type: "file", accept: ".safetensors", multiple: true, ariaLabel: "Open a flow file beside this one" }),
    exports: Object.fromEntries(["svg", "png", "csv"].map((kind) => [kind, make("button", { type: "button", className: `export-${kind}` }, kind.toUpperCase())])),
  };
  parts.traceScroll.append(parts.traceCanvas);
  parts.trace.append(make("h3", {}, "Trace"), parts.traceText, parts.offers, parts.traceScroll, parts.depths, parts.pathsText, parts.paths);
  parts.views.append(ladder.element, heat.element, beside.element);
  const tools = make("div", { className: "tools" }, make("span", {}, "Save this view:"), ...Object.values(parts.exports),
    make("label", {}, "Open beside: ", parts.file));
  const help = make("details", { className: "help" }, make("summary", {}, "Keys"), make("p", {},
    "↑ ↓ target · ← → source · [ ] layer · , . map · Enter pin · Esc unpin · w words · s special tokens · d diagonal · n renormalise · f filter · c colours · t trace · + − zoom"));
  const guide = make("details", { className: "help" }, make("summary", {}, "How to read it"), make("p", {},
    "A layer makes new token vectors (z′) from old ones (z), by way of its attention heads (u). A row is a target: a token’s new vector, or what a head puts out there. A column is a source: what it was made from. " +
    "Blue moves the target away from its baseline, towards what it is; orange holds it back. Direct: from tokens to a token. Composed: the same, through the heads. h0, h1, …: from tokens to what one head puts out. " +
    "✓: what the sources contribute adds up to how far the target moved, within the tolerance."));
  parts.element = make("div", { className: "app" }, make("header", {}, parts.title, parts.controls), make("div", { className: "body" },
    parts.overview, make("main", {}, make("div", { className: "line" }, parts.heading, parts.badge), parts.kept,
      make("div", { className: "line" }, parts.legend, parts.legendText),
      parts.views, parts.details, parts.trace, tools, guide, help)));
  return parts;
}

const option = (value, label, chosen) => make("option", { value: String(value), selected: chosen }, label);

function select(name, label, options, value, change) {
  const element = make("select", { name, onchange: (event) => change(event.target.value) }, ...options.map(([v, text]) => option(v, text, String(v) === String(value))));
  return make("label", {}, `${label} `, element);
}

function tick(name, label, value, change, disabled = false) {
  return make("label", { className: "tick" }, make("input", { type: "checkbox", name, checked: !!value, disabled, onchange: (e) => change(e.target.checked ? 1 : 0) }), ` ${label}`);
}

function numeric(name, label, value, max, change) {
  return make("label", {}, `${label} `, make("input", { type: "number", name, value: String(value), min: "0", max: String(max), onchange: (e) => change(Number(e.target.value) || 0) }));
}

function fillControls(parts, flows, state, set) {
  const focused = parts.controls.contains(document.activeElement) ? document.activeElement.name : null;
  const flow = flows[state.flow];
  const many = flows.map((one, i) => [i, flows.length > 1 ? `${i + 1}. ${settingsOf(one)}` : settingsOf(one)]);
  const key = { z2z: "direct", composed: "composed", difference: "difference", z2u: "z2u, all heads", u2z: "u2z" };
  parts.controls.replaceChildren(
    select("flow", "Settings", many, state.flow, (v) => set({ flow: Number(v) })),
    ...(flows.length > 1 ? [select("beside", "beside", [[-1, "nothing"], ...many], state.beside, (v) => set({ beside: Number(v) }))] : []),
    select("layer", "Layer", flow.layers.map((l) => [l, l]), state.layer, (v) => set({ layer: Number(v) })),
    select("map", "Map", mapsOf(flow).map((m) => [m, key[m] || `head ${m.slice(1)}`]), state.map, (v) => set({ map: v })),
    select("rule", "Rule", CHOICES.rule.map((r) => [r, r]), state.rule, (v) => set({ rule: v })),
    select("colour", "Colour", [["value", "signed value"], ["share", "share of the row"], ["absolute", "magnitude"]], state.colour, (v) => set({ colour: v })),
    select("filter", "Show", [["all", "all cells"], ["threshold", "shares from … %"], ["top", "the top … of a row"], ["mass", "… % of a row"]], state.filter, (v) => set({ filter: v, amount: AMOUNTS[v] })),
    ...(state.filter === "all" ? [] : [numeric("amount", "…", state.amount, state.filter === "top" ? flow.tokens.length : 100, (v) => set({ amount: v }))]),
    tick("renorm", "renormalise", state.renorm, (v) => set({ renorm: v })),
    tick("words", "words", state.words, (v) => set({ words: v }), !flow.meta.words),
    tick("special", "hide special tokens", state.special, (v) => set({ special: v })),
    numeric("prefix", "hide the first", state.prefix, flow.tokens.length - 1, (v) => set({ prefix: v })),
    tick("diagonal", "hide the diagonal", state.diagonal, (v) => set({ diagonal: v })),
    tick("trace", "trace", state.trace, (v) => set({ trace: v })),
    ...(state.trace ? traceControls(flows, many, state, set) : []),
    select("theme", "Theme", [["", "system"], ["light", "light"], ["dark", "dark"]], state.theme, (v) => set({ theme: v })),
  );
  if (focused) parts.controls.querySelector(`[name="${focused}"]`)?.focus();
}

function traceControls(flows, many, state, set) {
  const others = many.filter(([i]) => i !== state.flow);
  return [
    numeric("paths", "paths", state.paths, MOST_PATHS, (v) => set({ paths: v })),
    numeric("cut", "edges from … %", state.cut, 99, (v) => set({ cut: v })),
    ...(others.length ? [select("top", "first step", [[-1, "same settings"], ...others], state.top, (v) => set({ top: Number(v) }))] : []),
  ];
}

/** Thumbnails: layers down, maps across. A row is drawn when it comes into sight. */
function overview(element, flow, state, inks, set) {
  const maps = ["z2z", "composed", ...mapsOf(flow).filter((m) => /^h\d/.test(m))].filter((m) => mapsOf(flow).includes(m));
  const names = maps.map((m) => make("th", { scope: "col" }, { z2z: "direct", composed: "comp." }[m] || m));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "layer"), ...names)));
  const body = make("tbody");
  const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((entry) => {
    seen.unobserve(entry.target);
    entry.target.querySelectorAll("canvas").forEach((canvas) => thumbnail(canvas, flow, state, inks));
  }), { root: null, rootMargin: "200px" });
  flow.layers.forEach((layer, row) => {
    const cells = maps.map((map) => make("td", {}, make("button", {
      type: "button", title: `layer ${layer}, ${mapName(map, state.rule)}`, "data-layer": layer, "data-map": map, onclick: () => set({ layer, map }),
    }, make("canvas", { "data-layer": layer, "data-map": map }))));
    const line = make("tr", {}, make("th", { scope: "row" }, `${layer} `, layerBadge(flow, row)), ...cells);
    body.append(line);
    seen.observe(line);
  });
  table.append(body);
  element.replaceChildren(table);
}

function layerBadge(flow, row) {
  let [worst, bad] = [0, 0];
  for (const route of flow.routes) {
    const [residue, scale, met] = ["residue", "scale", "met"].map((p) => flow.tensor(`${route}.${p}`, row));
    residue.forEach((value, i) => { worst = Math.max(worst, Math.abs(value / scale[i])); bad += met[i] > 0 ? 0 : 1; });
  }
  return make("span", { className: bad ? "badge failed" : "badge", title: `largest |certificate| ${form(worst)}` }, bad ? `✗${bad}` : "✓");
}

function thumbnail(canvas, flow, state, inks) {
  const view = viewOf(flow, { ...state, layer: Number(canvas.dataset.layer), map: canvas.dataset.map, filter: "all", diagonal: 0, colour: "share" });
  const most = largest(view) || 1;
  [canvas.width, canvas.height] = [view.columns, view.rows];
  canvas.getContext("2d").drawImage(pixels(view, (r, c) => shade(inked(view, r, c), most, inks)), 0, 0);
}

function keyboard(event, state, flow, view, set) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.target.className === "scroll" && event.key.startsWith("Arrow")) return;
  const turn = (list, value, by) => list[(list.indexOf(value) + by + list.length) % list.length];
  const flip = (name) => () => set({ [name]: state[name] ? 0 : 1 });
  const maps = mapsOf(flow);
  const keys = {
    "[": () => set({ layer: turn(flow.layers, state.layer, -1) }), "]": () => set({ layer: turn(flow.layers, state.layer, 1) }),
    ",": () => set({ map: turn(maps, state.map, -1) }), ".": () => set({ map: turn(maps, state.map, 1) }),
    ArrowUp: () => set({ pin: neighbour(flow, state, view, "target", -1) }), ArrowDown: () => set({ pin: neighbour(flow, state, view, "target", 1) }),
    ArrowLeft: () => set({ pin: neighbour(flow, state, view, "source", -1) }), ArrowRight: () => set({ pin: neighbour(flow, state, view, "source", 1) }),
    Escape: () => set({ pin: "" }), w: flip("words"), s: flip("special"), d: flip("diagonal"), n: flip("renorm"), t: flip("trace"),
    c: () => set({ colour: turn(CHOICES.colour, state.colour, 1) }),
    f: () => { const filter = turn(CHOICES.filter, state.filter, 1); set({ filter, amount: AMOUNTS[filter] }); },
    "+": () => set({ zoom: state.zoom + 1 }), "=": () => set({ zoom: state.zoom + 1 }), "-": () => set({ zoom: state.zoom - 1 }),
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
}

/** The pin next to the one that is there, on the side of targets or of sources. */
function neighbour(flow, state, view, side, by) {
  const places = side === "target" ? view.lens.rows : view.lens.groups.map((_, i) => i);
  const place = pinned(flow, state);
  const at = place && place.side === side ? places.indexOf(place.index) : by > 0 ? -1 : places.length;
  const next = Math.max(0, Math.min(places.length - 1, at + by));
  return pinOf(flow, state, { side, index: places[next] });
}

// --- export -------------------------------------------------------------------------------------

/** The exact view with one pen: heading, ladder under the selection, heat maps, legend. */
function drawAll(pen, views, most, inks, only) {
  const { state, flow, ladderAt } = views[0];
  pen.text(12, 16, cut(printable(flow.meta.text || flow.name), 140), { fill: inks.text, size: 14, bold: true });
  const shown = `${percent(views[0].share)} of the magnitude shown${state.renorm ? ", renormalised" : ""}`;
  pen.text(12, 36, `Layer ${state.layer}, ${mapName(state.map, state.rule)}; ${settingsOf(flow)}; ${shown}`, { fill: inks.faint, size: 11 });
  drawLadder(moved(pen, 0, 52), ladderOf(views[0], only), ladderAt, inks, only);
  let x = ladderAt.width + 24;
  for (const view of views) {
    drawHeat(moved(pen, x, 52), view, view.at, most, inks);
    x += view.at.width + 16;
  }
  const below = 60 + Math.max(ladderAt.height, ...views.map((view) => view.at.height));
  drawLegend(pen, 12, below, views[0], most, inks);
  pen.text(146, below + 5, legendText(views[0]), { fill: inks.text, size: 11 });
  const found = views[0].traced;
  if (!found) return { width: Math.max(x, 480), height: below + 34 };
  drawTrace(moved(pen, 12, below + 40), found, found.at, inks);
  return { width: Math.max(x, found.at.width + 24), height: below + 50 + found.at.height };
}

/** A pen whose origin is elsewhere. */
const moved = (pen, dx, dy) => ({
  ...pen,
  rect: (x, y, ...rest) => pen.rect(x + dx, y + dy, ...rest),
  frame: (x, y, ...rest) => pen.frame(x + dx, y + dy, ...rest),
  curve: (x1, y1, x2, y2, ...rest) => pen.curve(x1 + dx, y1 + dy, x2 + dx, y2 + dy, ...rest),
  text: (x, y, ...rest) => pen.text(x + dx, y + dy, ...rest),
  hatch: (x, y, ...rest) => pen.hatch(x + dx, y + dy, ...rest),
  cells: (x, y, ...rest) => pen.cells(x + dx, y + dy, ...rest),
});

function exportSvg(views, most, inks, only) {
  const pen = svgPen();
  const { width, height } = drawAll(pen, views, most, inks, only);
  return svgOf(pen, width, height, css(inks.paper));
}

async function exportPng(views, most, inks, only) {
  const { width, height } = drawAll(svgPen(), views, most, inks, only);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(width * 2), Math.ceil(height * 2)];
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.imageSmoothingEnabled = false;
  context.fillStyle = css(inks.paper);
  context.fillRect(0, 0, width, height);
  drawAll(canvasPen(context), views, most, inks, only);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

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

function save(content, type, name) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = make("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// --- the notebook widget (anywidget) ------------------------------------------------------------

export default {
  render({ model, el }) {
    const bytes = model.get("files").map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice());
    const names = model.get("names");
    const shown = mount(el, bytes.map((one, i) => ({ name: names[i], bytes: one })), {
      start: model.get("view"),
      onSelect: (selection) => { model.set("selection", selection); model.save_changes(); },
    });
    return () => shown.destroy();
  },
};
