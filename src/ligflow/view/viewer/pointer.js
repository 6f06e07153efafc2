// The pointer: what it points at, a line about it beside it (on phones a sheet at the foot), and what a click pins.

import { pointerWords } from "./descriptions.js";
import { showTip } from "./tooltip.js";
import { pairsOf } from "./views.js";

/** Listens to heat maps and ladder; `app` gives the views and hears of what is pointed at and pinned. */
export function listen(parts, app) {
  const tip = parts.tip;
  const hide = () => {
    tip.hidden = true;
  };

  /** Shows what is known of a place at the pointer; null hides it. */
  function tell(event, place) {
    const lines = place ? pointerWords(place.view, place) : [];
    if (!lines.length) return hide();
    showTip(tip, lines, event.clientX, event.clientY);
  }

  function on(element, find) {
    let last = null;
    element.addEventListener("pointermove", (event) => {
      const next = find(event);
      tell(event, next);
      if (same(next, last)) return;
      last = next;
      app.hover(next?.side ? next : null);
    });
    element.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") hide();
      last = null;
      app.hover(null);
    });
    element.addEventListener("click", (event) => {
      const next = find(event);
      if (!next?.side) return hide();
      const touched = event.pointerType === "touch";
      app.pin(app.pinOf(next), touched && next.c >= 0);
      last = null;
      if (touched) tell(event, next);
    });
  }

  for (const [i, one] of parts.heats.entries()) on(one.over, (event) => heatPlace(event, app.views(), i));
  on(parts.ladder.over, (event) => ladderPlace(event, app.views()[0]));
  return { tell, hide };
}

const same = (a, b) => a?.side === b?.side && a?.index === b?.index && a?.c === b?.c && a?.r === b?.r;

function local(event) {
  const box = event.currentTarget.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** The cell, row or column of a heat map: `side` and `index` are those of the first view. */
function heatPlace(event, views, i) {
  const view = views[i];
  if (!view?.at) return null;
  const [x, y] = local(event);
  const { left, top, cell } = view.at;
  const within = (place, count) => (place >= 0 && place < count ? place : -1);
  const [r, c] = [within(Math.floor((y - top) / cell), view.rows), within(Math.floor((x - left) / cell), view.columns)];
  if (r < 0 && c < 0) return null;
  const [side, own] = r >= 0 ? ["target", view.rowIds[r]] : [view.isPlayers ? "head" : "source", view.columnIds[c]];
  const index = i === 1 && side !== "head" ? pairsOf(views[0], view).find(([, b]) => b === own)?.[0] : own;
  return { view, r, c, side: index === undefined ? null : side, index };
}

/** A node of the ladder. */
function ladderPlace(event, view) {
  const [x, y] = local(event);
  const at = view.ladderAt;
  if (!at) return null;
  const columns = view.isPlayers
    ? ["head", "target"]
    : at.places.length === 3
      ? ["source", "head", "target"]
      : ["source", "target"];
  const column = at.places.reduce(
    (best, one, i) => (Math.abs(one.x - x) < Math.abs(at.places[best].x - x) ? i : best),
    0,
  );
  const place = Math.floor((y - at.places[column].top) / at.places[column].gap);
  const side = columns[column];
  const ids =
    side === "target" ? view.rowIds : side === "head" ? [...Array(view.flow.heads + 1).keys()] : view.columnIds;
  if (place < 0 || place >= ids.length) return null;
  const [r, c] = [
    side === "target" ? place : -1,
    side === "target" || (side === "head" && !view.isPlayers) ? -1 : place,
  ];
  return { view, r, c, side, index: ids[place] };
}
