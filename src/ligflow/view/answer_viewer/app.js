// What is shown and what is chosen: a state in the address, what is pointed at, and views that follow both.

import { INKS } from "../viewer/pens.js";
import { byUnit } from "./prediction_data.js";
import { addressOf, fittedState, rowsOfState, stateOf } from "./state.js";
import { sumOfRows } from "./summed_rows.js";

const NOTHING = { word: -1, layer: -1, head: "" };

/**
 * The page of `groups`, `[{ name, rows }]`: predictions, each with the rows of an answer, or one. `connect(draw, mark)`
 * tells a view of each new scene: `draw` after a choice, `mark` after something else is pointed at.
 *
 * A scene has `data` (the chosen prediction, or the sum of the chosen rows), `group`, `groups`, `state`, `at` (the word,
 * layer and head that are pointed at, or else pinned), `full` (the relevance of full colour), `inks`, `patterns`.
 */
export function answerApp(root, groups, fragment) {
  const views = [];
  const sums = new Map();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let state = {};
  let hover = NOTHING;
  let unwritten = 0; // a timer, where the address is behind the state

  function dataOf(wanted) {
    const number = groups[wanted.prediction] ? wanted.prediction : 0;
    const { rows } = groups[number];
    const [first, last] = rowsOfState(wanted, rows.length);
    const key = `${number} ${first} ${last}`;
    if (!sums.has(key)) sums.set(key, sumOfRows(rows.slice(first, last + 1)));
    return sums.get(key);
  }

  const fit = (wanted) => fittedState(wanted, groups, dataOf(wanted));

  function scene() {
    const data = dataOf(state);
    const theme = state.theme || (dark.matches ? "dark" : "light");
    data.full ||= byUnit(data, data.relevance).reduce((most, each) => Math.max(most, Math.abs(each)), 0) || 1;
    const pointed = Object.fromEntries(Object.entries(hover).filter(([key, value]) => value !== NOTHING[key]));
    const pinned = { word: state.word, layer: state.layer, head: state.head };
    const at = pointed.layer === undefined ? { ...pinned, ...pointed } : { ...pinned, head: "", ...pointed };
    const group = groups[state.prediction];
    return { data, group, groups, state, at, full: data.full, inks: INKS[theme], theme, patterns: !!state.patterns };
  }

  function draw() {
    const next = scene();
    root.dataset.theme = next.theme;
    for (const view of views) view.draw(next);
  }

  /** Chooses: `{ word, layer, head, prediction, rows, ... }`. A step back in the browser undoes it. */
  function set(change) {
    if (unwritten) write();
    const before = addressOf(state);
    const other = change.prediction !== undefined && change.prediction !== state.prediction;
    const tokens = dataOf(state).tokens.join("\0");
    state = fit({ ...state, ...(other ? { rows: "" } : {}), ...change });
    if (dataOf(state).tokens.join("\0") !== tokens) Object.assign(state, { word: -1, from: 0, sight: "" });
    hover = NOTHING;
    if (fragment && addressOf(state) !== before) history.pushState(null, "", `#${addressOf(state)}`);
    draw();
  }

  /** Keeps what no other view shows. The address follows after a while, since browsers bound how often it is written. */
  function keep(change) {
    state = fit({ ...state, ...change });
    if (fragment) unwritten ||= setTimeout(write, 300);
  }

  function write() {
    clearTimeout(unwritten);
    unwritten = 0;
    history.replaceState(null, "", `#${addressOf(state)}`);
  }

  /** Pins a word, a layer and a head, or unpins what is pinned already. */
  function pin(change) {
    const isPinned = Object.entries(change).every(([key, value]) => state[key] === value);
    set(isPinned ? Object.fromEntries(Object.keys(change).map((key) => [key, NOTHING[key]])) : change);
  }

  /** What is pointed at: `{ word }`, `{ layer, head }` or both; nothing without an argument. */
  function point(change = {}) {
    const next = { ...NOTHING, ...change };
    if (Object.keys(NOTHING).every((key) => next[key] === hover[key])) return;
    hover = next;
    const now = scene();
    for (const view of views) view.mark(now);
  }

  function fromAddress() {
    clearTimeout(unwritten);
    unwritten = 0;
    state = fit(stateOf(fragment ? location.hash.slice(1) : ""));
    draw();
  }

  const listening = new AbortController();
  const { signal } = listening;
  dark.addEventListener("change", draw, { signal });
  window.addEventListener("popstate", fromAddress, { signal });
  window.addEventListener("hashchange", fromAddress, { signal });
  let width = 0;
  const resized = new ResizeObserver(() => {
    if (root.clientWidth !== width && width) draw();
    width = root.clientWidth;
  });
  resized.observe(root);
  return {
    ...{ set, keep, pin, point, scene },
    connect: (drawn, marked = () => {}) => views.push({ draw: drawn, mark: marked }),
    start: fromAddress,
    destroy: () => {
      listening.abort();
      clearTimeout(unwritten);
      resized.disconnect();
    },
  };
}
