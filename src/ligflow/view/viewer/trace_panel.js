// The trace of the pinned target in the page: the input as shaded text, the picture, every depth and the paths in words.

import { fit, make } from "./elements.js";
import { lensOf } from "./lens.js";
import { canvasPen } from "./pens.js";
import { fillText } from "./running_text.js";
import { runsOf } from "./trace.js";
import { depthName, drawTrace } from "./trace_picture.js";
import { mapName, percent, settingsWords } from "./wording.js";

export function tracePanel() {
  const parts = {
    element: make("section", { className: "trace", ariaLabel: "Trace" }),
    text: make("p", { ariaLive: "polite" }),
    offer: make("div", { className: "line" }),
    inputTitle: make("h3", {}, "What of the input it comes from"),
    input: make("p", { className: "running" }),
    scroll: make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Picture of the trace" }),
    canvas: make("canvas", {
      role: "img",
      ariaLabel: "Relevance at every depth; the table below holds the same in words",
    }),
    depths: make("table"),
    pathsText: make("p"),
    paths: make("ol"),
    about: make("p", { className: "faint" }),
  };
  parts.scroll.append(parts.canvas);
  parts.rest = make(
    "div",
    {},
    parts.inputTitle,
    parts.input,
    parts.scroll,
    parts.pathsText,
    parts.paths,
    make("details", { className: "help" }, make("summary", {}, "every depth in words"), parts.depths),
    parts.about,
  );
  parts.element.append(parts.text, parts.offer, parts.rest);
  return parts;
}

/** Why there is no trace; with a button where one can be computed. */
export function fillRefusal(parts, text, button = null) {
  parts.text.replaceChildren(text);
  parts.offer.replaceChildren(...(button ? [button] : []));
  parts.rest.hidden = true;
}

export function fillTrace(parts, found, chain, own, state, inks) {
  const input = found.relevance[found.layers.length];
  const most = input.reduce((size, held) => Math.max(size, Math.abs(held)), 0) || 1;
  parts.offer.replaceChildren();
  parts.rest.hidden = false;
  parts.text.replaceChildren(
    `‘${found.labels[found.start]}’ after layer ${found.layers[0]}, followed down to the input, comes from ${strongestWords(input, found.labels, 3)}.`,
  );
  const { groups } = lensOf(chain.flow, { words: state.words, special: 0, map: "z2z" });
  fillText(parts.input, chain.flow, groups, input, most, inks, { marked: found.start });
  drawTrace(canvasPen(fit(parts.canvas, found.at.width, found.at.height)), found, found.at, inks);
  const head = ["", "shares, the strongest first", "how far the sums of its layer are off"].map((name) =>
    make("th", { scope: "col" }, name),
  );
  const rows = found.relevance.map((row, depth) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, depthName(found, depth)),
      make("td", {}, strongestWords(row, found.labels, 8)),
      make("td", {}, depth < found.layers.length ? found.certificates[depth].toExponential(1) : ""),
    ),
  );
  parts.depths.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  parts.pathsText.textContent = `The strongest paths, from the token down to the input${found.paths.length < found.asked ? "; there are no more" : ""}:`;
  parts.paths.replaceChildren(
    ...found.paths.map(({ weight, nodes }) =>
      make("li", {}, `${percent(weight)}: ${pathWords(nodes.map((node) => found.labels[node]))}`),
    ),
  );
  parts.about.textContent = aboutWords(found, chain, own, state);
}

const pathWords = (labels) =>
  runsOf(labels)
    .map(([label, times]) => (times > 1 ? `${label} (×${times})` : label))
    .join(" ← ");

function strongestWords(row, labels, count) {
  const order = [...row.keys()]
    .filter((i) => Math.abs(row[i]) >= 0.005)
    .sort((a, b) => Math.abs(row[b]) - Math.abs(row[a]))
    .slice(0, count);
  return order.map((i) => `‘${labels[i]}’ ${percent(row[i])}`).join(", ");
}

/** Tokens whose rows have nothing to share out. */
const stillWords = (count) =>
  count === 1 ? "1 token did not move and keeps its share" : `${count} tokens did not move and keep their share`;

/** What is known of its accuracy, and of what maps it is made. */
function aboutWords(found, { flow, state: seen, top }, own, state) {
  const other = flow !== own || seen.map !== state.map || seen.rule !== state.rule;
  const why = other
    ? `Followed in the maps of ${settingsWords(flow)} (${mapName(seen.map, seen.rule)}), since those shown cannot be followed. `
    : "";
  const coarse = [flow, top].some((one) => one?.quantised.length)
    ? "; maps stored as 8-bit numbers, so that each share is rounded"
    : "";
  const missed = found.unmet ? `; ${found.unmet} integrals not converged` : "";
  const moved =
    found.amount === null ? "" : `; it moved by ${found.amount.toPrecision(3)} from where its start was carried`;
  const still = found.still ? `; ${stillWords(found.still)}` : "";
  const hidden =
    state.special || state.prefix ? "; hidden tokens take part, since relevance would be lost without them" : "";
  const first = top ? `; first step: ${settingsWords(top)}` : "";
  return (
    `${why}Maps: ${mapName(seen.map, "conserving")}${first}${moved}; shares sum to 1 at every depth, within ${found.drift.toExponential(0)}; ` +
    `what the rows share out is off by up to ${Math.max(...found.certificates).toExponential(0)} of it; estimated error of the input’s ` +
    `shares, added up: ${found.errors[found.layers.length].toExponential(0)}${missed}${still}${hidden}${coarse}.`
  );
}
