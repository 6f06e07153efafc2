// All heads and MLPs as a table: a heading sorts, a row's button chooses.

import { make } from "../viewer/elements.js";
import { said } from "./measures.js";

/** The table; `choose` hears of the component that is chosen, by its place. */
export function componentTable(data, choose) {
  const body = make("tbody");
  let [column, down] = [0, true];
  const heads = data.measures.map((measure, place) => {
    const sort = () => {
      [column, down] = [place, place === column ? !down : true];
      fill();
    };
    return make(
      "th",
      { scope: "col" },
      make("button", { type: "button", title: measure.about, onclick: sort }, measure.name),
    );
  });

  function fill(chosen = null) {
    const size = (part) => part.values[column] ?? Number.NEGATIVE_INFINITY;
    const order = data.components.map((part, place) => ({ part, place }));
    order.sort((one, other) => (down ? size(other.part) - size(one.part) : size(one.part) - size(other.part)));
    for (const [place, head] of heads.entries()) {
      head.setAttribute("aria-sort", place === column ? (down ? "descending" : "ascending") : "none");
    }
    body.replaceChildren(
      ...order.map(({ part, place }) => {
        const button = make("button", { type: "button", onclick: () => choose(place) }, part.name);
        button.setAttribute("aria-pressed", String(place === chosen));
        const values = data.measures.map((measure, of) => make("td", {}, said(measure, part.values[of])));
        return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, part.carries), ...values);
      }),
    );
  }

  const first = [make("th", { scope: "col" }, "head or MLP"), make("th", { scope: "col" }, "carries the task")];
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...first, ...heads)), body);
  return { element: make("div", { className: "wide", tabIndex: 0 }, table), fill };
}
