// The names of words under the columns of a picture: level where they have room, else on end.

import { fitted, widthOf } from "../viewer/pens.js";

const [SIZE, LONGEST, LEVEL] = [12, 100, 52]; // letters, the longest name on end, the narrowest column of a level one

/** The room that the names of the shown words take, for columns of a width. */
export function namesHeight(data, { from, count }, cell) {
  if (cell >= LEVEL) return 24;
  const longest = Math.max(...data.units.slice(from, from + count).map((unit) => widthOf(unit.label, SIZE)));
  return 14 + Math.min(LONGEST, longest);
}

/** Draws them: `at` has `from`, `count`, `cell`; the first column begins at x, the names at y. */
export function drawNames(pen, data, at, x, y, inks) {
  for (let i = 0; i < at.count; i++) {
    const { label } = data.units[at.from + i];
    const middle = x + (i + 0.5) * at.cell;
    const name = { fill: inks.text, size: SIZE };
    if (at.cell >= LEVEL) pen.text(middle, y + 12, fitted(label, at.cell - 2, SIZE), { ...name, align: "center" });
    else pen.text(middle, y + 6, fitted(label, LONGEST, SIZE), { ...name, align: "right", turn: -Math.PI / 2 });
  }
}
