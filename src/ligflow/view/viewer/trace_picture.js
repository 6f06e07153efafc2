// The picture of a trace: columns are depths, the input on the left as in the ladder; rows are tokens.

import { LABEL, LETTER, LINKS } from "./map_pictures.js";
import { css, shade } from "./pens.js";
import { cut, form } from "./wording.js";

const CAPTION = 560; // pixels that the longest caption needs

export const depthName = (found, depth) =>
  depth < found.layers.length ? `after layer ${found.layers[depth]}` : "input";

/** Fitted to the width: columns come closer, and their boxes narrower, as layers are more. */
export function traceLayout(found, width) {
  const longest = Math.max(6, ...found.labels.map((label) => label.length));
  const [left, top] = [24 + 7.2 * Math.min(longest, LABEL), 26];
  const pitch = Math.max(14, Math.min(150, (width - left - 70) / found.layers.length));
  const box = Math.min(30, pitch * 0.6);
  const gap = Math.max(3, Math.min(20, 640 / found.labels.length));
  const x = (depth) => left + (found.layers.length - depth) * pitch;
  return {
    left,
    top,
    box,
    gap,
    pitch,
    x,
    y: (token) => top + (token + 0.5) * gap,
    width: Math.max(left + found.layers.length * pitch + box + 36, Math.min(width, left + CAPTION)),
    height: top + gap * found.labels.length + 24,
  };
}

export function drawTrace(pen, found, at, inks) {
  const { box, gap, top } = at;
  const edges = found.edges.slice(0, LINKS);
  const link = (depth, target, source, ...look) =>
    pen.curve(at.x(depth + 1) + box, at.y(source), at.x(depth), at.y(target), ...look);
  for (const [depth, target, source, held] of [...edges].reverse()) {
    const strength = Math.min(1, Math.abs(held));
    link(
      depth,
      target,
      source,
      css(held > 0 ? inks.positive : inks.negative),
      0.6 + 10 * strength,
      0.2 + 0.5 * strength,
    );
  }
  for (const { nodes } of found.paths) {
    for (const [depth, source] of nodes.slice(1).entries()) link(depth, nodes[depth], source, inks.mark, 1, 0.55);
  }
  found.relevance.forEach((row, depth) => {
    const layer = found.layers[depth];
    const name =
      at.pitch >= 84 || layer === undefined ? depthName(found, depth) : at.pitch >= 52 ? `layer ${layer}` : `${layer}`;
    pen.text(at.x(depth) + box / 2, 10, name, { fill: inks.faint, size: LETTER, align: "center" });
    pen.rect(at.x(depth), top, box, gap * row.length, css(inks.paper));
    for (const [token, held] of row.entries()) drawHeld(pen, held, at.x(depth), at.y(token), at, found.most, inks);
    pen.frame(at.x(depth), top, box, gap * row.length, inks.line);
  });
  const step = Math.max(1, Math.ceil(LETTER / gap));
  found.labels.forEach((label, token) => {
    const chosen = token === found.start;
    if (chosen || (token % step === 0 && Math.abs(token - found.start) >= step))
      pen.text(at.left - 8, at.y(token), cut(label, LABEL), {
        fill: inks.text,
        size: LETTER,
        align: "right",
        bold: chosen,
      });
  });
  pen.text(at.left, at.height - 10, caption(found, edges.length), { fill: inks.faint, size: LETTER });
}

/** Relevance in per cent on its colour. */
function drawHeld(pen, held, x, y, { box, gap }, most, inks) {
  pen.rect(x + 1, y - gap / 2 + 0.5, box - 2, Math.max(1, gap - 1), css(shade(held, most, inks)));
  const text = Math.round(100 * held);
  if (gap >= LETTER && box >= 24 && text)
    pen.text(x + box / 2, y, String(text), {
      fill: Math.abs(held) > 0.6 * most ? css(inks.paper) : inks.text,
      size: LETTER,
      align: "center",
    });
}

const caption = (found, drawn) =>
  `relevance in %; ${found.edges.length > drawn ? `the ${drawn} strongest of ${found.edges.length}` : drawn} edges from ${form(100 * found.cut)}%; thin lines: the ${found.paths.length} strongest paths`;
