// Words over depth of two predictions, words aligned, and where on the way down they come to differ.

import { bothOf, wordsOfBoth } from "./beside.js";
import { comparedGrids, haveOneShape } from "./compared_grids.js";
import { cutCalled, depthsOf, layerAt } from "./depth_map.js";
import { signed } from "./numbers.js";
import { windowOf, windowSaid } from "./word_window.js";

/** What each of some aligned words holds at each depth; null where a text has no such word. */
function gridOfDepths(data, words, side, own) {
  const depths = depthsOf(data);
  return {
    rows: data.cuts.map((cut, number) => {
      const layer = layerAt(data, number);
      const choice = layer < 0 || own.layers.includes(layer) ? { layer, head: "" } : null;
      return { key: cut, label: cutCalled(data, number), layer: layer < 0 ? undefined : layer, choice };
    }),
    columns: words,
    at: (row, column) => (words[column][side] < 0 ? null : depths[row][words[column][side]]),
  };
}

/** The aligned words as columns: all, or those of the window that a width has room for. */
function columnsOfWords(scene, width) {
  const [one, two] = bothOf(scene);
  const place = (data, word) => (word < 0 ? "" : data.units[word].tokens[0]);
  const all = wordsOfBoth(one, two).map(({ label, word, other }, i) => ({
    ...{ key: `${i}`, label, word, other, choice: word < 0 ? null : { word } },
    cells: [label, place(one, word), place(two, other)],
  }));
  if (!width) return all;
  const { from, count, isWhole } = windowOf(one, scene.state, width - 80);
  if (isWhole) return all;
  const [first, last] = [from, from + count - 1].map((word) => all.findIndex((each) => each.word === word));
  return all.slice(first, last + 1);
}

function depthsOfBoth(scene, width) {
  const both = bothOf(scene);
  const words = columnsOfWords(scene, width);
  const [one, two] = both.map((data, i) => gridOfDepths(data, words, i ? "other" : "word", scene.data));
  const reason = haveOneShape(one, two)
    ? ""
    : `the one is read at ${one.rows.length} depths, the other at ${two.rows.length}, and they are not the same`;
  return [one, two, reason];
}

export const comparedDepths = (app, tell) =>
  comparedGrids(app, tell, {
    ...{
      id: "compared-depths",
      title: "Words over depth of both",
      label: "Relevance of words by depth",
      gridsOf: depthsOfBoth,
    },
    names: ["depth", "word", "position", "position beside"],
    captionOf: (scene, width) => {
      const [one, two] = bothOf(scene);
      const isMissing = wordsOfBoth(one, two).some(({ word, other }) => word < 0 || other < 0);
      const { isWhole, ...window } = windowOf(one, scene.state, width - 80);
      return (
        `Rows are depths, the answer on top and the words at the bottom. Of all words together each row adds up to ` +
        `${signed(one.change)} here and ${signed(two.change)} beside.` +
        (isMissing ? " Hatched: the text does not have this word, which holds nothing of it." : "") +
        (isWhole ? "" : ` ${windowSaid(one, window)}; the strip of words over depth shows others.`)
      );
    },
  });
