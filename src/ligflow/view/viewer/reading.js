// How a picture is read: what it shows, in one sentence, and what it says, in another.

import { named } from "./highlights.js";
import { inShare, largest, viewOf } from "./views.js";
import {
  ATTENTION,
  certifiedRows,
  counted,
  form,
  isAttention,
  mapName,
  mapShort,
  percent,
  wayOf,
  wholeRow,
} from "./wording.js";

const HABIT = 0.5; // of what moves a head's output: a neighbour that holds more on average is what the head reads
const NEIGHBOURS = { "-1": "the token before", 1: "the token after", 0: "the token itself" };
const NAMES = 3;

/** Layer and map; of two pictures what tells them apart. */
export function headingOf([{ state }, other]) {
  const { layer, map, rule } = state;
  const seen = other?.state || state;
  const [layers, maps] = [seen.layer !== layer, seen.map !== map];
  const words = maps ? `${mapShort(map, rule)} against ${mapShort(seen.map, rule)}` : mapName(map, rule);
  return `Layer ${layer}${layers ? ` against layer ${seen.layer}` : ""}: ${words}`;
}

/** What the squares of pictures are, and whose links are drawn. */
export function captionOf(views, chosen, isText = false) {
  if (isText) return textWords(views[0], chosen);
  const words = squareWords(views[0]);
  if (views.length > 1)
    return `${words} Beside it the second, and the first minus the second: blue where the first has more, orange where it has less.`;
  const row = chosen?.side === "target" ? views[0].rowIds.indexOf(chosen.index) : -1;
  return row < 0
    ? words
    : `${words} Pinned is ‘${views[0].rowLabels[row]}’, and the lines are its own alone; Esc frees it.`;
}

function textWords(view, chosen) {
  if (view.isPlayers) return "";
  const row = chosen?.side === "target" ? view.rowIds.indexOf(chosen.index) : -1;
  const more = "The stronger the shade of a token, the more";
  if (isAttention(view.flow))
    return `${more} attention goes to it${row < 0 ? ", on average over all tokens" : ` from ‘${view.rowLabels[row]}’`}.`;
  const whose = row < 0 ? "the tokens, on average" : `‘${view.rowLabels[row]}’`;
  return `${more} it moved ${whose} in layer ${view.state.layer}; blue moves it on, orange holds it back.`;
}

/** What a legend’s end stands for, where no square in sight is so large. */
export function scaleWords(views, most) {
  const seen = Math.max(...views.filter((view) => !view.most).map(largest));
  const size = views[0].state.colour === "share" ? percent : form;
  const words = `Full colour is ${size(most)}`;
  return seen >= most * (1 - 1e-6)
    ? `${words}, the largest square in sight.`
    : `${words}: the largest square of this layer’s direct map, of the one through the heads and of their difference, so that the three can be compared. The largest in sight is ${size(seen)}.`;
}

function squareWords({ flow, state: { map, colour }, isPlayers }) {
  const more =
    colour === "value" ? "the stronger a square’s colour, the more of it" : "the darker a square, the more of it";
  if (isAttention(flow)) return `Each row is the attention of one token; ${more} goes to the column’s token.`;
  if (isPlayers) return `Each row is a token’s new vector, each column a head: ${more} that head wrote.`;
  if (map === "difference")
    return "Blue where the direct count of the layer gives a token more than the one through the heads, orange where it gives less.";
  const head = { z2u: "all heads put" }[map] || (/^h\d/.test(map) ? `head ${map.slice(1)} puts` : "");
  if (head) return `Each row is what ${head} out at one token; ${more} was read from the column’s token.`;
  const way = { z2z: "counted over the whole layer", composed: "through the heads" }[map] || `through ${wayOf(map)}`;
  return `Each row is a token’s new vector; ${more} came from the column’s token, ${way}.`;
}

/** What is known of the rows of a map, beside its heading. */
export const sumsWords = ({ flow, state }) => (isAttention(flow) ? ATTENTION : certifiedRows(state.map));

/** What that means, and what it does not. */
export const certificateWords = (view, worst) =>
  isAttention(view.flow)
    ? "How much a head looks at a token does not say what it takes from there."
    : `${sumsWords(view)}, within the tolerance (largest error ${worst}). It does not say that the model would answer otherwise without a token.`;

/** What a picture says, as parts of a sentence: of two pictures how far apart they are, of a head what it reads. */
export function sayingOf(views, chosen) {
  const [view] = views;
  if (views.length > 1)
    return views[2]
      ? apart(view, views[2], chosen)
      : [{ text: "The two have no columns, or no rows, in common: no difference is drawn" }];
  const row = chosen?.side === "target" ? view.rowIds.indexOf(chosen.index) : -1;
  const head = /^h\d/.test(view.state.map)
    ? `head ${view.state.map.slice(1)}`
    : view.state.map === "z2u"
      ? "all heads"
      : "";
  if (head) return reads(view, head);
  if (view.state.map === "difference") return [];
  if (chosen?.side === "head" && !view.isPlayers && chosen.index < view.flow.heads && view.flow.routes.includes("z2u"))
    return reads(viewOf(view.flow, { ...view.state, map: `h${chosen.index}` }), `head ${chosen.index}`);
  if (chosen && chosen.side !== "target") return reaches(view, view.columnIds.indexOf(chosen.index));
  if (row < 0) return [{ text: "Click a token to see what moved it" }];
  const most = strongest(view.columns, (c) => inShare(view, row, c)).map((c) => [c, inShare(view, row, c)]);
  if (!most.length) return [];
  return [
    named(view.lens.groups, view.rowIds[row]),
    { text: ` is moved in layer ${view.state.layer} most by ` },
    ...listed(most.map(([c, share]) => [columnPart(view, c), percent(share)])),
  ];
}

