// Heads and MLPs of two predictions, layer by layer, and what each contributes more to the one than to the other.

import { bothOf } from "./beside.js";
import { comparedGrids, haveOneShape } from "./compared_grids.js";
import { columnsOf, partOf, sumOfPart } from "./parts.js";

/** What each part contributes at all words together; a part that `own` does not have cannot be pinned. */
function gridOfHeads(data, own) {
  const rows = data.layers.map((layer) => ({
    ...{ key: `${layer}`, label: `layer ${layer}`, cell: layer, layer },
    choice: own.layers.includes(layer) ? { layer } : null,
  }));
  const columns = columnsOf(data).map(([head, label]) => ({
    ...{ key: head, label, head },
    choice: own.layers.some((layer) => partOf(own, layer, head)) ? { head } : null,
  }));
  const sums = rows.map(({ layer }) => columns.map(({ head }) => sumOfPart(data, layer, head) ?? null));
  return { rows, columns, at: (row, column) => sums[row][column] };
}

const sizeSaid = ({ rows, columns }) => `${rows.length} layers of ${columns.length} parts (heads, MLP)`;

function headsOfBoth(scene) {
  const [one, two] = bothOf(scene).map((data) => gridOfHeads(data, scene.data));
  const reason = haveOneShape(one, two) ? "" : `the one has ${sizeSaid(one)}, the other ${sizeSaid(two)}`;
  return [one, two, reason];
}

export const comparedHeads = (app, tell) =>
  comparedGrids(app, tell, {
    ...{
      id: "compared-heads",
      title: "Heads and MLPs of both",
      label: "Heads and MLPs by layer",
      gridsOf: headsOfBoth,
    },
    names: ["layer", "part"],
    captionOf: (scene) => {
      const [one, two] = bothOf(scene);
      const models =
        one.meta.model === two.meta.model ? "" : " Heads of two models that bear one number need not do the same.";
      return (
        `Each cell is what a head, or the MLP, contributes at all ${one.page.unit}s together; ${one.page.parts_note}. ` +
        `A head that is pinned is marked in both.${models}`
      );
    },
  });
