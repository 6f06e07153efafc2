// How much of the rows is hidden, and how much of the rest is drawn: under the map, and in pictures that are saved.

import { asideWords } from "./highlights.js";
import { pinned } from "./state.js";
import { percent } from "./wording.js";

/** The words for a view of a flow; of the row that is pinned, or of all rows on average. */
export function keptWords(view, flow, state) {
  const drawn = `${percent(view.share)} of the magnitude shown${state.renorm && view.share < 1 ? ", scaled up to the whole" : ""}`;
  const aside = view.hidden ? asideWords(view.lens) : "";
  if (!aside) return drawn;
  const pin = pinned(flow, state);
  const row = pin?.side === "target" ? view.rowIds.indexOf(pin.index) : -1;
  const held = row >= 0 ? view.hidden[row] : view.hidden.reduce((sum, part) => sum + part, 0) / view.rows;
  const one = view.lens.groups.length - view.lens.sources.length === 1;
  const hidden = `${aside} hidden; ${one ? "it holds" : "they hold"} ${percent(held)} of ${row >= 0 ? "this row" : "a row on average"}; percentages are of the rest`;
  return view.share < 1 ? `${drawn}; ${hidden}` : hidden;
}
