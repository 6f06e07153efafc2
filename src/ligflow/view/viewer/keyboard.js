// Keys: all that the controls do.

import { mapsOf } from "./maps.js";
import { presetsOf } from "./presets.js";
import { AMOUNTS, CHOICES, pinned, pinOf } from "./state.js";

const KEYS =
  "↑ ↓ target · ← → source · [ ] layer · , . map · Esc unpin · m map · x text · t trace · w words · s special tokens · d diagonal · n renormalise · f filter · c colours · + − zoom · o more";

const QUESTIONS = ["vector", "head", "against", "beside"]; // the keys 1 to 4

/** The keys in words, with those of the questions that these flows can answer. */
export function keyWords(flows, state) {
  const numbers = presetsOf(flows, state).map(({ name }) => QUESTIONS.indexOf(name) + 1);
  return numbers.length ? `${numbers.join(" ")} question${numbers.length > 1 ? "s" : ""} · ${KEYS}` : KEYS;
}

export function keyboard(event, state, flows, view, set) {
  const flow = flows[state.flow];
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.target.className === "scroll" && event.key.startsWith("Arrow")) return;
  const turn = (list, value, by) => list[(list.indexOf(value) + by + list.length) % list.length];
  const flip = (name) => () => set({ [name]: state[name] ? 0 : 1 });
  const tab = (name) => () => set({ tab: state.tab === name ? "map" : name });
  const step = (side, by) => () => set({ pin: neighbour(flow, state, view, side, by) });
  const across = state.tab === "text" ? "target" : "source"; // a text runs across
  const maps = mapsOf(flow);
  const keys = {
    "[": () => set({ layer: turn(flow.layers, state.layer, -1) }),
    "]": () => set({ layer: turn(flow.layers, state.layer, 1) }),
    ",": () => set({ map: turn(maps, state.map, -1) }),
    ".": () => set({ map: turn(maps, state.map, 1) }),
    ArrowUp: step("target", -1),
    ArrowDown: step("target", 1),
    ArrowLeft: step(across, -1),
    ArrowRight: step(across, 1),
    Escape: () => set({ pin: "" }),
    w: flip("words"),
    s: flip("special"),
    d: flip("diagonal"),
    n: flip("renorm"),
    m: () => set({ tab: "map" }),
    x: tab("text"),
    t: tab("trace"),
    c: () => set({ colour: turn(CHOICES.colour, state.colour, 1) }),
    f: () => {
      const filter = turn(CHOICES.filter, state.filter, 1);
      set({ filter, amount: AMOUNTS[filter] });
    },
    "+": () => set({ zoom: state.zoom + 1 }),
    "=": () => set({ zoom: state.zoom + 1 }),
    "-": () => set({ zoom: state.zoom - 1 }),
    o: flip("more"),
  };
  presetsOf(flows, state).forEach(({ name, change }) => {
    keys[QUESTIONS.indexOf(name) + 1] = () => set(change);
  });
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
}

/** The pin next to the one that is there, on the side of targets or of sources. */
function neighbour(flow, state, view, side, by) {
  const places = side === "target" ? view.lens.rows : view.lens.sources;
  const place = pinned(flow, state);
  const at = place && place.side === side ? places.indexOf(place.index) : by > 0 ? -1 : places.length;
  const next = Math.max(0, Math.min(places.length - 1, at + by));
  return pinOf(flow, state, { side, index: places[next] });
}
