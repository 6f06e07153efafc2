// What is known of one head or MLP: its numbers, and the prompts to which it gives most and least.

import { shareOf, signed } from "../answer_viewer/numbers.js";
import { make } from "../viewer/elements.js";
import { said } from "./measures.js";

/** The panel of a component; `part` is undefined before any is chosen. */
export function detail(data, part) {
  if (!part) return [make("p", { className: "faint" }, "Choose a point, or a row of the table, to see its examples.")];
  const rows = data.measures.map((measure, place) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", title: measure.about }, measure.name),
      make("td", {}, said(measure, part.values[place])),
    ),
  );
  const limit = data.limits[part.kind];
  return [
    make("h2", {}, part.name),
    make("p", {}, verdict(part, limit)),
    make("table", { className: "values" }, make("tbody", {}, ...rows)),
    make("h3", {}, "Examples, from its largest share down"),
    make(
      "p",
      { className: "faint" },
      "Each token on the colour of what this contributes there: blue for the answer, orange against it.",
    ),
    ...part.examples.map((example) => card(data.prompts[example.prompt], example)),
  ];
}

function verdict(part, limit) {
  const interval = part.low === null ? "no interval" : `95% interval ${shareOf(part.low)} to ${shareOf(part.high)}`;
  const way = part.carries === "for" ? "for the answer" : "against the answer";
  const carries = part.carries === "no" ? "Whether it carries the task cannot be told" : `It carries the task, ${way}`;
  return `${carries}: share ${shareOf(part.values[0])}, ${interval}; heads exchanged at random stay below ${shareOf(limit)}.`;
}

function card(prompt, example) {
  const full = Math.max(...example.relevance.map(Math.abs), Number.MIN_VALUE);
  const tokens = prompt.tokens.map((token, place) => tokenOf(token, example.relevance[place], full));
  const about = [`prompt ${example.prompt}`, prompt.place, prompt.group].filter((part) => part !== null).join(", ");
  const name = prompt.page === null ? about : make("a", { href: prompt.page }, about);
  return make(
    "article",
    { className: "example" },
    make("p", { className: "tokens" }, ...tokens),
    make(
      "p",
      {},
      `→ ${prompt.question}, share ${shareOf(example.share)}, change of the score ${signed(prompt.change)}`,
    ),
    make("p", { className: "faint" }, name),
  );
}

function tokenOf(token, value, full) {
  const element = make("span", { title: signed(value) }, token);
  const share = Math.round(80 * Math.sqrt(Math.abs(value) / full));
  const colour = value > 0 ? "--for" : "--against";
  if (share > 0) element.style.background = `color-mix(in srgb, var(${colour}) ${share}%, transparent)`;
  return element;
}
