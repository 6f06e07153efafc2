// A view in its place on the page: title, a sentence, the picture, what can be saved of it, and its numbers as a table.

import { csvOf } from "../viewer/csv.js";
import { make, save } from "../viewer/elements.js";
import { css, pngOf, svgOf, svgPen } from "../viewer/pens.js";

/**
 * The section of a view: `{ id, title, element, caption(scene), draw(scene), mark(scene), picture(pen, scene),
 * table(scene) }`. `picture` draws on a pen and returns its size; `table` gives rows, the first of them names.
 * `isEmpty(scene)`, where a view has it, hides the section; where `isLarge(scene)` it is drawn when it is asked for;
 * where `isNarrow(scene)` the next view stands beside it on a wide page.
 */
export function viewSection(view, app) {
  const caption = make("p", { className: "caption" });
  const message = make("span", { role: "status" });
  const table = make("div", { className: "numbers" });
  const numbers = make("details", {}, make("summary", {}, "The numbers"), table);
  let isWanted = false;
  const below = make("div", { className: "below" }, takeAway(view, app, message), numbers);
  const ask = make(
    "button",
    { type: "button", className: "ask" },
    "Draw it: of this long text that takes some seconds",
  );
  const element = make(
    "section",
    { className: `view ${view.id}`, ariaLabel: view.title },
    make("h2", {}, view.title),
    caption,
    ask,
    view.element,
    below,
  );
  const fill = () => table.replaceChildren(...(numbers.open ? [tableOf(view.table(app.scene()))] : []));
  numbers.addEventListener("toggle", fill);
  /** A view that fails says so in its place, and leaves the others alone. */
  const guarded = (action) => (scene) => {
    try {
      action(scene);
    } catch (error) {
      caption.textContent = `This view could not be drawn: ${error.message}`;
      reportError(error);
    }
  };
  const draw = guarded((scene) => {
    element.hidden = !!view.isEmpty?.(scene);
    element.classList.toggle("narrow", !!view.isNarrow?.(scene));
    const waits = !isWanted && !!view.isLarge?.(scene);
    [ask.hidden, caption.hidden, view.element.hidden, below.hidden] = [!waits, waits, waits, waits];
    if (element.hidden || waits) return;
    caption.replaceChildren(...[view.caption(scene)].flat());
    view.draw(scene);
    fill();
  });
  const mark = guarded((scene) => {
    if (!element.hidden && !view.element.hidden) view.mark(scene);
  });
  ask.addEventListener("click", () => {
    isWanted = true;
    draw(app.scene());
  });
  app.connect(draw, mark);
  return element;
}

const MOST_ROWS = 2000;

function tableOf([head, ...rows]) {
  const cells = (tag, row) => row.map((cell) => make(tag, {}, String(cell)));
  const left = rows.length - MOST_ROWS;
  const shown = rows.slice(0, MOST_ROWS).map((row) => make("tr", {}, ...cells("td", row)));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...cells("th", head))), make("tbody", {}, ...shown));
  return left > 0 ? make("div", {}, table, make("p", {}, `${left} more rows are in the CSV.`)) : table;
}

function takeAway(view, app, message) {
  const say = (text) => {
    message.textContent = text;
  };
  const button = (name, title, action) =>
    make("button", { type: "button", className: `save-${name.toLowerCase()}`, title, onclick: action }, name);
  const file = (ending) => `${view.id}.${ending}`;
  const copy = async () => {
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": pngPicture(view, app.scene()) })]);
      say("Copied.");
    } catch {
      say("This browser does not let a page copy images; save the PNG instead.");
    }
  };
  return make(
    "details",
    { className: "save" },
    make("summary", {}, "Save"),
    button("SVG", "The picture, for print", () => save(svgPicture(view, app.scene()), "image/svg+xml", file("svg"))),
    button("PNG", "The picture at twice its size", async () =>
      save(await pngPicture(view, app.scene()), "image/png", file("png")),
    ),
    button("CSV", "The numbers", () => save(csvOf(view.table(app.scene())), "text/csv", file("csv"))),
    button("Copy", "Copy as image", copy),
    message,
  );
}

export function svgPicture(view, scene) {
  const pen = svgPen();
  const { width, height } = view.picture(pen, scene);
  return svgOf(pen, width, height, css(scene.inks.paper));
}

const pngPicture = (view, scene) => pngOf((pen) => view.picture(pen, scene), scene.inks.paper);
