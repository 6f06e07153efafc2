// Two predictions side by side: what each word holds in either, and the difference. Each adds up to its own change.

import { aligned } from "../viewer/alignment.js";
import { make } from "../viewer/elements.js";
import { fitted } from "../viewer/pens.js";
import { drawCell } from "./colours.js";
import { plainly, signed } from "./numbers.js";
import { byUnit, spoken } from "./prediction_data.js";
import { sumOfRows } from "./summed_rows.js";

const LISTED = 12;
const SAID = { logprob: "a log-probability", logit: "a logit" };

/** The prediction beside the one that is shown: the one chosen, or the first of the others; null where there is none. */
function besideGroup({ groups, state }) {
  const number = state.beside >= 0 ? state.beside : state.prediction === 0 ? 1 : 0;
  return groups[number] ? { number, ...groups[number] } : null;
}

/** All rows of a prediction, added up once. */
const wholes = new WeakMap();
function wholeOf({ rows }) {
  if (!wholes.has(rows)) wholes.set(rows, sumOfRows(rows));
  return wholes.get(rows);
}

const unitText = (data, unit) =>
  unit.tokens
    .map((place) => data.tokens[place])
    .join("")
    .trim();

/**
 * Words in the order of the texts: `{ label, word, other, first, second, gap }`. `word` and `other` are places in the two
 * predictions, -1 where one has no such word, which then holds 0 of it. Words that both leave as they are are left out.
 */
export function comparedWords(one, two) {
  const [first, second] = [one, two].map((data) => byUnit(data, data.relevance));
  const pairs = aligned(...[one, two].map((data) => data.units.map((unit) => unitText(data, unit))));
  const rows = [];
  const add = (word, other) => {
    const [own, its] = [one.units[word], two.units[other]];
    if ([own, its].every((unit) => !unit || unit.kept)) return;
    const label = own && its && own.label !== its.label ? `${own.label} / ${its.label}` : (own || its).label;
    const [a, b] = [own ? first[word] : 0, its ? second[other] : 0];
    rows.push({ label, word: own ? word : -1, other: its ? other : -1, first: a, second: b, gap: a - b });
  };
  let [i, j] = [0, 0];
  for (const [word, other] of [...pairs, [one.units.length, two.units.length]]) {
    while (i < word) add(i++, -1);
    while (j < other) add(-1, j++);
    if (word < one.units.length) add(i++, j++);
  }
  return rows;
}

/** Why two predictions have no difference, or "". */
function unlike(one, two) {
  const [a, b] = [one, two].map((data) => data.meta.settings?.score);
  return a === b ? "" : `one shares out ${SAID[a] || "another score"}, the other ${SAID[b] || "another score"}`;
}

const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);
const bySize = (rows) => [...rows].sort((a, b) => Math.abs(b.gap) - Math.abs(a.gap));
const mostOf = (rows) => Math.max(1e-12, ...rows.flatMap((row) => [row.first, row.second].map(Math.abs)));

/** The view, where the page has several predictions. */
export function comparison(app) {
  const choice = make("nav", { className: "choices", ariaLabel: "Beside which prediction" });
  const list = make("div", { className: "compared-words" });
  const element = make("div", {}, choice, list);
  let isOpen = false;
  let buttons = [];

  function draw(scene) {
    const { data, groups, state, inks } = scene;
    const other = besideGroup(scene);
    const two = wholeOf(other);
    choice.hidden = groups.length < 3;
    choice.replaceChildren(
      "beside ",
      ...groups.flatMap(({ name }, i) =>
        i === state.prediction
          ? []
          : [
              make(
                "button",
                { type: "button", ariaPressed: String(i === other.number), onclick: () => app.set({ beside: i }) },
                spoken(name),
              ),
            ],
      ),
    );
    const rows = bySize(comparedWords(data, two));
    const isUnlike = unlike(data, two) !== "";
    const most = mostOf(rows);
    const shown = isOpen ? rows : rows.slice(0, LISTED);
    const names = ["", spoken(scene.group.name), spoken(other.name), isUnlike ? "" : "difference"];
    const cells = names.map((name) => make("span", { className: "faint" }, name));
    buttons = shown.map((row) => [row.word, rowOf(app, row, most, inks, isUnlike)]);
    const left = rows.slice(LISTED);
    const more = isOpen ? "Show the strongest alone" : `${left.length} more, ${leftWords(left, isUnlike)}`;
    const toggle = () => {
      isOpen = !isOpen;
      draw(app.scene());
    };
    list.replaceChildren(
      make("div", { className: "row" }, ...cells),
      ...buttons.map(([, button]) => button),
      ...(left.length ? [make("button", { type: "button", className: "more", onclick: toggle }, more)] : []),
    );
    mark(scene);
  }

  function mark({ at }) {
    for (const [word, button] of buttons) button.classList.toggle("marked", word >= 0 && word === at.word);
  }

  return {
    ...{ id: "comparison", title: "Two predictions side by side", element, draw, mark, caption, picture, table },
    isEmpty: ({ groups }) => groups.length < 2,
  };
}

