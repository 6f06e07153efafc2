// The controls: questions first, then layer and map, and the rest behind "More" in groups; each only where it does
// something, and each with its explanation.

import { make } from "./elements.js";
import { asideWords } from "./highlights.js";
import { lensOf } from "./lens.js";
import { mapsOf } from "./maps.js";
import { presetsOf } from "./presets.js";
import { AMOUNTS, besideOf, CHOICES, MOST_PATHS } from "./state.js";
import { entriesOf, isAttention, mapChoice } from "./wording.js";

const label = (words, why, ...children) =>
  make("label", { className: why ? "explained" : "" }, ...(words ? [`${words} `] : []), ...children);

function select(name, words, why, options, value, change) {
  const element = make(
    "select",
    { name, "aria-description": why, onchange: (event) => change(event.target.value) },
    ...options.map(([key, text]) =>
      make("option", { value: String(key), selected: String(key) === String(value) }, text),
    ),
  );
  return label(words, why, element);
}

function tick(name, words, why, value, change) {
  const box = make("input", {
    type: "checkbox",
    name,
    checked: !!value,
    "aria-description": why,
    onchange: (event) => change(event.target.checked ? 1 : 0),
  });
  return make("label", { className: "tick" }, box, ` ${words}`);
}

function numeric(name, words, why, value, max, change, unit = "") {
  const field = make("input", {
    type: "number",
    name,
    value: String(value),
    min: "0",
    max: String(max),
    "aria-description": why,
    onchange: (event) => change(Number(event.target.value) || 0),
  });
  return label(words, why, field, ...(unit ? [` ${unit}`] : []));
}

/** Replaces the children of an element; the control of the same name keeps the focus. */
function refill(element, children) {
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("name") : null;
  element.replaceChildren(...children);
  if (focused) element.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
}

/** The questions, as buttons. */
export function fillPresets(element, flows, state, set) {
  refill(
    element,
    presetsOf(flows, state).map(({ name, words, letters, why, change, chosen }) =>
      make(
        "button",
        {
          type: "button",
          name: `ask-${name}`,
          ariaPressed: String(chosen),
          "aria-description": why,
          onclick: () => set(change),
        },
        words,
        ...(letters ? [make("span", { className: "letters" }, ` ${letters}`)] : []),
      ),
    ),
  );
}

/** Fills what is in sight, the button "More", and the groups behind it. */
export function fillControls(parts, flows, state, set) {
  const entries = entriesOf(flows).map((name, i) => [i, name]);
  refill(parts.controls, inSight(flows, entries, state, set));
  refill(parts.moreButton, [
    make(
      "button",
      {
        type: "button",
        name: "more",
        ariaExpanded: String(!!state.more),
        "aria-description":
          "Special tokens, words, colours, filters, comparisons and the theme. The address remembers that it is open. Key o.",
        onclick: () => set({ more: state.more ? 0 : 1 }),
      },
      state.more ? "⚙ Less" : "⚙ More",
    ),
  ]);
  refill(parts.gear, moreOf(flows, entries, state, set));
  parts.gear.hidden = !state.more;
}

function inSight(flows, entries, state, set) {
  const flow = flows[state.flow];
  return [
    ...(flows.length > 1
      ? [
          select(
            "flow",
            "Text",
            "Which text, model or start is shown; this page holds several.",
            entries,
            state.flow,
            (v) => set({ flow: Number(v) }),
          ),
        ]
      : []),
    ...(flow.layers.length > 1
      ? [
          select(
            "layer",
            "Layer",
            "Layers follow each other: 0 is next to the input, the last one next to the answer. Keys [ and ].",
            flow.layers.map((l) => [l, l]),
            state.layer,
            (v) => set({ layer: Number(v) }),
          ),
        ]
      : []),
    ...(mapsOf(flow).length > 1
      ? [
          select(
            "map",
            "Map",
            "What is asked of the layer. In letters: z is what the layer gets, u what its heads put out, z′ what it makes of both. Keys , and .",
            mapsOf(flow).map((m) => [m, mapChoice(m)]),
            state.map,
            (v) => set({ map: v }),
          ),
        ]
      : []),
  ];
}

