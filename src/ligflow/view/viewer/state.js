// What is chosen in the viewer, as text for an address and back.

import { defaultMap, opening } from "./highlights.js";
import { lensOf } from "./lens.js";
import { mapsOf } from "./maps.js";

export const MOST_PATHS = 100;
export const DEFAULTS = {
  flow: 0,
  beside: -1, // a flow beside it; or the same flow in another map or layer
  besideMap: "",
  besideLayer: -1,
  layer: null,
  map: null,
  rule: "conserving",
  colour: "share",
  filter: "all",
  amount: 0,
  renorm: 0,
  words: 0,
  special: 1,
  prefix: 0,
  diagonal: 0,
  pin: "",
  tab: "map",
  paths: 5,
  cut: 5,
  top: -1,
  zoom: 0,
  theme: "",
  more: 0,
};
const FRACTIONS = ["amount", "cut"]; // per cent; every other number is whole
export const AMOUNTS = { all: 0, threshold: 5, top: 3, mass: 90 };
export const CHOICES = {
  rule: ["conserving", "product"],
  colour: ["value", "absolute", "share"],
  filter: Object.keys(AMOUNTS),
  tab: ["map", "text", "trace"],
  theme: ["", "light", "dark"],
};

/** The shortest address that `open`, from an address to a state, takes back to this state. */
export function encode(state, open) {
  const asked = new Set();
  for (;;) {
    const address = new URLSearchParams([...asked].map((key) => [key, String(state[key])])).toString();
    const start = open(address);
    const more = Object.keys(DEFAULTS).filter(
      (key) => !asked.has(key) && state[key] !== null && state[key] !== start[key],
    );
    if (!more.length) return address;
    for (const key of more) asked.add(key);
  }
}

/** The state that `view`, how the page was made to open, and then `address` ask for; the rest as highlights have it. */
export function opened(flows, view, address = "") {
  const given = { ...parse(view), ...parse(address) };
  const flow = flows[given.flow] || flows[0];
  return settled({ ...DEFAULTS, ...opening(flow, given), ...given }, flows);
}

/** What a text in the form of an address says. What it cannot mean is left out. */
function parse(text) {
  const given = {};
  for (const [name, value] of new URLSearchParams(text)) {
    const [key, meant] = aliased(name, value);
    if (name === "map" && value === "product") given.rule = "product";
    if (!(key in DEFAULTS)) continue;
    const isText = typeof DEFAULTS[key] === "string" || key === "map";
    if (isText ? key in CHOICES && !CHOICES[key].includes(meant) : !Number.isFinite(Number(meant)) || meant === "")
      continue;
    given[key] = isText ? meant : FRACTIONS.includes(key) ? Number(meant) : Math.trunc(Number(meant));
  }
  return given;
}

/** Other names: the composed map by its rule, and the trace by a tick. */
function aliased(key, value) {
  if (key === "map" && ["conserving", "product"].includes(value)) return ["map", "composed"];
  return key === "trace" ? ["tab", value === "1" ? "trace" : "map"] : [key, value];
}

/** A state that fits the flows: what is out of range goes to the nearest or the first that there is. */
export function settled(state, flows) {
  const next = { ...state };
  next.flow = flows[state.flow] ? state.flow : 0;
  next.beside = flows[state.beside] && state.beside !== next.flow ? state.beside : -1;
  const flow = flows[next.flow];
  if (!mapsOf(flow).includes(state.map)) next.map = defaultMap(flow);
  next.words = state.words && flow.meta.words ? 1 : 0;
  next.amount = Math.max(0, state.filter === "top" ? state.amount : Math.min(100, state.amount));
  next.top = flows[state.top] && state.top !== next.flow ? state.top : -1;
  next.paths = Math.max(0, Math.min(MOST_PATHS, state.paths));
  next.cut = Math.max(0, Math.min(99, state.cut));
  next.prefix = Math.max(0, Math.min(flow.tokens.length - 1, state.prefix));
  next.zoom = Math.max(-8, Math.min(12, state.zoom));
  if (next.pin && !pinned(flow, next)) next.pin = "";
  if (!flow.layers.includes(state.layer)) next.layer = opening(flow, next).layer;
  const other = flows[next.beside] || flow;
  if (!mapsOf(other).includes(state.besideMap) || state.besideMap === next.map) next.besideMap = "";
  if (!other.layers.includes(state.besideLayer) || state.besideLayer === next.layer) next.besideLayer = -1;
  return next;
}

/** The state of the view beside: of another flow, map or layer; null where nothing stands beside. */
export function besideOf(state, flows) {
  const { beside, besideMap, besideLayer } = state;
  if (beside < 0 && !besideMap && besideLayer < 0) return null;
  const other = {
    flow: beside < 0 ? state.flow : beside,
    map: besideMap || state.map,
    layer: besideLayer < 0 ? state.layer : besideLayer,
  };
  return settled({ ...state, ...other, pin: "", beside: -1, besideMap: "", besideLayer: -1 }, flows);
}

/** The group, or the head, that is pinned: `t3` is token 3 as a target, `s3` as a source, `h3` is head 3. */
export function pinned(flow, state) {
  const match = /^([tsh])(\d+)$/.exec(state.pin);
  if (!match) return null;
  const [side, token] = [{ t: "target", s: "source", h: "head" }[match[1]], Number(match[2])];
  if (side === "head") return token <= flow.heads ? { side, index: token } : null;
  const lens = lensOf(flow, state);
  const index = lens.groups.findIndex((group) => group.tokens.includes(token));
  return index >= 0 && lens[side === "source" ? "sources" : "rows"].includes(index) ? { side, index } : null;
}

export function pinOf(flow, state, only) {
  if (!only) return "";
  return only.side === "head" ? `h${only.index}` : `${only.side[0]}${lensOf(flow, state).groups[only.index].tokens[0]}`;
}
