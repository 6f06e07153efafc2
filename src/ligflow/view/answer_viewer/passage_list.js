// Passages and turns as blocks with what each contributes, the strongest first.

import { make } from "../viewer/elements.js";
import { letterOn, tone } from "./colours.js";
import { shareOf, signed, withShare } from "./numbers.js";
import { spoken } from "./prediction_data.js";

const KINDS = ["passages", "turns"];
const LETTERS = 180;

/** Blocks of the text: `{ name, tokens, relevance }`, the strongest first. */
export function blocksOf(data) {
  const kind = KINDS.find((name) => data.page.spans[name]);
  if (!kind) return [];
  const sum = (places) => places.reduce((total, place) => total + data.relevance[place], 0);
  return data.page.spans[kind]
    .map(([name, tokens]) => ({ name, tokens, relevance: sum(tokens) }))
    .sort((a, b) => Math.abs(b.relevance) - Math.abs(a.relevance));
}

const textOf = (data, tokens) =>
  tokens
    .map((place) => data.pieces[place])
    .join("")
    .trim();

const nameOf = (data, name) => (name === "the rest" && data.page.spans.turns ? "the chat’s template" : spoken(name));

/** The view of passages or turns. */
export function passageList(app) {
  const element = make("ol", { className: "blocks" });
  const blockOf = (data, full, inks, { name, tokens, relevance }) => {
    const text = textOf(data, tokens);
    const strongest = tokens.reduce(
      (best, place) => (Math.abs(data.relevance[place]) > Math.abs(data.relevance[best]) ? place : best),
      tokens[0],
    );
    const share = make("span", { className: "share" }, shareOf(relevance / data.scale));
    share.style.background = tone(relevance, full, inks);
    share.style.color = letterOn(relevance, full, inks);
    return make(
      "li",
      {},
      make(
        "button",
        {
          type: "button",
          title: `${withShare(data, relevance)}; click for its strongest word`,
          onclick: () => app.set({ word: data.unitOf[strongest] }),
        },
        share,
        make("b", {}, nameOf(data, name)),
        make(
          "span",
          { className: "faint" },
          text.length > LETTERS ? `${text.slice(0, LETTERS)} … (${tokens.length} tokens)` : text,
        ),
      ),
    );
  };
  return {
    ...{ id: "passages", title: "Passages and turns", element },
    isEmpty: ({ data }) => !blocksOf(data).length,
    caption: ({ data }) => `What each contributes, best first; together ${signed(data.change)}.`,
    draw: ({ data, full, inks }) => {
      element.replaceChildren(...blocksOf(data).map((block) => blockOf(data, full, inks, block)));
    },
    mark: () => {},
    picture: (pen, { data, full, inks }) => {
      blocksOf(data).forEach(({ name, relevance }, i) => {
        pen.rect(0, 8 + 26 * i, 60, 20, tone(relevance, full, inks));
        pen.text(70, 18 + 26 * i, `${nameOf(data, name)}: ${withShare(data, relevance)}`, {
          fill: inks.text,
          size: 13,
        });
      });
      return { width: 480, height: 16 + 26 * blocksOf(data).length };
    },
    table: ({ data }) => [
      ["passage", "relevance", "share", "tokens"],
      ...blocksOf(data).map(({ name, tokens, relevance }) => [name, relevance, relevance / data.scale, tokens.length]),
    ],
  };
}
