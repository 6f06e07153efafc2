// The pictures of one map, as calls of a pen: heat map, ladder and legend (a trace has its own).

import { css, fitted, shade, widthOf } from "./pens.js";
import { inked } from "./views.js";
import { cut, form, isAttention, percent, wayOf } from "./wording.js";

export const LINKS = 600; // links that a ladder draws; the caption counts the others
export const LETTER = 13; // pixels of what is written, at least
const LINE = 12; // and lines of it stand at least so far apart
export const LABEL = 14; // characters of a label beside a map; the tooltip has all of them
const MANY = 40; // columns up to which each has its label
const TITLE = 22; // height of the title of a map

/** A label, with a faint dot for the blank that it begins with. */
function drawLabel(pen, x, y, label, blank, look, faint) {
  pen.text(x, y, cut(label, LABEL), look);
  if (!blank) return;
  const long = widthOf(cut(label, LABEL), look.size, look.bold);
  if (look.turn) pen.text(x, y + 4, "·", { fill: faint, size: look.size, align: "center" });
  else
    pen.text(look.align === "right" ? x - long - 4 : x - 4, y, "·", { fill: faint, size: look.size, align: "center" });
}

/** How wide the widest of some labels is. */
const widest = (labels) => labels.reduce((most, label) => Math.max(most, widthOf(cut(label, LABEL), 13)), 16);

/** Where things stand in a heat map that has `width` and `height` to itself. */
export function heatLayout(view, width, zoom, height = 560) {
  const [left, top, right] = [
    36 + widest(view.rowLabels),
    34 + (view.title ? TITLE : 0) + widest(view.columnLabels),
    26,
  ];
  const least = view.columns > MANY ? 2 : LINE; // a wider map of a few tokens is scrolled
  const fit = Math.min(
    30,
    Math.max(least, (width - left - right) / Math.max(view.columns, 1)),
    Math.max(LINE, (height - top - 8) / Math.max(view.rows, 1)),
  );
  const cell = Math.max(1.5, fit * 1.25 ** zoom);
  return {
    left,
    top,
    cell,
    width: left + cell * view.columns + right,
    height: top + cell * view.rows + 8,
    step: Math.max(1, Math.ceil(LINE / cell)),
  };
}

export function drawHeat(pen, view, at, most, inks) {
  const { left, top, cell, step } = at;
  const size = LETTER;
  const title = view.title ? TITLE : 0;
  if (title) pen.text(10, 10, fitted(view.title, at.width - 14, 13, true), { fill: inks.text, size: 13, bold: true });
  pen.text(left + (cell * view.columns) / 2, 10 + title, view.isPlayers ? "head (column)" : "source (column)", {
    fill: inks.faint,
    size: 13,
    align: "center",
  });
  pen.text(10, top + (cell * view.rows) / 2, "target (row)", {
    fill: inks.faint,
    size: 13,
    align: "center",
    turn: -Math.PI / 2,
  });
  view.columnLabels.forEach((label, c) => {
    if (c % step === 0)
      drawLabel(
        pen,
        left + (c + 0.5) * cell,
        top - 6,
        label,
        view.blanks[c],
        { fill: inks.text, size, turn: -Math.PI / 2 },
        inks.faint,
      );
  });
  view.rowLabels.forEach((label, r) => {
    if (r % step === 0)
      drawLabel(
        pen,
        left - 6,
        top + (r + 0.5) * cell,
        label,
        view.rowBlanks[r],
        { fill: inks.text, size, align: "right" },
        inks.faint,
      );
  });
  pen.cells(left, top, cell, view, (r, c) => shade(inked(view, r, c), most, inks));
  const mark = isAttention(view.flow) ? "" : "✓";
  view.certificates.forEach((one, r) => {
    if (!one.met) pen.hatch(left, top + r * cell, cell * view.columns, cell, inks.mark);
    if (r % step === 0) {
      pen.text(left + cell * view.columns + 12, top + (r + 0.5) * cell, one.met ? mark : "✗", {
        fill: one.met ? inks.faint : inks.text,
        size,
        align: "center",
        bold: !one.met,
      });
    }
  });
  pen.frame(left, top, cell * view.columns, cell * view.rows, inks.line);
}

// --- ladder -------------------------------------------------------------------------------------

export function ladderLayout(ladder, width, height) {
  const [first, last] = [ladder.columns[0], ladder.columns[ladder.columns.length - 1]].map((one) => widest(one.labels));
  const [left, right, top] = [first + 62, width - last - 16, 34];
  const inner = ladder.columns.length === 3 ? [left, (left + right) / 2, right] : [left, right];
  const most = Math.max(...ladder.columns.map((one) => one.labels.length), 1);
  const gap = Math.max(2, Math.min(26, (height - top - 30) / most));
  const places = ladder.columns.map((one, i) => ({
    x: inner[i],
    gap: Math.min(26, (gap * most) / Math.max(one.labels.length, 1)),
  }));
  places.forEach((one, i) => {
    one.top = top + (gap * most - one.gap * ladder.columns[i].labels.length) / 2;
  });
  return {
    places,
    width,
    height: top + gap * most + 24,
    y: (column, index) => places[column].top + (index + 0.5) * places[column].gap,
  };
}