/** What a source, or a head as a column, gives most to. */
function reaches(view, c) {
  if (c < 0) return [{ text: "What is pinned is not among the sources that are shown" }];
  const most = strongest(view.rows, (r) => inShare(view, r, c)).map((r) => [
    named(view.lens.groups, view.rowIds[r]),
    percent(inShare(view, r, c)),
  ]);
  return [
    columnPart(view, c),
    { text: ` in layer ${view.state.layer} ${most.length ? "gives most to " : "gives nothing"}` },
    ...listed(most),
  ];
}

const columnPart = (view, c) =>
  view.isPlayers
    ? { token: c < view.columns - 1 ? `head ${c}` : "the rest, past the heads", text: "" }
    : named(view.lens.groups, view.columnIds[c]);

/** The columns with the largest shares, at least half a per mille. */
const strongest = (count, share) =>
  [...Array(count).keys()]
    .filter((c) => Math.abs(share(c)) >= 0.0005)
    .sort((a, b) => Math.abs(share(b)) - Math.abs(share(a)) || a - b)
    .slice(0, NAMES);

const listed = (entries) =>
  entries.flatMap(([part, words], i) => [{ text: i ? ", " : "" }, { ...part, text: `${part.text} ${words}` }]);

// --- a head -------------------------------------------------------------------------------------

/** Shares of each row's neighbour at an offset, over the rows of plain tokens that have one among the shown sources. */
export function neighbourShares(view, offset) {
  return view.rowIds.flatMap((id, r) => {
    const c = view.columnIds.indexOf(id + offset);
    return !view.lens.groups[id].special && c >= 0 && view.sizes[r] > 0 ? [inShare(view, r, c)] : [];
  });
}

/** What a head reads: a neighbour, where that holds most at most tokens, or else the sources of the mean row. */
function reads(view, head) {
  const looks = isAttention(view.flow);
  const verb = looks ? "look" : "read";
  const subject = `${head[0].toUpperCase()}${head.slice(1)} of layer ${view.state.layer} ${head === "all heads" ? verb : `${verb}s`}`;
  const mean = (list) => list.reduce((sum, share) => sum + share, 0) / (list.length || 1);
  const plain = view.rowIds.filter((id) => !view.lens.groups[id].special).length;
  const habits = Object.keys(NEIGHBOURS)
    .map((offset) => ({ offset, shares: neighbourShares(view, Number(offset)) }))
    .filter(({ shares }) => shares.length >= Math.max(3, 0.7 * plain) && mean(shares) >= HABIT)
    .sort((a, b) => mean(b.shares) - mean(a.shares));
  if (habits.length) {
    const { offset, shares } = habits[0];
    const range = `${percent(Math.min(...shares))} to ${percent(Math.max(...shares))}`;
    return [
      { text: `${subject} mostly ${looks ? "at " : ""}` },
      {
        token: NEIGHBOURS[offset],
        text: `: ${percent(mean(shares))} of ${looks ? "its attention" : "what moves its output"} (${range}, ${counted(shares.length, "token")})`,
      },
    ];
  }
  const means = [...Array(view.columns).keys()].map((c) =>
    mean([...Array(view.rows).keys()].map((r) => inShare(view, r, c))),
  );
  const column = (c) => means[c];
  const most = strongest(view.columns, column);
  return most.length
    ? [
        { text: `${subject} most ${looks ? "at" : "from"} ` },
        ...listed(most.map((c) => [columnPart(view, c), percent(column(c))])),
        { text: `, on average over ${counted(view.rows, "token")}` },
      ]
    : [{ text: `${subject}${looks ? " at" : ""} none of the sources that are shown` }];
}

// --- two pictures -------------------------------------------------------------------------------

/** How much the two agree on, over the pinned row or all rows that both have, and where they are furthest apart. */
function apart(view, difference, chosen) {
  const place = chosen?.side === "target" ? difference.rowIds.indexOf(chosen.index) : -1;
  const rows = place >= 0 ? [place] : [...Array(difference.rows).keys()];
  const agreed = rows.reduce((sum, r) => sum + difference.agreed[r], 0) / rows.length;
  const cells = rows.flatMap((r) => [...Array(difference.columns).keys()].map((c) => r * difference.columns + c));
  const gaps = difference.shareGaps;
  const cell = cells.reduce((best, i) => (Math.abs(gaps[i]) > Math.abs(gaps[best]) ? i : best), cells[0]);
  const [row, column] = [Math.floor(cell / difference.columns), cell % difference.columns];
  const target = { token: difference.rowLabels[row], text: "" };
  const alone = view.rows - difference.rows;
  return [
    { text: `The two agree on ${percent(agreed)} of ${wholeRow(view.flow, "", "moves")}` },
    ...(place >= 0 ? [target] : [{ text: "a token, on average" }]),
    ...(Math.abs(gaps[cell]) < 0.0005
      ? []
      : [
          { text: "; furthest apart at " },
          { token: difference.columnLabels[column], text: place >= 0 ? "" : " to " },
          ...(place >= 0 ? [] : [target]),
          {
            text: `, ${(100 * Math.abs(gaps[cell])).toFixed(1)} points ${gaps[cell] < 0 ? "less" : "more"} in the first`,
          },
        ]),
    ...(alone ? [{ text: `; ${counted(alone, "row")} of the first without a partner` }] : []),
  ];
}
