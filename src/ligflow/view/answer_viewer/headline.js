// The finding: what the model says, in large type, what that is compared with, rivals, and how exact it all is.

import { make } from "../viewer/elements.js";
import { shareOf, signed } from "./numbers.js";
import { spoken } from "./prediction_data.js";

const quoted = (text) => `‘${spoken(text)}’`;
const said = (line) => `${line[0].toUpperCase()}${line.slice(1)}.`;

/** Probabilities of the outputs in both runs: `[output, in the run, with the reference]`, null where not listed. */
export function outputsOf(data) {
  const other = new Map(data.referenceTop);
  const asked = data.page.score === "logprob" && !data.page.contrast ? data.meta.question : undefined;
  const shares = data.top.map(([text, share], i) => [
    data.page.outputs[i],
    share,
    other.get(text) ?? (text === asked ? Math.exp(data.referenceValue) : null),
  ]);
  if (asked !== undefined && data.isOneRow && !data.top.some(([text]) => text === asked))
    shares.push([asked, Math.exp(data.value), Math.exp(data.referenceValue)]);
  return shares;
}

function titleOf({ data, group }) {
  const { top, page, meta } = data;
  const question = meta.question ? spoken(meta.question) : "";
  if (group.rows.length > 1)
    return ["The model answers ", make("em", {}, quoted(group.rows.map((row) => row.meta.question).join("")))];
  if (page.contrast) return ["Why ", make("em", {}, question), "?"];
  if (top.length && (!question || spoken(top[0][0]) === question))
    return ["The model says ", make("em", {}, quoted(top[0][0])), make("small", {}, ` ${shareOf(top[0][1])}`)];
  return question ? ["Why ", make("em", {}, quoted(question)), "?"] : ["Why this score?"];
}

function bars(data) {
  const most = Math.max(...outputsOf(data).flatMap((row) => [row[1], row[2] || 0]), 1e-9);
  const bar = (share, name) =>
    make(
      "td",
      { className: name },
      share === null ? make("span", { className: "faint", title: "not among the likeliest there" }, "–") : "",
      ...(share === null
        ? []
        : [
            make("span", { className: "bar", style: `width:${(70 * share) / most}%` }),
            make("span", {}, shareOf(share)),
          ]),
    );
  const rows = outputsOf(data).map(([name, own, other]) =>
    make("tr", {}, make("th", { scope: "row" }, quoted(name)), bar(own, "own"), bar(other, "other")),
  );
  const names = ["", "in this text", "with the reference"].map((name) => make("th", { scope: "col" }, name));
  return make(
    "table",
    { className: "outputs" },
    make("thead", {}, make("tr", {}, ...names)),
    make("tbody", {}, ...rows),
  );
}

function certificate(data) {
  const { met, missed, adds_up: sums, caveat } = data.page;
  const isGood = met && !data.certificates.some((each) => !each.met && !met);
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
    { className: isGood ? "certificate" : "certificate failed" },
    make("summary", {}, isGood ? "✓ adds up" : "✗ less exact than asked"),
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
    data.isOneRow = group.rows.length === 1;
    title.replaceChildren(...titleOf(scene));
    const lines = data.isSum || group.rows.length > 1 ? [scoreOf(data)] : data.page.said.slice(0, -1);
    compared.replaceChildren(...lines.map((line) => make("p", {}, said(line))));
    outputs.replaceChildren(...(data.isOneRow && data.top.length ? [bars(data)] : []));
    const open = mark.querySelector("details")?.open;
    mark.replaceChildren(certificate(data));
    mark.firstChild.open = !!open;
  });
  return { title, compared, outputs, mark };
}

const scoreOf = (data) =>
  `${data.page.question ? "score of what is chosen" : "score"}: ${signed(data.value)}, and ${signed(data.referenceValue)} ` +
  `with ${data.page.reference}, a change of ${signed(data.change)}`;
