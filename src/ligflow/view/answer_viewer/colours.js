// One signed scale for all that is coloured: blue speaks for the answer, orange against it; small ones are lifted.

import { css, shade } from "../viewer/pens.js";

const lifted = (value, full) => Math.sign(value) * Math.sqrt(Math.min(1, Math.abs(value) / full));

/** The colour of a relevance where `full` has the full colour. */
export const tone = (value, full, inks) => css(shade(lifted(value, full), 1, inks));

/** The colour of letters on this colour: whichever can be read. */
export function letterOn(value, full, inks) {
  const [red, green, blue] = shade(lifted(value, full), 1, inks);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 120 ? "#0b0d10" : "#ffffff";
}

/** Whether a relevance gets lines where patterns are asked for: it speaks against, and not just by a trace. */
export const isAgainst = (value, full) => value < -0.01 * full;

/** A cell of a picture: its colour, and where patterns are asked for lines over what speaks against. */
export function drawCell(pen, x, y, width, height, value, { full, inks, patterns }) {
  pen.rect(x, y, width, height, tone(value, full, inks));
  if (patterns && isAgainst(value, full)) pen.hatch(x, y, width, height, inks.faint);
}

/** The legend: from what speaks most against to what speaks most for. */
export function drawScale(pen, x, y, width, { full, inks, patterns }) {
  const steps = 41;
  for (let step = 0; step < steps; step++) {
    const share = (2 * step) / (steps - 1) - 1;
    const value = Math.sign(share) * share * share * full;
    drawCell(pen, x + (step * width) / steps, y, width / steps + 0.5, 10, value, { full, inks, patterns: false });
  }
  if (patterns) pen.hatch(x, y, width / 2, 10, inks.faint);
}
