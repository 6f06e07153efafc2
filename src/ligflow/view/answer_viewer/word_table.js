// The words by size, with their shares and errors.

import { make } from "../viewer/elements.js";
import { fitted } from "../viewer/pens.js";
import { drawCell } from "./colours.js";
import { shareOf, signed } from "./numbers.js";

const FIRST = 12;

/** Words that move, the strongest first: `{ unit, word, relevance, error }`. */
export function wordsBySize(data) {
  const sum = (unit, values) => unit.tokens.reduce((total, place) => total + values[place], 0);
  return data.units
    .map((unit, word) => ({ unit, word, relevance: sum(unit, data.relevance), error: sum(unit, data.error) }))
    .filter(({ unit }) => !unit.kept)
    .sort((a, b) => Math.abs(b.relevance) - Math.abs(a.relevance));
}

/** How far the bars go to the left, and to the right. */
const extent = (every) => [
  -Math.min(0, ...every.map((each) => each.relevance)),
  Math.max(1e-12, ...every.map((each) => each.relevance)),
];

/** The view of words by size: a bar to the right for what speaks for the answer, to the left for what speaks against. */
export function wordTable(app) {
  const element = make("div", { className: "bysize" });
  let isOpen = false;
  let buttons = new Map();
  function draw({ data, inks }) {
    const every = wordsBySize(data);
    const [against, most] = extent(every);
    const shown = isOpen ? every : every.slice(0, FIRST);
    buttons = new Map();
    const rows = shown.map(({ unit, word, relevance }) => {
      const bar = make("span", { className: relevance < 0 ? "bar against" : "bar" });
      bar.style.width = `${(96 * Math.abs(relevance)) / (most + against)}%`;
      bar.style[relevance < 0 ? "right" : "left"] =
        `${(96 * (relevance < 0 ? most : against)) / (most + against) + 2}%`;
      bar.style.background = `rgb(${relevance < 0 ? inks.negative : inks.positive})`;
      const button = make(
        "button",
        {
          type: "button",
          onclick: () => app.pin({ word }),
          onpointerenter: () => app.point({ word }),
          onpointerleave: () => app.point(),
        },
        make("span", { className: "name" }, unit.label),
        make("span", { className: "bars" }, bar),
        make("span", { className: "number" }, signed(relevance)),
        make("span", { className: "number faint" }, shareOf(relevance / data.scale)),
      );
      buttons.set(word, button);
      return button;
    });
    const left = every.slice(FIRST);
    const sum = left.reduce((total, each) => total + each.relevance, 0);
    const more = make(
      "button",
      {
        type: "button",
        className: "more",
        onclick: () => {
          isOpen = !isOpen;
          draw(app.scene());
        },
      },
      isOpen ? "Show the strongest alone" : `${left.length} more, ${signed(sum)} together`,
    );
    element.replaceChildren(...rows, ...(left.length ? [more] : []));
    mark(app.scene());
  }
  function mark({ at }) {
    for (const [word, button] of buttons) button.classList.toggle("marked", word === at.word);
  }
  return {
    ...{ id: "words", title: "Which words mattered", element, draw, mark },
    caption: ({ data }) =>
      `By size; shares are of all that speaks for and against. ${data.page.caveat[0].toUpperCase()}${data.page.caveat.slice(1)}.`,
    picture: (pen, scene) => {
      const every = wordsBySize(scene.data).slice(0, 30);
      const [against, most] = extent(every);
      const origin = 150 + (300 * against) / (most + against);
      every.forEach(({ unit, relevance }, i) => {
        const [y, width] = [8 + 22 * i, (300 * Math.abs(relevance)) / (most + against)];
        const name = fitted(unit.label, 134, 13);
        pen.text(140, y + 8, name, { fill: scene.inks.text, size: 13, align: "right" });
        drawCell(pen, relevance < 0 ? origin - width : origin, y, width, 16, Math.sign(relevance) * scene.full, scene);
        const numbers = `${signed(relevance)}  ${shareOf(relevance / scene.data.scale)}`;
        pen.text(462, y + 8, numbers, { fill: scene.inks.text, size: 12 });
      });
      return { width: 580, height: 16 + 22 * every.length };
    },
    table: ({ data }) => [
      [data.page.unit, "position", "relevance", "share", "estimated error", "kept"],
      ...data.units.map((unit) => {
        const sum = (values) => unit.tokens.reduce((total, place) => total + values[place], 0);
        const relevance = sum(data.relevance);
        return [unit.label, unit.tokens[0], relevance, relevance / data.scale, sum(data.error), unit.kept ? 1 : 0];
      }),
    ],
  };
}
