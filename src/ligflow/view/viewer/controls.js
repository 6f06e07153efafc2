// The controls: what is chosen, four in sight and the rest behind a gear, each only where it does something.

import { make } from "./elements.js";
import { asideWords } from "./highlights.js";
import { lensOf } from "./lens.js";
import { mapsOf } from "./maps.js";
import { AMOUNTS, CHOICES, MOST_PATHS } from "./state.js";
import { entriesOf, mapChoice } from "./wording.js";

function select(name, label, options, value, change) {
  const element = make(
    "select",
    { name, onchange: (event) => change(event.target.value) },
    ...options.map(([one, text]) =>
      make("option", { value: String(one), selected: String(one) === String(value) }, text),
    ),
  );
  return make("label", {}, `${label} `, element);
}

function tick(name, label, value, change, disabled = false, title = "") {
  return make(
    "label",
    { className: "tick", title },
    make("input", {
      type: "checkbox",
      name,
      checked: !!value,
      disabled,
      onchange: (e) => change(e.target.checked ? 1 : 0),
    }),
    ` ${label}`,
  );
}

function numeric(name, label, value, max, change) {
  return make(
    "label",
    {},
    `${label} `,
    make("input", {
      type: "number",
      name,
      value: String(value),
      min: "0",
      max: String(max),
      onchange: (e) => change(Number(e.target.value) || 0),
    }),
  );
}

export function fillControls(element, flows, state, set) {
  const focused = element.contains(document.activeElement) ? document.activeElement.name : null;
  const open = element.querySelector("details")?.open || false;
  const flow = flows[state.flow];
  const entries = entriesOf(flows).map((name, i) => [i, name]);
  const aside = asideWords(lensOf(flow, { ...state, special: 1 }));
  const gear = make(
    "details",
    { className: "gear", open },
    make("summary", {}, "⚙ More"),
    make("div", { className: "controls" }, ...more(flow, entries, state, set)),
  );
  element.replaceChildren(
    ...(flows.length > 1
      ? [
          select("flow", "Text", entries, state.flow, (v) => set({ flow: Number(v) })),
          select(
            "beside",
            "beside",
            [[-1, "nothing"], ...entries.filter(([i]) => i !== state.flow)],
            state.beside,
            (v) => set({ beside: Number(v) }),
          ),
        ]
      : []),
    select(
      "layer",
      "Layer",
      flow.layers.map((l) => [l, l]),
      state.layer,
      (v) => set({ layer: Number(v) }),
    ),
    select(
      "map",
      "Map",
      mapsOf(flow).map((m) => [m, mapChoice(m)]),
      state.map,
      (v) => set({ map: v }),
    ),
    tick(
      "special",
      "hide special tokens",
      state.special,
      (v) => set({ special: v }),
      !aside,
      aside ? `${aside}: as sources; they often hold most of every row` : "This text has none that stand out.",
    ),
    tick("words", "words", state.words, (v) => set({ words: v }), !flow.meta.words, "tokens of a word as one"),
    gear,
  );
  if (focused) element.querySelector(`[name="${focused}"]`)?.focus();
}

function more(flow, entries, state, set) {
  const filters = state.filter !== "all" || state.diagonal;
  const others = entries.filter(([i]) => i !== state.flow);
  return [
    ...(["composed", "difference"].includes(state.map)
      ? [
          select(
            "rule",
            "Rule",
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
      [
        ["share", "% of what moved the token"],
        ["value", "signed value"],
        ["absolute", "magnitude"],
      ],
      state.colour,
      (v) => set({ colour: v }),
    ),
    select(
      "filter",
      "Show",
      [
        ["all", "all cells"],
        ["threshold", "shares from … %"],
        ["top", "the top … of a row"],
        ["mass", "… % of a row"],
      ],
      state.filter,
      (v) => set({ filter: v, amount: AMOUNTS[v] }),
    ),
    ...(state.filter === "all"
      ? []
      : [
          numeric("amount", "…", state.amount, state.filter === "top" ? flow.tokens.length : 100, (v) =>
            set({ amount: v }),
          ),
        ]),
    ...(filters
      ? [
          tick(
            "renorm",
            "renormalise",
            state.renorm,
            (v) => set({ renorm: v }),
            false,
            "what is shown scaled up to the whole",
          ),
        ]
      : []),
    numeric("prefix", "hide the first", state.prefix, flow.tokens.length - 1, (v) => set({ prefix: v })),
    tick("diagonal", "hide the diagonal", state.diagonal, (v) => set({ diagonal: v })),
    ...(state.tab === "trace"
      ? [
          numeric("paths", "paths", state.paths, MOST_PATHS, (v) => set({ paths: v })),
          numeric("cut", "edges from … %", state.cut, 99, (v) => set({ cut: v })),
          ...(others.length
            ? [
                select("top", "first step", [[-1, "same settings"], ...others], state.top, (v) =>
                  set({ top: Number(v) }),
                ),
              ]
            : []),
        ]
      : []),
    select(
      "theme",
      "Theme",
      CHOICES.theme.map((one) => [one, one || "system"]),
      state.theme,
      (v) => set({ theme: v }),
    ),
  ];
}

const TABS = { map: "Map", text: "Text", trace: "Trace" };

/** The three ways to see a flow. `off` is why there is no trace, or "". */
export function fillTabs(element, state, off, set) {
  const focused = element.contains(document.activeElement);
  element.replaceChildren(
    ...Object.entries(TABS).map(([tab, name]) =>
      make(
        "button",
        {
          type: "button",
          role: "tab",
          name: `tab-${tab}`,
          ariaSelected: String(state.tab === tab),
          tabIndex: state.tab === tab ? 0 : -1,
          className: tab === "trace" && off ? "off" : "",
          title: tab === "trace" ? off : "",
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
