// The cells of a view as a table.

import { settingsOf } from "./wording.js";

const mapOf = ({ state: { map, rule } }) => (["composed", "difference"].includes(map) ? `${map} ${rule}` : map);

/** What a view is of; of a difference what both are of, where they are not of the same. */
function ofBoth(view, name, same = view.other && name(view) === name(view.other)) {
  return view.other && !same ? `${name(view)} minus ${name(view.other)}` : name(view);
}

/** Every cell of the view: its value, and what is shown of it (empty where the filter leaves it out). */
export function exportCsv(views) {
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  const lines = ["flow,map,layer,target,target_label,source,source_label,value,shown,certificate,met"];
  for (const view of views)
    for (let r = 0; r < view.rows; r++)
      for (let c = 0; c < view.columns; c++) {
        const [value, shown] = [view.values[r * view.columns + c], view.shown[r * view.columns + c]];
        const one = view.certificates[r];
        const tokenOf = (group) => view.lens.groups[group].tokens[0];
        lines.push(
          [
            quoted(ofBoth(view, (one) => settingsOf(one.flow), view.other?.flow === view.flow)),
            quoted(ofBoth(view, mapOf)),
            ofBoth(view, (one) => one.state.layer),
            tokenOf(view.rowIds[r]),
            quoted(view.rowLabels[r]),
            view.isPlayers ? c : tokenOf(view.columnIds[c]),
            quoted(view.columnLabels[c]),
            value,
            Number.isNaN(shown) ? "" : shown,
            one.certificate,
            one.met ? 1 : 0,
          ].join(),
        );
      }
  return `${lines.join("\n")}\n`;
}
