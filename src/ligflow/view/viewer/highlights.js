// What the first screen says: the map, target and layer that a flow opens with, and the three sources that move a
// target most, in words. The same rules as view/highlights.py.

import { groupsOf, isCausal, lensOf } from "./lens.js";
import { mapsOf, rawMap, rawRow, through } from "./maps.js";
import { wholeRow } from "./wording.js";

const SENTENCES = 3;
const WHOLE = 0.9; // sources that are shown hold less of a row than this: a sentence gives the part of the whole row, too
const LONG = 80; // tokens from which a flow opens as text: its map would be too fine to read
const SPOKEN = /[\p{L}\p{N}\p{S}]/u;
const WHOLE_INPUT = ["[CLS]", "<cls>"]; // what makers of models call the token that stands for the whole input
const BLANK = /^[\sĠĊĉ▁]*$/u;
const MEMORY = /^e:/; // before the tokens of an encoder

export const defaultMap = (flow) => mapsOf(flow).find((map) => map === "composed") || mapsOf(flow)[0];

/** How a flow opens, where nothing else is asked: `given` are the parts of a state that were. */
export function opening(flow, given = {}) {
  const state = { rule: "conserving", words: 0, special: 1, prefix: 0, ...given };
  const map = mapsOf(flow).includes(state.map) ? state.map : defaultMap(flow);
  const target = targetOf(flow, { ...state, map }, given.pin);
  const best = ranked(flow, { ...state, map }, target).best[0];
  return {
    map,
    colour: "share",
    layer: best ? best.layer : flow.layers[0],
    pin: `t${groupsOf(flow, state.words)[target].tokens[0]}`,
    tab: flow.tokens.length > LONG ? "text" : "map",
  };
}

/** The group that is shown first: the one pinned, or the default target of highlights.py. */
export function targetOf(flow, state, pin = "") {
  const groups = groupsOf(flow, state.words);
  const targets = [...groups.keys()].filter((i) => groups[i].rows.length);
  const asked = /^t\d+$/.test(pin) ? targets.find((i) => groups[i].tokens.includes(Number(pin.slice(1)))) : undefined;
  if (asked !== undefined) return asked;
  const plain = targets.filter((i) => !groups[i].special);
  const last = (list) => list[list.length - 1];
  if (isCausal(flow, { ...state, map: defaultMap(flow) })) {
    return last(plain.filter((i) => !BLANK.test(groups[i].text))) ?? last(plain) ?? last(targets);
  }
  const first = groups[0];
  if (
    first.special &&
    first.rows.length &&
    flow.layers.some((_, row) => first.rows.some((place) => playerRow(flow, row, state, place).some(Boolean)))
  )
    return 0;
  return last(plain) ?? last(targets);
}

/** The sources of a target by their largest share in any layer, and how many marks of punctuation are left out. */
function ranked(flow, state, target) {
  const lens = lensOf(flow, state);
  const named = (source) => source !== target && !isMark(lens.groups[source].text);
  const rows = flow.layers.map((layer, row) => ({ layer, row, ...rowShares(flow, row, state, lens, target) }));
  const isPlayers = state.map === "u2z";
  const sources = isPlayers ? [...Array(flow.heads).keys()] : lens.sources;
  const best = sources.flatMap((source, column) => {
    if (!isPlayers && !named(source)) return [];
    const most = rows.reduce((a, b) => (Math.abs(b.shares[column]) > Math.abs(a.shares[column]) ? b : a));
    return most.shares[column]
      ? [{ source, layer: most.layer, row: most.row, share: most.shares[column], shown: most.shown }]
      : [];
  });
  const moved = (column) => rows.some(({ shares }) => shares[column]);
  const unranked = isPlayers
    ? 0
    : sources.filter((source, column) => source !== target && !named(source) && moved(column)).length;
  best.sort((a, b) => Math.abs(b.share) - Math.abs(a.share) || a.row - b.row || a.source - b.source);
  return { best, unranked, lens };
}

const isMark = (text) => BLANK.test(text) || !SPOKEN.test(text.replace(MEMORY, "") || text);

/** A target's row of any map. */
function playerRow(flow, row, { map, rule }, place) {
  if (map !== "u2z") return rawRow(flow, row, map, rule, place);
  return rawMap(flow, row, map, rule).subarray(place * (flow.heads + 1), (place + 1) * (flow.heads + 1));
}