/** Controls under a name; nothing where there are none. */
const group = (name, controls) =>
  controls.length
    ? [make("fieldset", {}, make("legend", {}, name), make("div", { className: "controls" }, ...controls))]
    : [];

function moreOf(flows, entries, state, set) {
  const flow = flows[state.flow];
  return [
    ...group("Which tokens", tokens(flow, state, set)),
    ...group("How it is drawn", drawing(flow, state, set)),
    ...group("Compare with", comparison(flows, entries, state, set)),
    ...(state.tab === "trace" ? group("Followed down to the input", following(entries, state, set)) : []),
    ...group("This page", [
      select(
        "theme",
        "Theme",
        "Light or dark; by itself the page follows the system.",
        CHOICES.theme.map((name) => [name, name || "system"]),
        state.theme,
        (v) => set({ theme: v }),
      ),
    ]),
  ];
}

function tokens(flow, state, set) {
  const aside = asideWords(lensOf(flow, { ...state, special: 1 }));
  const wholes = flow.meta.words && flow.meta.word_labels?.length < flow.tokens.length;
  const isPlayers = state.map === "u2z";
  return [
    ...(aside && !isPlayers
      ? [
          tick(
            "special",
            "hide special tokens",
            `Hides ${aside} as sources: such tokens often hold most of every row. How much they hold is told under the heading. Key s.`,
            state.special,
            (v) => set({ special: v }),
          ),
        ]
      : []),
    ...(wholes
      ? [
          tick("words", "whole words", "Takes the tokens of a word as one. Key w.", state.words, (v) =>
            set({ words: v }),
          ),
        ]
      : []),
    ...(flow.tokens.length > 1 && !isPlayers
      ? [
          numeric(
            "prefix",
            "hide the first",
            "Hides so many tokens at the beginning as sources, such as a system prompt.",
            state.prefix,
            flow.tokens.length - 1,
            (v) => set({ prefix: v }),
            "tokens",
          ),
          tick("diagonal", "hide the diagonal", "Hides what each token gives to itself. Key d.", state.diagonal, (v) =>
            set({ diagonal: v }),
          ),
        ]
      : []),
  ];
}

const FILTERS = {
  threshold: ["from", "%", "Shares of a row from so many per cent are drawn."],
  top: ["the strongest", "of a row", "So many squares of each row are drawn."],
  mass: ["until", "% of a row", "The strongest squares of each row, until they hold so much of it."],
};

function drawing(flow, state, set) {
  const [before, unit, why] = FILTERS[state.filter] || [];
  return [
    ...(["composed", "difference"].includes(state.map) || besideUses(state)
      ? [
          select(
            "rule",
            "Heads joined by",
            "How what heads read and what they write are joined. Conserving: the sources of a row add up to how far its target moved. Product: the paper’s own, which does not add up.",
            [
              ["conserving", "conserving"],
              ["product", "product (of the paper)"],
            ],
            state.rule,
            (v) => set({ rule: v }),
          ),
        ]
      : []),
    select(
      "colour",
      "Colour",
      isAttention(flow)
        ? "A share is a part of a row’s attention, of the sources that are shown; a value and a magnitude are the weight itself. Key c."
        : "A share is a part of all that moved a row’s target; a value is in the units of the model’s vectors; a magnitude leaves the sign out. Key c.",
      [
        ["share", isAttention(flow) ? "% of the token’s attention" : "% of what moved the token"],
        ["value", "signed value"],
        ["absolute", "magnitude"],
      ],
      state.colour,
      (v) => set({ colour: v }),
    ),
    select(
      "filter",
      "Show",
      "All squares of a row, or the strongest alone. How much is left out is told. Key f.",
      [
        ["all", "all squares"],
        ["threshold", "shares from … %"],
        ["top", "the strongest of a row"],
        ["mass", "most of a row"],
      ],
      state.filter,
      (v) => set({ filter: v, amount: AMOUNTS[v] }),
    ),
    ...(state.filter === "all"
      ? []
      : [
          numeric(
            "amount",
            before,
            why,
            state.amount,
            state.filter === "top" ? flow.tokens.length : 100,
            (v) => set({ amount: v }),
            unit,
          ),
        ]),
    ...(state.filter !== "all" || state.diagonal
      ? [
          tick(
            "renorm",
            "scale up to the whole",
            "What is drawn of a row is scaled up to all of it, as if nothing were left out. Key n.",
            state.renorm,
            (v) => set({ renorm: v }),
          ),
        ]
      : []),
  ];
}

