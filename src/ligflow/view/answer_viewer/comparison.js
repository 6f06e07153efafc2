// Two predictions side by side: what each word holds in either, and the difference. Each adds up to its own change.

import { make } from "../viewer/elements.js";
import { fitted } from "../viewer/pens.js";
import { besideGroup, bothOf, unlike, wholeOf, wordsOfBoth } from "./beside.js";
import { drawCell } from "./colours.js";
import { plainly, signed } from "./numbers.js";
import { byUnit, spoken } from "./prediction_data.js";

const LISTED = 12;

/**
 * What words of both hold: `{ label, word, other, first, second, gap }`. One that a text does not have holds 0 of it;
 * words that both leave as they are are left out.
 */
export function comparedWords(one, two) {
  const [first, second] = [one, two].map((data) => byUnit(data, data.relevance));
  return wordsOfBoth(one, two)
    .filter(({ word, other }) => ![one.units[word], two.units[other]].every((unit) => !unit || unit.kept))
    .map(({ label, word, other }) => {
      const [a, b] = [word < 0 ? 0 : first[word], other < 0 ? 0 : second[other]];
      return { label, word, other, first: a, second: b, gap: a - b };
    });
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
  const [one, two] = bothOf(scene);
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
