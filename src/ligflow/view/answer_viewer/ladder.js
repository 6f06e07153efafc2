// What a head reads, as a ladder: the words it reads from on the left, those it writes at on the right.

import { css, fitted } from "../viewer/pens.js";

const ROW = 22;
const MOST = 20; // words on a side
const SPLIT = { value: 0, key: 1, query: 2 };

/**
 * The edges of a head between words: `rows` of `{ source, target, value }`, the strongest first, those drawn among them
 * `shown` of `all` magnitudes of its edges. `part` is `all`, or what it read, where it found it, what it asked. Null where the layer
 * has none stored.
 */
export function edgesOfHead(data, layer, head, part = "all") {
  const edges = data.edges[layer];
  if (!edges) return null;
  const numbers = valuesOfPart(edges, part);
  const sums = new Map();
  edges.head.forEach((each, i) => {
    if (each !== head || !numbers[i]) return;
    const [source, target] = [data.unitOf[edges.source[i]], data.unitOf[edges.target[i]]];
    const key = `${source} ${target}`;
    const sum = sums.get(key) || { source, target, value: 0, size: 0 };
    sum.value += numbers[i];
    sum.size += Math.abs(numbers[i]);
    sums.set(key, sum);
  });
  const every = [...sums.values()].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const rows = withinWords(every);
  const drawn = new Set(rows.map((edge) => `${edge.source} ${edge.target}`));
  const shown = [...sums].reduce((sum, [key, edge]) => sum + (drawn.has(key) ? edge.size : 0), 0);
  return {
    rows,
    shown,
    all: data.edgeMasses[layer][part in SPLIT && edges.parts ? SPLIT[part] + 1 : 0][head] || shown || 1,
  };
}

/** What edges carry: all of it, or what was read, where it was found, what was asked, where these are stored. */
export const valuesOfPart = (edges, part) => (edges.parts && part in SPLIT ? edges.parts[SPLIT[part]] : edges.value);

/** The strongest edges, between as many words as have room on each side. */
function withinWords(every) {
  const [sources, targets] = [new Set(), new Set()];
  return every.filter(({ source, target, value }) => {
    const fits = (set, word) => set.has(word) || set.size < MOST;
    if (!fits(sources, source) || !fits(targets, target)) return false;
    if (Math.abs(value) < 0.004 * Math.abs(every[0].value)) return false;
    sources.add(source);
    targets.add(target);
    return true;
  });
}

/** Where the words of both sides stand, in the order of the text. */
export function ladderLayout(data, edges, width, x = 0, y = 0) {
  const side = (name) => [...new Set(edges.rows.map((edge) => edge[name]))].sort((a, b) => a - b);
  const [sources, targets] = [side("source"), side("target")];
  const height = ROW * (Math.max(sources.length, targets.length) + 1.5);
  const [left, right] = [x + width * 0.3, x + width * 0.7];
  return { edges, sources, targets, x, y, left, right, width, height, units: data.units };
}

const ladderRow = (at, words, word) => at.y + ROW * (1.5 + words.indexOf(word));

export function drawLadder(pen, at, { inks }) {
  const title = { fill: inks.faint, size: 12 };
  pen.text(at.left - 10, at.y + ROW / 2, "reads from", { ...title, align: "right" });
  pen.text(at.right + 10, at.y + ROW / 2, "writes at", title);
  const most = Math.abs(at.edges.rows[0].value);
  for (const { source, target, value } of at.edges.rows) {
    const [from, to] = [ladderRow(at, at.sources, source), ladderRow(at, at.targets, target)];
    const ink = css(value >= 0 ? inks.positive : inks.negative);
    pen.curve(at.left, from, at.right, to, ink, Math.max(0.6, (14 * Math.abs(value)) / most), 0.72);
  }
  const name = (word, side) => fitted(at.units[word].label, side, 13);
  for (const word of at.sources)
    pen.text(at.left - 10, ladderRow(at, at.sources, word), name(word, at.left - at.x - 14), {
      ...{ fill: inks.text, size: 13, align: "right" },
    });
  for (const word of at.targets)
    pen.text(at.right + 10, ladderRow(at, at.targets, word), name(word, at.x + at.width - at.right - 14), {
      ...{ fill: inks.text, size: 13 },
    });
}

/** The word that is pointed at, or pinned, on both sides. */
export function markLadder(pen, at, { at: chosen, inks }) {
  const frame = (words, x, width) => {
    if (words.includes(chosen.word))
      pen.frame(x, ladderRow(at, words, chosen.word) - ROW / 2 + 1, width, ROW - 2, inks.mark, 1.5);
  };
  frame(at.sources, at.x + 1, at.left - at.x - 4);
  frame(at.targets, at.right + 3, at.x + at.width - at.right - 4);
}

/** The word at a place of the ladder; -1 for none. */
export function wordAt(at, x, y) {
  const words = x < at.left ? at.sources : x > at.right ? at.targets : [];
  return words[Math.round((y - at.y) / ROW - 1.5)] ?? -1;
}
