// The finding: what the model says, in large type, what that is compared with, rivals, and how exact it all is.

import { make } from "../viewer/elements.js";
import { shareOf, signed } from "./numbers.js";
import { spoken } from "./prediction_data.js";
import { rowsOfState } from "./state.js";

const quoted = (text) => `‘${spoken(text)}’`;
const said = (line) => `${line[0].toUpperCase()}${line.slice(1)}.`;

/**
 * Outputs with their probabilities: `[output, in the run, with the reference]`. One that is not among the likeliest of a
 * run is below the last that is listed: `{ below }`.
 */
export function outputsOf(data) {
  const runs = [data.top, data.referenceTop].map((top) => new Map(top));
  const named = (outputs, top) => outputs.map((name, i) => [top[i][0], name]);
  const names = new Map([
    ...named(data.page.outputs, data.top),
    ...named(data.page.reference_outputs.slice(0, 2), data.referenceTop),
  ]);
  if (data.page.probabilities) names.set(data.meta.question, data.page.asked);
  const shareIn = (run, output) => {
    if (data.page.probabilities && output === data.meta.question) return data.page.probabilities[run];
    return runs[run].get(output) ?? { below: Math.min(...runs[run].values(), 1) };
  };
  return [...names].map(([output, name]) => [name, shareIn(0, output), shareIn(1, output)]);
}

/** An answer whose chosen rows stand out. */
function answerOf(rows, [first, last]) {
  const text = (from, to) =>
    spoken(
      rows
        .slice(from, to)
        .map((row) => row.page.asked)
        .join(""),
    );
  return [
    "‘",
    text(0, first).trimStart(),
    make("em", {}, first ? text(first, last + 1) : text(first, last + 1).trimStart()),
    text(last + 1),
    "’",
  ];
}

function titleOf({ data, group, state }) {
  const { top, page, meta } = data;
  const question = meta.question ? spoken(meta.question) : "";
  if (group.rows.length > 1) return ["The answer ", ...answerOf(group.rows, rowsOfState(state, group.rows.length))];
  if (page.contrast) return ["Why ", make("em", {}, question), "?"];
  if (top.length && (!question || spoken(top[0][0]) === question))
    return [
      "The model says ",
      make("em", {}, quoted(page.outputs[0].trim() || page.outputs[0])),
      make("small", {}, ` ${shareOf(top[0][1])}`),
    ];
  return question ? ["Why ", make("em", {}, quoted(page.asked.trim() || page.asked)), "?"] : ["Why this score?"];
}

function bars(data) {
  const every = outputsOf(data);
  const most = Math.max(...every.flatMap((row) => row.slice(1)).filter(Number.isFinite), 1e-9);
  const bar = (share, run) => {
    const own = make("span", { className: "bar", style: `width:${(70 * (share.below ? 0 : share)) / most}%` });
    const text = share.below ? `under ${shareOf(share.below)}` : shareOf(share);
    return make("td", { className: run }, own, make("span", { className: share.below ? "faint" : "" }, text));
  };
  const rows = every.map(([name, real, other]) =>
    make("tr", {}, make("th", { scope: "row" }, quoted(name)), bar(real, "real"), bar(other, "other")),
  );
  const names = ["", "for this text", "for the reference"].map((name) => make("th", { scope: "col" }, name));
  return make(
    "table",
    { className: "outputs" },
    make("thead", {}, make("tr", {}, ...names)),
    make("tbody", {}, ...rows),
  );
}

function certificate(data) {
  const { met, missed, adds_up: sums, caveat } = data.page;
  const segments = data.certificates.length;
  const lines = [
    data.isSum
      ? `The rows chosen add up to ${signed(data.relevance.reduce((a, b) => a + b, 0))} of ${signed(data.change)}.`
      : said(sums),
    ...missed.map(said),
    `Certified: the parts add up to the change of the score, within the estimated error, in ${segments} segments of the model.`,
    `Not certified: ${caveat}. Nor is it certified that another reference would give the same.`,
  ];
  return make(
    "details",
    { className: met ? "certificate" : "certificate failed" },
    make("summary", {}, met ? "✓ adds up" : "✗ less exact than asked"),
    ...lines.map((line) => make("p", {}, line)),
  );
}

/** The top of the page, filled anew for each scene. */
export function headline(app) {
  const title = make("h1");
  const compared = make("div", { className: "compared" });
  const outputs = make("div");
  const mark = make("div");
  app.connect((scene) => {
    const { data, group } = scene;
    const isAlone = group.rows.length === 1;
    title.replaceChildren(...titleOf(scene));
    const lines = data.isSum ? [scoreOf(data)] : data.page.compared;
    compared.replaceChildren(...lines.map((line) => make("p", {}, said(line))));
    outputs.replaceChildren(...(isAlone && data.top.length ? [bars(data)] : []));
    const open = mark.querySelector("details")?.open;
    mark.replaceChildren(certificate(data));
    mark.firstChild.open = !!open;
  });
  return { title, compared, outputs, mark };
}

const scoreOf = (data) =>
  `the log-probability of what is chosen changes by ${signed(data.change)}, from ${signed(data.referenceValue)} with ` +
  `${data.page.reference} to ${signed(data.value)}; the words below share out this change`;
