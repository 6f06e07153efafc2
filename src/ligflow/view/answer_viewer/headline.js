// The finding: what the model says, in large type, what that is compared with, rivals, and how exact it all is.

import { make } from "../viewer/elements.js";
import { chanceOf, shareOf, signed } from "./numbers.js";
import { spoken } from "./prediction_data.js";
import { rowsOfState } from "./state.js";

const PIECES = /(.+?) 1\/(\d+)(?:\1 \d+\/\2)+/gsu; // of a character: é 1/2é 2/2
const quoted = (text) => `‘${spoken(text)}’`;
const said = (line) => `${line[0].toUpperCase()}${line.slice(1)}.`;

/** Whether two predictions are of the same two runs: one text, one reference, one model, and what these say. */
function isOfSameRuns(one, two) {
  const named = ({ meta, tokens, page, top, referenceTop }) =>
    JSON.stringify([
      meta.model,
      tokens,
      page.reference,
      ...[top, referenceTop].map((run) => run.map(([name]) => name)),
    ]);
  return one === two || named(one) === named(two);
}

/** Probabilities of what was asked, `[in the run, with the reference]` by output, of all predictions of the same runs. */
function askedOf(data, groups) {
  const known = groups.flatMap(({ rows }) => (rows.length === 1 ? rows : []));
  const same = [...known.filter((each) => isOfSameRuns(each, data)), data];
  return new Map(same.flatMap(({ page, meta }) => (page.probabilities ? [[meta.question, page.probabilities]] : [])));
}

/**
 * Outputs with their probabilities: `[output, in the run, with the reference]`. One that is not among the likeliest of a
 * run, and that no prediction of the page asks for, is below the last that is listed: `{ below }`.
 */
export function outputsOf(data, groups = []) {
  const runs = [data.top, data.referenceTop].map((top) => new Map(top));
  const named = (outputs, top) => outputs.map((name, i) => [top[i][0], name]);
  const names = new Map([
    ...named(data.page.outputs, data.top),
    ...named(data.page.reference_outputs.slice(0, 2), data.referenceTop),
  ]);
  if (data.page.probabilities) names.set(data.meta.question, data.page.asked);
  const asked = askedOf(data, groups);
  const shareIn = (run, output) => {
    if (asked.has(output)) return asked.get(output)[run];
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
        .join("")
        .replace(PIECES, "$1"),
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
  if (!question) return ["Why this score?"];
  const isOutput = Boolean(meta.settings?.score); // else what was asked is a phrase: similarity to a text
  return ["Why ", make("em", {}, isOutput ? quoted(page.asked.trim() || page.asked) : question), "?"];
}

function bars({ data, groups }) {
  const every = outputsOf(data, groups);
  const most = Math.max(...every.flatMap((row) => row.slice(1)).filter(Number.isFinite), 1e-9);
  const bar = (share, run) => {
    const own = make("span", { className: "bar", style: `width:${(70 * (share.below ? 0 : share)) / most}%` });
    const text = share.below ? `under ${chanceOf(share.below)}` : chanceOf(share);
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

/** What the sum, and all words together, are off by estimate, over all that speaks for and against. */
function errorOf(data) {
  const error = data.error.reduce((sum, each) => sum + Math.abs(each), 0);
  const missing = Math.abs(data.relevance.reduce((sum, each) => sum + each, 0) - data.change);
  return Math.max(error, missing) / data.scale;
}

function certificate(data) {
  const { met, missed, adds_up: sums, caveat } = data.page;
  const [off, isJudged] = [shareOf(errorOf(data)), data.meta.settings?.tol !== undefined];
  const mark = met
    ? `✓ adds up to within ${off}`
    : isJudged
      ? `✗ off by about ${off}, more than asked`
      : `off by about ${off}`;
  const held = `in each of ${data.certificates.length} segments of the model what the parts sum to was held against what they should`;
  const lines = [
    data.isSum
      ? `the rows chosen add up to ${signed(data.relevance.reduce((a, b) => a + b, 0))} of ${signed(data.change)}`
      : sums,
    ...missed,
    met ? `certified: ${held}, and all is within what was allowed` : `${held}; the error is an estimate`,
    `not certified: ${caveat}; nor would another reference give the same`,
  ];
  return make(
    "details",
    { className: met || !isJudged ? "certificate" : "certificate failed" },
    make("summary", {}, mark),
    ...lines.map((line) => make("p", {}, said(line))),
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
    outputs.replaceChildren(...(isAlone && data.top.length ? [bars(scene)] : []));
    const open = mark.querySelector("details")?.open;
    mark.replaceChildren(certificate(data));
    mark.firstChild.open = !!open;
  });
  return { title, compared, outputs, mark };
}

const scoreOf = (data) =>
  `the log-probability of what is chosen changes by ${signed(data.change)}, from ${signed(data.referenceValue)} with ` +
  `${data.page.reference} to ${signed(data.value)}; the words below share out this change`;