function rowOf(app, { label, word, first, second, gap }, most, inks, isUnlike) {
  const bar = (value) => {
    const own = make("span", { className: "bar" });
    own.style.width = `${(100 * Math.abs(value)) / most}%`;
    own.style.background = `rgb(${value < 0 ? inks.negative : inks.positive})`;
    return make("span", { className: "cell" }, make("span", { className: "number" }, signed(value)), own);
  };
  const isOwn = word >= 0; // a word that only the other has cannot be pinned here
  return make(
    "button",
    {
      type: "button",
      className: "row",
      disabled: !isOwn,
      title: isOwn ? "Pin this word in every view" : "Only the prediction beside has this word",
      onclick: () => app.pin({ word }),
      onpointerenter: () => isOwn && app.point({ word }),
      onpointerleave: () => app.point(),
    },
    make("span", { className: "name" }, label),
    bar(first),
    bar(second),
    make("span", { className: "number" }, isUnlike ? "" : signed(gap)),
  );
}

const leftWords = (left, isUnlike) => {
  const [first, second] = [sumOf(left.map((row) => row.first)), sumOf(left.map((row) => row.second))];
  return `${signed(first)} and ${signed(second)} together${isUnlike ? "" : `, ${signed(first - second)} apart`}`;
};

/** What stands beside what, that each adds up, and what a difference does not say. */
function caption(scene) {
  const other = besideGroup(scene);
  const [one, two] = [scene.data, wholeOf(other)];
  const added = (data) => `${signed(sumOf([...data.relevance]))} of a change of ${signed(data.change)}`;
  const reason = unlike(one, two);
  const texts = one.tokens.join("\0") === two.tokens.join("\0") ? "" : " The texts differ; words are aligned.";
  const compared = (data) =>
    `from ${plainly(data.referenceValue)} with ${spoken(data.page.reference)} to ${plainly(data.value)}`;
  return (
    `${spoken(scene.group.name)} (${compared(one)}) beside ${spoken(other.name)} (${compared(two)}). ` +
    `Each adds up by itself: ${added(one)}; ${added(two)}. ` +
    (reason
      ? `No difference is taken: ${reason}.`
      : `The differences add up to ${signed(sumOf([...one.relevance]) - sumOf([...two.relevance]))}; by size. A difference at a word does not say that the word made it.`) +
    texts
  );
}

function picture(pen, scene) {
  const rows = bySize(comparedWords(scene.data, wholeOf(besideGroup(scene))));
  const shown = rows.slice(0, 30);
  const isUnlike = unlike(scene.data, wholeOf(besideGroup(scene))) !== "";
  const most = mostOf(rows);
  const words = { fill: scene.inks.text, size: 13 };
  const faint = { fill: scene.inks.faint, size: 13 };
  const names = [scene.group.name, besideGroup(scene).name, isUnlike ? "" : "difference"];
  names.forEach((name, i) => {
    pen.text(160 + 200 * i, 12, fitted(spoken(name), 190, 13), faint);
  });
  shown.forEach(({ label, first, second, gap }, i) => {
    const y = 26 + 22 * i;
    pen.text(150, y + 8, fitted(label, 140, 13), { ...words, align: "right" });
    for (const [x, value] of [
      [160, first],
      [360, second],
    ]) {
      drawCell(pen, x, y, (110 * Math.abs(value)) / most, 16, Math.sign(value) * scene.full, scene);
      pen.text(x + (110 * Math.abs(value)) / most + 6, y + 8, signed(value), words);
    }
    if (!isUnlike) pen.text(560, y + 8, signed(gap), words);
  });
  const left = rows.length - shown.length;
  if (left) pen.text(160, 34 + 22 * shown.length, `${left} more, ${leftWords(rows.slice(30), isUnlike)}`, faint);
  return { width: 680, height: 46 + 22 * shown.length };
}

function table(scene) {
  const [one, two] = [scene.data, wholeOf(besideGroup(scene))];
  const isUnlike = unlike(one, two) !== "";
  const place = (data, word) => (word < 0 ? "" : data.units[word].tokens[0]);
  return [
    ["word", "position", "position beside", "relevance", "relevance beside", "difference"],
    ...comparedWords(one, two).map(({ label, word, other, first, second, gap }) => [
      ...[label, place(one, word), place(two, other)],
      ...[word < 0 ? "" : first, other < 0 ? "" : second, isUnlike ? "" : gap],
    ]),
  ];
}
