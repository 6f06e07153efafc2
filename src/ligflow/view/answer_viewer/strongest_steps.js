// The strongest steps from one word to another, each through a head: where what matters changes its place.

import { make } from "../viewer/elements.js";
import { withShare } from "./numbers.js";
import { partCalled } from "./parts.js";

const COUNT = 3;
const known = new WeakMap();

/** Steps between words, the largest first: `{ layer, head, source, target, value }`, heads as the state names them. */
export function stepsOf(data) {
  if (!known.has(data)) {
    const steps = data.layers.flatMap((layer) => stepsOfLayer(data, layer));
    known.set(data, steps.sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, COUNT));
  }
  return known.get(data);
}

function stepsOfLayer(data, layer) {
  const edges = data.edges[layer];
  if (!edges) return [];
  const own = (data.heads[layer] || []).length;
  const sums = new Map();
  edges.value.forEach((value, i) => {
    const [source, target] = [data.unitOf[edges.source[i]], data.unitOf[edges.target[i]]];
    if (source === target) return;
    const head = edges.head[i] < own ? `${edges.head[i]}` : `x${edges.head[i] - own}`;
    const key = `${head} ${source} ${target}`;
    const sum = sums.get(key) || { layer, head, source, target, value: 0 };
    sum.value += value;
    sums.set(key, sum);
  });
  return [...sums.values()];
}

function bringIntoSight(section) {
  const isCalm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  section?.scrollIntoView({ behavior: isCalm ? "auto" : "smooth", block: "start" });
}

/** Sentences of the strongest steps; a click pins the word, the layer and the head, and brings the heads into sight. */
export function strongestSteps(app) {
  const list = make("ol");
  const element = make(
    "div",
    { className: "steps" },
    make("p", { className: "faint" }, "Strongest steps, each what one head carries from one word to another"),
    list,
  );
  let listed = null; // a list that is built anew loses the focus
  app.connect(({ data }) => {
    if (listed === data) return;
    listed = data;
    const steps = stepsOf(data);
    element.hidden = !steps.length;
    list.replaceChildren(
      ...steps.map(({ layer, head, source, target, value }) => {
        const [from, to] = [source, target].map((word) => `‘${data.units[word].label}’`);
        const said = `${from} to ${to}: ${partCalled(data, layer, head)}, ${withShare(data, value)}`;
        const go = () => {
          app.set({ word: source, layer, head });
          bringIntoSight(element.getRootNode().querySelector(".view.heads"));
        };
        return make("li", {}, make("button", { type: "button", title: "Show it in every view", onclick: go }, said));
      }),
    );
  });
  return element;
}