export function drawLadder(pen, ladder, at, inks, only) {
  const ordered = [...ladder.links].sort((a, b) => Math.abs(b[3]) - Math.abs(a[3]));
  const drawn = ordered.slice(0, LINKS);
  const most = Math.abs(drawn[0]?.[3] || 1);
  for (const [column, from, to, weight] of [...drawn].reverse()) {
    const strength = Math.abs(weight) / most;
    const x1 = at.places[column].x + (column === 1 ? 14 : 4);
    const x2 = at.places[column + 1].x - (ladder.columns.length === 3 && column === 0 ? 14 : 4);
    pen.curve(
      x1,
      at.y(column, from),
      x2,
      at.y(column + 1, to),
      css(weight > 0 ? inks.positive : inks.negative),
      0.3 + (only ? 12 : 8) * strength,
      0.06 + 0.8 * strength,
    );
  }
  const shares = only?.side === "target" ? sharesOf(ladder) : null;
  for (const [column, one] of ladder.columns.entries())
    drawNodes(pen, one, column, ladder, at, inks, only, column ? null : shares);
  const more = ordered.length - drawn.length;
  const caption = more ? `the ${LINKS} strongest of ${ordered.length} links` : `${ordered.length} links`;
  pen.text(at.width / 2, at.height - 10, caption, { fill: inks.faint, size: 13, align: "center" });
}

/** What part of all that leaves the first column each of its nodes gives, with its sign. */
function sharesOf(ladder) {
  const sums = new Float64Array(ladder.columns[0].labels.length);
  for (const [column, from, , weight] of ladder.links) if (!column) sums[from] += weight;
  const size = sums.reduce((all, one) => all + Math.abs(one), 0);
  return sums.map((one) => (size > 0 ? one / size : 0));
}

function drawNodes(pen, one, column, ladder, at, inks, only, shares) {
  const { x, gap } = at.places[column];
  const last = column === ladder.columns.length - 1;
  const align = column === 0 ? "right" : last ? "left" : "center";
  const step = Math.max(1, Math.ceil(LETTER / gap));
  pen.text(x, 12, one.title, { fill: inks.faint, size: 13, align: "center" });
  one.labels.forEach((label, i) => {
    const chosen = only && only.side === one.side && only.index === one.ids[i];
    const much = shares && Math.abs(shares[i]) >= 0.01;
    if (i % step && !chosen) return;
    const size = LETTER;
    const offset = { right: shares ? -48 : -8, left: 8, center: 0 }[align];
    if (align === "center") pen.rect(x - 14, at.y(column, i) - 8, 28, 16, css(inks.paper));
    drawLabel(
      pen,
      x + offset,
      at.y(column, i),
      label,
      one.blanks[i],
      { fill: inks.text, size, align, bold: chosen || (much && Math.abs(shares[i]) >= 0.1) },
      inks.faint,
    );
    if (much)
      pen.text(x - 8, at.y(column, i), percent(shares[i]), {
        fill: inks.faint,
        size,
        align: "right",
      });
  });
}

// --- legend -------------------------------------------------------------------------------------

export function drawLegend(pen, x, y, view, most, inks) {
  const signed = view.state.colour !== "absolute";
  const steps = 60;
  for (let i = 0; i < steps; i++) {
    const value = signed ? (i / (steps - 1)) * 2 - 1 : i / (steps - 1);
    pen.rect(x + i * 2, y, 2.2, 10, css(shade(value, 1, inks)));
  }
  const amount = (v) => (view.state.colour === "share" ? `${(100 * v).toPrecision(3)}%` : form(v));
  pen.text(x, y + 19, signed ? `−${amount(most)}` : "0", { fill: inks.text, size: 13 });
  pen.text(x + steps * 2, y + 19, amount(most), { fill: inks.text, size: 13, align: "right" });
}

export function legendText(view) {
  const way = wayOf(view.state.map) && ` through ${wayOf(view.state.map)}`;
  const what = {
    value: "signed value",
    absolute: "magnitude; the sign is not shown",
    share: view.isPlayers
      ? "% of what moved the token, by head; orange holds it back"
      : isAttention(view.flow)
        ? "% of the token's attention"
        : `% of what moved the token${way}; orange holds it back`,
  };
  const coarse = view.flow.quantised.length
    ? `; ${view.flow.quantised.join(", ")} stored as 8-bit numbers (within 0.4% of a row's largest)`
    : "";
  return `${what[view.state.colour]}${coarse}`;
}
