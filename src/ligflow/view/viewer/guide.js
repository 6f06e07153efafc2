// How the pictures are read, at length: for contributions and for attention weights, and why a diagonal is white.

import { isAttention } from "./wording.js";

const CONTRIBUTIONS =
  "In each layer every token’s vector is made anew from those of all tokens, by way of the attention heads. A row of a map is a target: a token’s new " +
  "vector, or what a head puts out there. A column is a source: what it was made from. Blue, positive, moves the target towards what it becomes; orange, negative, holds it back. Values are in the " +
  "units of the model’s vectors; those of a row, hidden sources among them, add up to how far its target moved. " +
  "A percentage is a part of all that moved the target, of the sources that are shown. Special tokens, and tokens that take most of every row, are hidden as sources at first; how much " +
  "they hold is told. ✓ certified: what the sources contribute adds up to how far the target moved, within the tolerance; that is known from two plain runs of the layer.";

const ATTENTION_WEIGHTS =
  "A row of a map is a token that attends, a column is a token that it attends to. A square is an attention weight: how much a head looks at a token. It does not say what the head takes " +
  "from there, nor how much that changes. A percentage is a part of a row’s attention, of the sources that are shown. Special tokens, and tokens that take most of every row, are hidden as " +
  "sources at first; how much they hold is told.";

const STILL = 0.0005; // of a row: less than this is written as 0.0%

/** Why the diagonal of a map is white, where it is; else empty. */
export function diagonalWords(view) {
  const settings = view.flow.meta.settings || {};
  if (isAttention(view.flow) || ![settings.att_baseline, settings.layer_baseline].includes("itb")) return "";
  const places = [...Array(view.rows).keys()].filter((r) => view.own(r) >= 0);
  const isStill = (r) => Math.abs(view.values[r * view.columns + view.own(r)]) <= STILL * view.sizes[r];
  return places.length && places.every(isStill)
    ? "The diagonal is white: every source starts as the target’s own vector (target baseline), so that the target itself does not change on the way, and moves nothing."
    : "";
}

export const guideWords = (view) =>
  [isAttention(view.flow) ? ATTENTION_WEIGHTS : CONTRIBUTIONS, diagonalWords(view)].filter(Boolean).join(" ");
