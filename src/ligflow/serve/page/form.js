// The form: what is typed and chosen, as the server takes it, and what it offers of each model.

import { withTurns } from "./chat.js";

export const at = (id) => document.getElementById(id);
const BASELINES = ["att_baseline", "mlp_baseline", "layer_baseline"];
const WORDS = {
  itb: "target: all others become this token",
  att_itb_a0: "matching: follows the heads",
  matched: "matching: follows the heads, with the residual",
  zero: "zero",
  mean: "mean of the text",
  itb_zero_ratio: "target, with an estimate of its own part",
};
const SENTENCES = [
  ["The capital of France is"],
  ["When Mary and John went to the store, John gave a drink to"],
  ["The old lighthouse keeper counted the"],
];
const EXAMPLES = {
  masked: (mask) => [
    [`The capital of France is ${mask}.`],
    [`The old lighthouse keeper counted the ${mask}.`],
    [`She gave ${mask} a book.`],
  ],
  none: () => [
    ["The old lighthouse keeper counted the ships.", "A man in a tower looked at the boats."],
    ["The cat sleeps on the sofa.", "A kitten naps on the couch."],
    ["How do I change my password?", "I cannot log in to my account."],
  ],
  "question answering": () => [
    ["Who counted the ships?", "The old lighthouse keeper counted the ships."],
    ["What is the capital of France?", "Paris is the capital of France, and Rome is that of Italy."],
    ["Where does the cat sleep?", "The dog runs in the garden while the cat sleeps on the sofa."],
  ],
};
const CLASSED = [
  ["A wonderful film, from the first minute to the last."],
  ["The plot is thin, but the music saves it."],
  ["The old lighthouse keeper counted the ships."],
];

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => new Option(WORDS[name] || name, name)));
  if (names.includes(chosen)) select.value = chosen;
}

export function fillModels(models, chosen) {
  fill(
    at("model"),
    models.map((model) => model.name),
    chosen,
  );
  at("models").hidden = models.length < 2;
}

/** What a model can be asked, in words and fields. */
export function fillFor(model) {
  for (const name of BASELINES) fill(at(name), model.baselines[name], at(name).value);
  at("att_baseline").disabled = at("mlp_baseline").disabled = !model.routes.includes("z2u");
  at("says").textContent = model.says;
  at("why").textContent = model.kind === "none" ? "Why are they similar?" : "Why did it say this?";
  at("second").hidden = !model.second;
  at("second").firstElementChild.textContent = model.second || "";
  at("other").required = model.needs_second;
  const own = at("reference").querySelector("[value=own]");
  own.disabled = model.kind === "none"; // one text would stand for two of other lengths
  if (own.disabled && own.selected) at("reference").value = "neutral";
  showReference();
  at("chat").hidden = !model.chats;
  if (!model.chats) at("turns").replaceChildren();
  at("at").hidden = ["none", "sequence classifier", "question answering"].includes(model.kind);
}

/** Texts to try with a model: `[text]`, or `[text, second text]`. */
export function examplesFor(model) {
  if (model.kind.endsWith("classifier")) return CLASSED;
  return EXAMPLES[model.kind]?.(model.mask) || SENTENCES;
}

export function showReference() {
  at("own-reference").hidden = at("reference").value !== "own";
}

/** Characters of all that is typed. */
export function typed() {
  const said = [...document.querySelectorAll("#turns textarea, #text, #other")].filter(
    (field) => !field.closest("[hidden]"),
  );
  return said.reduce((sum, field) => sum + [...field.value].length, 0);
}

/** A final line end is the key that was pressed, and no part of the text. */
function plain(id) {
  return at(id).value.replace(/\r?\n$/, "");
}

/** What the model reads. */
export function prompt() {
  const text = withTurns(at("turns"), plain("text"));
  const other = at("second").hidden || !at("other").value.trim() ? null : plain("other");
  const place = at("at").hidden ? "" : at("position").value.trim();
  const position = place === "" ? null : /^-?\d+$/.test(place) ? Number(place) : place;
  return { text, other, model: at("model").value, position };
}

/** What the text is compared with; of a chat other words stand for its last turn. */
export function reference() {
  const chosen = at("reference").value;
  return chosen === "own" ? withTurns(at("turns"), at("own").value) : chosen;
}

/** How the flow inside layers is asked for. */
export function flowRequest() {
  const request = {
    text: withTurns(at("turns"), plain("text")),
    model: at("model").value,
    tol: at("tol").valueAsNumber,
  };
  for (const name of BASELINES) request[name] = at(name).value;
  return request;
}