const besideUses = (state) => ["composed", "difference"].includes(state.besideMap);

/** What stands beside: another flow, another map, another layer. */
function comparison(flows, entries, state, set) {
  const shown = besideOf(state, flows);
  const other = flows[state.beside] || flows[state.flow];
  const others = entries.filter(([i]) => i !== state.flow);
  return [
    ...(others.length
      ? [
          select(
            "beside",
            "text",
            "Another text, model or start of this page, beside the one above; tokens that both have are aligned, and marked in both.",
            [[-1, "the same"], ...others],
            state.beside,
            (v) => set({ beside: Number(v) }),
          ),
        ]
      : []),
    ...(other.layers.length > 1
      ? [
          select(
            "besideLayer",
            "layer",
            "The layer of the picture beside.",
            [
              [-1, shown && shown.layer !== state.layer && state.besideLayer < 0 ? `${shown.layer}` : "the same"],
              ...other.layers.filter((l) => l !== state.layer).map((l) => [l, l]),
            ],
            state.besideLayer,
            (v) => set({ besideLayer: Number(v) }),
          ),
        ]
      : []),
    ...(mapsOf(other).length > 1
      ? [
          select(
            "besideMap",
            "map",
            "The map of the picture beside.",
            [
              ["", "the same"],
              ...mapsOf(other)
                .filter((m) => m !== state.map)
                .map((m) => [m, mapChoice(m)]),
            ],
            state.besideMap,
            (v) => set({ besideMap: v }),
          ),
        ]
      : []),
  ];
}

function following(entries, state, set) {
  const others = entries.filter(([i]) => i !== state.flow);
  return [
    numeric(
      "paths",
      "strongest paths",
      "How many paths are listed and drawn as thin lines.",
      state.paths,
      MOST_PATHS,
      (v) => set({ paths: v }),
    ),
    numeric(
      "cut",
      "lines from",
      "Lines that carry less of the relevance are not drawn.",
      state.cut,
      99,
      (v) => set({ cut: v }),
      "%",
    ),
    ...(others.length
      ? [
          select(
            "top",
            "first step",
            "Maps of other settings for the first step down; the rest is followed as before.",
            [[-1, "same settings"], ...others],
            state.top,
            (v) => set({ top: Number(v) }),
          ),
        ]
      : []),
  ];
}

const TABS = {
  map: ["Map", "Squares: rows are tokens that were made, columns what they were made from. Key m."],
  text: ["Text", "The text itself, shaded by what moved the pinned token. Key x."],
  trace: ["Trace", "The pinned token followed down through all layers to the input. Key t."],
};

/** The three ways to see a flow. `off` is why there is no trace, or "". */
export function fillTabs(element, state, off, set) {
  const focused = element.contains(document.activeElement);
  element.replaceChildren(
    ...Object.entries(TABS).map(([tab, [name, why]]) =>
      make(
        "button",
        {
          type: "button",
          role: "tab",
          name: `tab-${tab}`,
          ariaSelected: String(state.tab === tab),
          tabIndex: state.tab === tab ? 0 : -1,
          className: tab === "trace" && off ? "off" : "",
          "aria-description": (tab === "trace" && off) || why,
          onclick: () => set({ tab }),
        },
        name,
      ),
    ),
  );
  element.onkeydown = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    event.preventDefault();
    const names = Object.keys(TABS);
    set({ tab: names[(names.indexOf(state.tab) + by + names.length) % names.length] });
  };
  if (focused) element.querySelector('[aria-selected="true"]').focus();
}
