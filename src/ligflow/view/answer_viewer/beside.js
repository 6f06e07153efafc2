// The prediction beside the one that is shown: which it is, whose words belong together, and whether both can be subtracted.

import { aligned } from "../viewer/alignment.js";
import { byUnit } from "./prediction_data.js";
import { sumOfRows } from "./summed_rows.js";

const SAID = { logprob: "a log-probability", logit: "a logit" };

/** The prediction beside the one that is shown: the one chosen, or the first of the others; null where there is none. */
export function besideGroup({ groups, state }) {
  const number = state.beside >= 0 ? state.beside : state.prediction === 0 ? 1 : 0;
  return groups[number] ? { number, ...groups[number] } : null;
}

/** All rows of a prediction, added up once. */
const wholes = new WeakMap();
export function wholeOf({ rows }) {
  if (!wholes.has(rows)) wholes.set(rows, sumOfRows(rows));
  return wholes.get(rows);
}

/** Both predictions of a scene. */
export const bothOf = (scene) => [scene.data, wholeOf(besideGroup(scene))];

/** Why two predictions have no difference, or "". */
export function unlike(one, two) {
  const [a, b] = [one, two].map((data) => data.meta.settings?.score);
  return a === b ? "" : `one shares out ${SAID[a] || "another score"}, the other ${SAID[b] || "another score"}`;
}

/** The largest relevance of a word: it has the full colour. */
export const largestWord = (data) =>
  byUnit(data, data.relevance).reduce((most, each) => Math.max(most, Math.abs(each)), 0);

const unitText = (data, unit) =>
  unit.tokens
    .map((place) => data.tokens[place])
    .join("")
    .trim();

const alignments = new WeakMap();

/** Words of both in the order of the texts: `{ label, word, other }`, places in either, -1 where one has no such word. */
export function wordsOfBoth(one, two) {
  if (!alignments.has(one)) alignments.set(one, new WeakMap());
  if (!alignments.get(one).has(two)) alignments.get(one).set(two, alignedWords(one, two));
  return alignments.get(one).get(two);
}

function alignedWords(one, two) {
  const pairs = aligned(...[one, two].map((data) => data.units.map((unit) => unitText(data, unit))));
  const words = [];
  const add = (word, other) => {
    const [own, its] = [one.units[word], two.units[other]];
    const label = own && its && own.label !== its.label ? `${own.label} / ${its.label}` : (own || its).label;
    words.push({ label, word: own ? word : -1, other: its ? other : -1 });
  };
  let [i, j] = [0, 0];
  for (const [word, other] of [...pairs, [one.units.length, two.units.length]]) {
    while (i < word) add(i++, -1);
    while (j < other) add(-1, j++);
    if (word < one.units.length) add(i++, j++);
  }
  return words;
}
