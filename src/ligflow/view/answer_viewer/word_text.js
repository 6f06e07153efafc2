// The text, each word on the colour of its relevance; a template and long runs that say nothing are folded.

import { make } from "../viewer/elements.js";
import { isAgainst, letterOn, tone } from "./colours.js";
import { shareOf, withShare } from "./numbers.js";
import { byUnit } from "./prediction_data.js";

/** The tokens of a chat's template: in none of its turns. */
function templateOf(data) {
  const rest = (data.page.spans.turns || []).find(([name]) => name === "the rest");
  return new Set(rest ? rest[1] : []);
}

/** The running text: words that can be pointed at, pinned, and walked through with the arrows. */
export function wordText(app, tell) {
  const element = make("p", {
    className: "running",
    role: "listbox",
    ariaLabel: "The text; arrows move from word to word",
  });
  let words = new Map();
  let known = null;
  let unfolded = false;

  const wordOf = (event) => {
    const span = event.target.closest?.("[data-word]");
    return span ? Number(span.dataset.word) : -1;
  };
  element.addEventListener("pointerover", (event) => {
    const word = wordOf(event);
    if (word < 0) return;
    app.point({ word });
    tell(event, wordSaid(app.scene().data, word));
  });
  element.addEventListener("pointerleave", (event) => {
    app.point();
    tell(event);
  });
  element.addEventListener("click", (event) => {
    const word = wordOf(event);
    if (word >= 0) app.pin({ word });
  });
  element.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by && event.key !== "Escape") return;
    event.preventDefault();
    const { data, state } = app.scene();
    const word = by ? Math.max(0, Math.min(data.units.length - 1, state.word + by)) : -1;
    app.set({ word });
    words.get(word)?.[0].focus();
  });

  function build(data) {
    words = new Map();
    const template = unfolded ? new Set() : templateOf(data);
    const parts = [];
    let folded = [];
    const close = () => {
      if (folded.length)
        parts.push(
          foldOf(data, folded, () => {
            unfolded = true;
            known = null;
            app.set({});
          }),
        );
      folded = [];
    };
    data.pieces.forEach((piece, place) => {
      if (template.has(place)) {
        folded.push(place);
        return;
      }
      close();
      const blank = piece.match(/^ */)[0];
      const span = make("span", { role: "option" }, piece.slice(blank.length));
      span.dataset.word = data.unitOf[place];
      if (data.kept[place]) span.classList.add("kept");
      const own = words.get(data.unitOf[place]) || [];
      words.set(data.unitOf[place], [...own, span]);
      parts.push(place ? blank : "", span, piece.endsWith("⏎") ? "\n" : "");
    });
    close();
    element.replaceChildren(...parts);
  }

  function draw(scene) {
    const { data, full, inks, patterns } = scene;
    const key = data.tokens.join("\0");
    if (known !== key) build(data);
    known = key;
    const values = byUnit(data, data.relevance);
    element.classList.toggle("long", data.units.length > 300);
    for (const [word, spans] of words)
      for (const span of spans) {
        if (span.classList.contains("kept")) continue;
        span.style.backgroundColor = tone(values[word], full, inks);
        span.style.color = letterOn(values[word], full, inks);
        span.classList.toggle("against", patterns && isAgainst(values[word], full));
      }
    mark(scene);
    if (scene.state.word >= 0) inSight(words.get(scene.state.word)?.[0]);
  }

  function inSight(span) {
    if (!span || element.scrollHeight <= element.clientHeight) return;
    const top = span.offsetTop - element.offsetTop;
    if (top < element.scrollTop || top > element.scrollTop + element.clientHeight - 30)
      element.scrollTop = top - element.clientHeight / 2;
  }

  let marked = [];
  function mark({ at, state }) {
    for (const span of marked) {
      span.classList.remove("marked");
      span.ariaSelected = "false";
    }
    marked = words.get(at.word) || [];
    for (const span of marked) {
      span.classList.add("marked");
      span.ariaSelected = "true";
    }
    const first = element.querySelector('[tabindex="0"]');
    const next = words.get(Math.max(0, state.word))?.[0] || words.values().next().value?.[0];
    if (first !== next) {
      first?.removeAttribute("tabindex");
      if (next) next.tabIndex = 0;
    }
  }
  app.connect(draw, mark);
  return element;
}

function foldOf(data, places, open) {
  const sum = places.reduce((total, place) => total + data.relevance[place], 0);
  const title = "tokens of the chat's template; click to see all";
  return make(
    "button",
    { type: "button", className: "fold", title, onclick: open },
    `… ${places.length} of the template, ${shareOf(sum / data.scale)}`,
  );
}

/** A word in numbers. */
export function wordSaid(data, word) {
  const unit = data.units[word];
  if (unit.kept) return [`‘${unit.label}’ is kept: the same in both runs`];
  const sum = (values) => unit.tokens.reduce((total, place) => total + values[place], 0);
  return [
    `‘${unit.label}’: ${withShare(data, sum(data.relevance))}`,
    `estimated error ${sum(data.error).toPrecision(1)}`,
  ];
}
