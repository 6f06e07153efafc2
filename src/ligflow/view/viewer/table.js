// The cells of a view as a table.

import { csvOf } from "./csv.js";
import { settingsOf } from "./wording.js";

const mapOf = ({ state: { map, rule } }) => (["composed", "difference"].includes(map) ? `${map} ${rule}` : map);

/** What a view is of; of a difference what both are of, where they are not of the same. */
function ofBoth(view, name, same = view.other && name(view) === name(view.other)) {
  return view.other && !same ? `${name(view)} minus ${name(view.other)}` : name(view);
}

const CSV_COLUMNS = "flow,map,layer,target,target_label,source,source_label,value,shown,certificate,met".split(",");

/** Every cell of the view: its value, and what is shown of it (empty where the filter leaves it out). */
export function exportCsv(views) {
  const rows = [CSV_COLUMNS];
  for (const view of views)
    for (let r = 0; r < view.rows; r++)
      for (let c = 0; c < view.columns; c++) {
        const [value, shown] = [view.values[r * view.columns + c], view.shown[r * view.columns + c]];
        const { certificate, met } = view.certificates[r];
        const tokenOf = (group) => view.lens.groups[group].tokens[0];
        rows.push([
          ofBoth(view, (one) => settingsOf(one.flow), view.other?.flow === view.flow),
          ofBoth(view, mapOf),
          ofBoth(view, (one) => one.state.layer),
          tokenOf(view.rowIds[r]),
          view.rowLabels[r],
          view.isPlayers ? c : tokenOf(view.columnIds[c]),
          view.columnLabels[c],
          value,
          Number.isNaN(shown) ? "" : shown,
          certificate,
          met ? 1 : 0,
        ]);
      }
  return csvOf(rows);
}
