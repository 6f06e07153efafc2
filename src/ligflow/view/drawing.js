// The pictures of a view: heat map, ladder and trace as calls of a pen, which draws on a canvas or writes SVG.

import { form, inked, ladderOf, largest, mapName, percent, printable, settingsOf } from "./flow.js";

const LINKS = 600; // links that a ladder draws; the caption counts the others
const CROWDED = 16384; // cells from which an SVG holds the heat map as pixels

// --- colours ------------------------------------------------------------------------------------

export const INKS = {
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
export function pixels(view, colour) {
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
export function heatLayout(view, width, zoom) {
  const wide = Math.min(LABEL, Math.max(3, ...view.rowLabels.map((l) => l.length)));
  const high = Math.min(LABEL, Math.max(3, ...view.columnLabels.map((l) => l.length)));
  const [left, top, right] = [30 + wide * 7, 30 + high * 6.2, 26];
  const fit = Math.min(26, Math.max(2, (width - left - right) / Math.max(view.columns, 1)));
  const cell = Math.max(1.5, fit * 1.25 ** zoom);
  return { left, top, cell, width: left + cell * view.columns + right, height: top + cell * view.rows + 8,
    step: Math.max(1, Math.ceil(9 / cell)) };
}

export function drawHeat(pen, view, at, most, inks) {
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

export function ladderLayout(ladder, width, height) {
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

export function drawLadder(pen, ladder, at, inks, only) {
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

export function drawLegend(pen, x, y, view, most, inks) {
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

// --- trace ---------------------------------------------------------------------------------------

export const depthName = (found, depth) => (depth < found.layers.length ? `after layer ${found.layers[depth]}` : "input");

/** Columns are depths, the input on the left as in the ladder; rows are tokens. */
export function traceLayout(found, width) {
  const longest = Math.max(6, ...found.labels.map((label) => label.length));
  const [left, top, box] = [24 + 7 * Math.min(longest, LABEL), 26, 30];
  const pitch = Math.max(50, Math.min(150, (width - left - box - 20) / found.layers.length));
  const gap = Math.max(3, Math.min(20, 640 / found.labels.length));
  const x = (depth) => left + (found.layers.length - depth) * pitch;
  return { left, top, box, gap, pitch, x, y: (token) => top + (token + 0.5) * gap,
    width: left + found.layers.length * pitch + box + 20, height: top + gap * found.labels.length + 24 };
}

export function drawTrace(pen, found, at, inks) {
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

export function exportSvg(views, most, inks, only) {
  const pen = svgPen();
  const { width, height } = drawAll(pen, views, most, inks, only);
  return svgOf(pen, width, height, css(inks.paper));
}

export async function exportPng(views, most, inks, only) {
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
