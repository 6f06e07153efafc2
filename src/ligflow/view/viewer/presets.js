// The questions that a flow answers with one click: each sets map, rule and what stands beside.

import { defaultMap, opening } from "./highlights.js";
import { lensOf } from "./lens.js";
import { mapsOf, rawMap } from "./maps.js";
import { pinned } from "./state.js";
import { isAttention, lettersOf } from "./wording.js";

const ALONE = { beside: -1, besideMap: "", besideLayer: -1 };
const isHead = (map) => /^h\d/.test(map);
const compares = (state) => state.beside >= 0 || state.besideMap !== "" || state.besideLayer >= 0;

/** The questions that these flows can answer: words, letters, what it does, `change` of a state, and whether it is asked. */
export function presetsOf(flows, state) {
  const flow = flows[state.flow];
  const maps = mapsOf(flow);
  return [
    ...vectorAsked(flow, state),
    ...headAsked(flow, state, maps),
    ...mapsAgainst(state, maps),
    ...flowsBeside(flows, state),
  ];
}

function vectorAsked(flow, state) {
  const map = defaultMap(flow);
  if (!["composed", "z2z"].includes(map)) return [];
  return [
    {
      name: "vector",
      words: "What made this token’s vector",
      letters: lettersOf(map),
      why: "Which tokens the layer’s new vector of a token was made from, with the heads that brought it. Key 1.",
      change: { ...ALONE, map, rule: "conserving", tab: mapTab(state), pin: targetPin(flow, state) },
      chosen: state.map === map && state.rule === "conserving" && state.tab !== "trace" && !compares(state),
    },
  ];
}

function headAsked(flow, state, maps) {
  if (!maps.includes("h0")) return [];
  return [
    {
      name: "head",
      words: isAttention(flow) ? "What a head looks at" : "What a head reads",
      letters: isAttention(flow) ? "" : "z → u",
      why: isAttention(flow)
        ? "How one head spreads its attention over the tokens. Choose another among the thumbnails or as the map. Key 2."
        : "From which tokens one attention head takes what it puts out. It opens at the head that writes most to the pinned token; choose another among the thumbnails or as the map. Key 2.",
      change: {
        ...ALONE,
        map: isHead(state.map) ? state.map : `h${telling(flow, state, maps)}`,
        tab: mapTab(state),
        pin: "",
      },
      chosen: isHead(state.map) && state.tab !== "trace" && !compares(state),
    },
  ];
}

function mapsAgainst(state, maps) {
  if (!maps.includes("z2z") || !maps.includes("composed")) return [];
  const change = { ...ALONE, map: "z2z", besideMap: "composed", rule: "conserving", tab: "map" };
  return [
    {
      name: "against",
      words: "Direct against composed",
      letters: "z → z′, z → u → z′",
      why: "The same layer counted twice: directly, from its input to its output, and composed of what heads read and write. Side by side, with the difference. Key 3.",
      change,
      chosen: Object.entries(change).every(([key, value]) => state[key] === value),
    },
  ];
}

function flowsBeside(flows, state) {
  if (flows.length < 2) return [];
  const beside = state.beside >= 0 ? state.beside : state.flow === 0 ? 1 : 0;
  return [
    {
      name: "beside",
      words: "Two side by side",
      letters: "",
      why: "This text, model or start beside another one of this page, and the difference where their tokens align. Key 4.",
      change: { ...ALONE, beside, tab: "map" },
      chosen: state.beside >= 0 && state.besideMap === "" && state.tab === "map",
    },
  ];
}

/** The pinned target, or the one that the flow opens with. */
const targetPin = (flow, state) => (/^t/.test(state.pin) ? state.pin : opening(flow, { words: state.words }).pin);

const mapTab = (state) => (state.tab === "trace" ? "map" : state.tab);

/** The head that is pinned, or the one that writes most to the pinned token, or the first. */
function telling(flow, state, maps) {
  const place = pinned(flow, state);
  if (place?.side === "head") return Math.min(place.index, flow.heads - 1);
  if (place?.side !== "target" || !maps.includes("u2z")) return 0;
  const written = rawMap(flow, flow.layers.indexOf(state.layer), "u2z", state.rule);
  const sums = new Float64Array(flow.heads);
  for (const row of lensOf(flow, state).groups[place.index].rows)
    for (let head = 0; head < flow.heads; head++) sums[head] += written[row * (flow.heads + 1) + head];
  const sizes = sums.map(Math.abs);
  return sizes.indexOf(Math.max(...sizes));
}
