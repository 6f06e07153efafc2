// How the screens speak: names of maps, settings and numbers in plain words, and text made safe to show.

/** Control and format characters as escapes, so that a token cannot reorder or hide what is around it. */
export function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (c) => {
    const code = c.codePointAt(0).toString(16);
    return code.length < 3
      ? `\\x${code.padStart(2, "0")}`
      : code.length < 5
        ? `\\u${code.padStart(4, "0")}`
        : `\\U${code.padStart(8, "0")}`;
  });
}

/** A token as a label: without the blanks around it; one of blanks alone as open boxes. */
export const labelOf = (token) => printable(token.replace(/^ +| +$/g, "") || token.replaceAll(" ", "␣"));

export const MAP_CHOICES = {
  z2z: "layer, token to token",
  composed: "layer, through the heads",
  difference: "layer, difference of the two",
  z2u: "what all heads read",
  u2z: "which heads write",
};

/** What the direct map's part passes through, the MLP or a head; empty for other maps. */
export const wayOf = (map) => (map === "through_mlp" ? "the MLP" : /^e\d/.test(map) ? `head ${map.slice(1)}` : "");

/** Whether a flow's numbers are attention weights, and no contributions. */
export const isAttention = (flow) => flow.meta.measure === "attention";
export const ATTENTION = "attention weights, not contributions: nothing is certified of them";

/** What shares of a row are shares of: what moved the target, or its attention. */
export const wholeRow = (flow, token = "it", verb = "moved") => {
  if (!isAttention(flow)) return `what ${verb} ${token}`;
  return token === "it" ? "its attention" : `the attention of ${token}`;
};

/** The mark of rows that meet the tolerance; of a part the sum over all parts is known, and not its own. */
export const certifiedOf = (map) => (wayOf(map) ? "✓ certified, all parts together" : "✓ certified");

/** The same above a map, with what it says. */
export const certifiedRows = (map) =>
  wayOf(map) ? certifiedOf(map) : "✓ certified: each row adds up to how far its target moved";

/** A map in plain words. */
const mapWords = (map) =>
  MAP_CHOICES[map] || (wayOf(map) ? `layer, what passes through ${wayOf(map)}` : `what head ${map.slice(1)} reads`);

/** A map in the letters of the paper: z, what the layer gets; u, what heads put out; z′, what the layer makes. */
export const lettersOf = (map) =>
  ({ composed: "z → u → z′", u2z: "u → z′", z2u: "z → u" })[map] || (/^h\d/.test(map) ? "z → u" : "z → z′");

/** A map as an entry of a list. */
export const mapChoice = (map) => `${mapWords(map)} (${lettersOf(map)})`;

/** A map as a title, after `Layer 3: `. */
export const mapName = (map, rule) => {
  const how = rule === "product" ? " (product)" : "";
  return (
    {
      z2z: "token to token",
      composed: `token to token, through the heads${how}`,
      difference: `token to token, minus through the heads${how}`,
    }[map] || (wayOf(map) ? `token to token, what passes through ${wayOf(map)}` : mapWords(map))
  );
};

/** A map as one of two. */
export const mapShort = (map, rule) =>
  ({ z2z: "direct", composed: rule === "product" ? "composed (product)" : "composed" })[map] || mapName(map, rule);

const BASELINES = { itb: "target", att_itb_a0: "target", matched: "matching", itb_zero_ratio: "target-and-zero" };
const USUAL = ["att_itb_a0", "matched"]; // of the heads that write: where those that read start, they do
const baseline = (name) => printable(`${BASELINES[name] || String(name).replaceAll("_", " ")} baseline`);
const PARTS = { att_baseline: "heads", mlp_baseline: "writing", layer_baseline: "layers" };

/** Baselines of a flow by their names in its settings: `heads: mean baseline`. */
export const baselinesOf = (flow, names) =>
  names.map((name) => `${PARTS[name]}: ${baseline(flow.meta.settings?.[name])}`);

const STARTS = {
  itb: "target baseline: every source starts as the target’s own vector, so that what counts is how it differs from the target",
  mean: "mean baseline: every source starts as the mean of the text’s vectors",
  zero: "zero baseline: every source starts as nothing, the vector of zeros",
};

/** What the baselines of a flow mean, in plain words; empty where none of them is explained here. */
export function baselineWords({ meta: { settings = {} } }) {
  const names = [...new Set([settings.att_baseline, settings.layer_baseline])].filter((name) => name in STARTS);
  return names.length
    ? `What a source gives is counted from a start, the baseline, to what it is. ${names.map((name) => STARTS[name]).join("; ")}.`
    : "";
}

/** The baselines of a flow: one name where heads and layers have the same. */
function baselines({ att_baseline: att, mlp_baseline: mlp, layer_baseline: layer }) {
  const both = att && layer && att !== layer;
  const words = both
    ? [`heads: ${baseline(att)}`, `layers: ${baseline(layer)}`]
    : att || layer
      ? [baseline(att || layer)]
      : [];
  return mlp && !USUAL.includes(mlp) ? [...words, `writing: ${baseline(mlp)}`] : words;
}

/** What a flow was computed with, part by part, in words. */
export function settingParts(flow) {
  const s = flow.meta.settings || {};
  const towards = flow.meta.towards ? [`towards ‘${flow.meta.towards}’`] : [];
  const carried = s.carried ? ["carried from layer to layer"] : [];
  const tolerance = s.tol ? [`tolerance ${s.tol}`] : [];
  return [flow.meta.model || flow.name, ...towards, ...baselines(s), ...carried, ...tolerance].map((part) =>
    printable(String(part)),
  );
}

export const settingsWords = (flow) => settingParts(flow).join(", ");

/** Where long texts that begin alike differ: a few words before that. */
function differs(texts) {
  let same = 0;
  while (texts.every((text) => same < text.length && text[same] === texts[0][same])) same++;
  return same < 28 || texts.every((text) => text === texts[0]) ? 0 : texts[0].lastIndexOf(" ", same - 10) + 1;
}

/** Names of the flows in a list: the text first, and of the settings those that tell equal texts apart. */
export function entriesOf(flows) {
  const texts = flows.map((flow) => printable(String(flow.meta.text || flow.name)));
  const from = differs(texts);
  const textOf = (flow) => cut(texts[flows.indexOf(flow)].slice(from).replace(/^/, from ? "… " : ""), 48);
  return flows.map((flow, i) => {
    const alike = flows.filter((one) => textOf(one) === textOf(flow)).map(settingParts);
    const own = settingParts(flow).filter((part) => !alike.every((parts) => parts.includes(part)));
    const number = flows.length > 1 ? `${i + 1}. ` : "";
    return `${number}${textOf(flow)}${own.length ? ` (${own.join(", ")})` : ""}`;
  });
}

/** The same in the names of the code, for tables. */
export const settingsOf = (flow) => {
  const s = flow.meta.settings || {};
  const short = ["att", "mlp", "layer"].map((n) => s[`${n}_baseline`] && `${n} ${s[`${n}_baseline`]}`).filter(Boolean);
  const towards = flow.meta.towards ? `towards ‘${flow.meta.towards}’, ` : "";
  return printable(`${flow.meta.model || flow.name}: ${towards}${short.join(", ")}${s.tol ? `, tol ${s.tol}` : ""}`);
};

export const cut = (label, room) => (label.length > room ? `${label.slice(0, room - 1)}…` : label);
export const form = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());
export const percent = (value) => `${(100 * value).toFixed(Math.abs(value) < 0.0995 ? 1 : 0)}%`;
export const counted = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;
