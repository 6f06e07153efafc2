// What is chosen on the page, as text for its address and back.

import { partOf } from "./parts.js";

const START = {
  prediction: 0,
  beside: -1, // the first of the others
  rows: "",
  word: -1,
  layer: -1,
  head: "",
  part: "all",
  from: 0,
  flow: 50,
  sight: "", // of the flow: zoom, and word and row in the middle; all of it, where none is said
  patterns: 0,
  theme: "",
};
const CHOSEN = {
  rows: /^(\d+(-\d+)?)?$/,
  head: /^(\d+|x\d+|mlp)?$/,
  part: /^(all|value|key|query)$/,
  sight: /^(\d{1,4}(\.\d{1,6})?(_-?\d{1,7}(\.\d{1,6})?){2})?$/,
  theme: /^(light|dark)?$/,
};

/** The address of a state: what differs from how a page opens. */
export const addressOf = (state) =>
  new URLSearchParams(
    Object.keys(START)
      .filter((key) => state[key] !== START[key])
      .map((key) => [key, String(state[key])]),
  ).toString();

/** The state of an address; what it cannot mean is left out. */
export function stateOf(address) {
  const state = { ...START };
  for (const [key, text] of new URLSearchParams(address)) {
    if (!(key in START)) continue;
    if (key in CHOSEN ? CHOSEN[key].test(text) : /^-?\d{1,9}$/.test(text))
      state[key] = key in CHOSEN ? text : Number(text);
  }
  return state;
}

/** The same within what there is: predictions, rows of the answer, words, layers and heads. */
export function fittedState(state, groups, data) {
  const next = { ...state };
  if (!groups[next.prediction]) next.prediction = 0;
  if (!groups[next.beside] || next.beside === next.prediction) next.beside = -1;
  const count = groups[next.prediction].rows.length;
  const [first, last] = rowsOfState(next, count);
  next.rows = first === 0 && last === count - 1 ? "" : first === last ? `${first}` : `${first}-${last}`;
  if (!data.units[next.word]) next.word = -1;
  if (!data.layers.includes(next.layer)) Object.assign(next, { layer: -1, head: "" });
  if (!partOf(data, next.layer, next.head)) next.head = "";
  next.from = Math.max(0, Math.min(data.units.length - 1, next.from));
  next.flow = Math.max(1, Math.min(100, next.flow));
  next.patterns = next.patterns ? 1 : 0;
  return next;
}

/** The first and the last row of an answer that are chosen. */
export function rowsOfState(state, count) {
  if (!state.rows) return [0, count - 1];
  const [first, last = first] = state.rows.split("-").map(Number);
  return first < count && last < count && first <= last ? [first, last] : [0, count - 1];
}