/** Shares of a target's row over the sources that are shown, and the part of the row that these hold; or over the heads and the residual. */
function rowShares(flow, row, state, lens, target) {
  const { rows } = lens.groups[target];
  const sums = new Float64Array(state.map === "u2z" ? flow.heads + 1 : lens.groups.length);
  for (const place of rows) {
    const values = playerRow(flow, row, state, place);
    if (state.map === "u2z")
      values.forEach((value, head) => {
        sums[head] += value;
      });
    else
      lens.groups.forEach((group, place) => {
        for (const token of group.tokens) sums[place] += values[token];
      });
  }
  const sizeOf = (values) => values.reduce((sum, value) => sum + Math.abs(value), 0);
  const kept = state.map === "u2z" ? sums : Float64Array.from(lens.sources, (place) => sums[place]);
  const [size, all] = [sizeOf(kept), sizeOf(sums)];
  return { shares: kept.map((value) => (size > 0 ? value / size : 0)), shown: all > 0 ? size / all : 1 };
}

/** The head through which most of a composed cell passes, and whether that is less than half. */
function headOf(flow, row, rule, target, source) {
  const parts = new Float64Array(flow.heads);
  through(
    flow,
    row,
    rule,
    (head, _, __, value) => {
      if (head >= 0) parts[head] += value;
    },
    { targets: target.rows, sources: source.tokens },
  );
  const sizes = parts.map(Math.abs);
  const head = sizes.indexOf(Math.max(...sizes));
  return { head, underHalf: sizes[head] < 0.5 * sizes.reduce((a, b) => a + b, 0) };
}

/** The findings of a target, the strongest first, each with its sentence and where it is, and what they are shares of. */
export function highlights(flow, state, pin = "") {
  const seen = { rule: "conserving", words: state.words, special: 1, prefix: 0, map: defaultMap(flow) };
  const target = targetOf(flow, seen, pin);
  const { best, unranked, lens } = ranked(flow, seen, target);
  const findings = best.slice(0, SENTENCES).map((one) => ({ ...one, ...sentence(flow, seen, lens, target, one) }));
  const aside = asideWords(lens);
  const about = [
    { text: `of ${wholeRow(flow, "")}` },
    named(lens.groups, target),
    {
      text: `${inFront(lens.groups, target)}${aside ? `, ${aside} aside` : ""}${unranked ? `; punctuation not ranked (${unranked} left out)` : ""}`,
    },
  ];
  return { target, map: seen.map, findings, about: findings.length ? about : [] };
}

function sentence(flow, state, lens, target, { source, layer, row, share, shown }) {
  const [to, size] = [named(lens.groups, target), `${(100 * share).toFixed(0)}%`];
  const ofAll = shown < WHOLE ? `${Math.round(100 * share * shown)}% of all` : "";
  if (state.map === "u2z")
    return {
      head: source,
      parts: [
        { text: `head ${source} ${share > 0 ? "writes" : "takes from"} ` },
        to,
        { text: ` in layer ${layer} (${size})` },
      ],
    };
  const from = named(lens.groups, source);
  if (share < 0)
    return {
      head: null,
      parts: [
        from,
        { text: " holds " },
        to,
        { text: ` back in layer ${layer} (${ofAll ? `${size}, ${ofAll}` : size})` },
      ],
    };
  const known = state.map === "composed" && !flow.has("composed.conserving");
  const { head, underHalf } = known
    ? headOf(flow, row, state.rule, lens.groups[target], lens.groups[source])
    : { head: null };
  const by = head === null ? "" : `, ${underHalf ? "the largest part" : "most of it"} through head ${head}`;
  const whole = ofAll && ` (${ofAll})`;
  return {
    head,
    parts: [
      from,
      { text: ` is ${size} of ${wholeRow(flow, "", "moves")}` },
      to,
      { text: ` in layer ${layer}${whole}${by}` },
    ],
  };
}

/** What a first token is that was put before the input. */
function inFront(groups, place) {
  if (place || !groups[0].special) return "";
  return ` (put in front${WHOLE_INPUT.includes(groups[0].label) ? ", for the whole input" : ""})`;
}

/** A token in a sentence, with its place where several are called so. */
export function named(groups, place) {
  const { label } = groups[place];
  return { token: label, text: groups.filter((one) => one.label === label).length > 1 ? ` (${place})` : "" };
}

/** `2 special tokens and the first token`. */
export function asideWords({ groups, hidden }) {
  const first = groups.findIndex((group) => !group.special);
  const special = hidden.special ? [`${hidden.special} special token${hidden.special > 1 ? "s" : ""}`] : [];
  const sinks = hidden.sinks.map((sink) => (sink === first ? "the first token" : plain([named(groups, sink)])));
  const others = hidden.first ? [`the first ${hidden.first}`] : [];
  return [...special, ...sinks, ...others].join(" and ");
}

/** A sentence as text. */
export const plain = (parts) =>
  parts.map(({ token, text }) => `${token === undefined ? "" : `‘${token}’`}${text}`).join("");
