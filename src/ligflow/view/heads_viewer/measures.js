// Measures of heads and MLPs: how their numbers are said, and where they stand on an axis.

import { shareOf, signed } from "../answer_viewer/numbers.js";

/** A value of a measure in words; a share in per cent, "none" where it is not defined. */
export function said(measure, value) {
  if (value === null || value === undefined) return "none";
  if (measure.unit === "count") return String(value);
  return measure.unit === "share" ? shareOf(value) : signed(value);
}

/** The ends of an axis: all values and 0, with a little room. */
export function extent(values) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const room = 0.06 * (high - low || 1);
  return [low - (low < 0 ? room : 0.3 * room), high + room];
}

/** Round numbers between two ends, some six of them. */
export function ticks([low, high]) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, place) => (first + place) * step);
}
