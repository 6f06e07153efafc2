// The parts of the page, empty.

import { make, panel } from "./elements.js";
import { tracePanel } from "./trace_panel.js";

const SAVED = {
  svg: "This very view as a drawing, for print.",
  png: "This very view as a picture, twice as fine as the screen.",
  csv: "All squares of this view as a table, with their values, and what of them is shown.",
};

export function skeleton() {
  const [heat, beside, both] = [
    panel("Heat map: rows are targets, columns are sources"),
    panel("Heat map of the flow beside"),
    panel("Heat map of the difference"),
  ];
  const ladder = panel("Ladder from sources to targets");
  const parts = {
    heats: [heat, beside, both],
    ladder,
    trace: tracePanel(),
    title: make("h1"),
    more: make("button", {
      type: "button",
      className: "more",
      "aria-description": "The whole text, or its first line.",
    }),
    model: make("p", { className: "faint model", tabIndex: 0 }),
    says: make("p", { className: "says" }),
    findings: make("ol", { className: "findings", ariaLabel: "What moved it most, in any layer" }),
    about: make("p", { className: "faint about" }),
    presets: make("div", { className: "presets", role: "group", ariaLabel: "Questions" }),
    controls: make("div", { className: "controls" }),
    moreButton: make("div"),
    gear: make("div", { className: "gear" }),
    tabs: make("div", { className: "tabs", role: "tablist", ariaLabel: "How to see it" }),
    skip: make(
      "button",
      { type: "button", className: "skip", "aria-description": "Go on to the picture." },
      "Skip the thumbnails",
    ),
    thumbs: make("div", { className: "thumbs" }),
    heading: make("h2"),
    badge: make("span", { className: "badge", tabIndex: 0 }),
    caption: make("p", { className: "caption" }),
    kept: make("p", { className: "kept" }),
    guide: make("p"),
    keys: make("p"),
    legend: make("canvas", { className: "legend", role: "img" }),
    legendText: make("span"),
    views: make("div", { className: "views" }),
    map: make("section", { className: "map", ariaLabel: "Map" }),
    text: make("section", { className: "text", ariaLabel: "Text" }),
    running: make("div", {
      className: "running",
      role: "group",
      tabIndex: 0,
      ariaLabel: "The text, shaded by what moved the pinned token; arrow keys pin another",
    }),
    textNote: make("p", { className: "faint" }),
    details: make("div", { className: "details", ariaLive: "polite" }),
    tip: make("div", { className: "tip", role: "status", hidden: true }),
    file: make("input", {
      type: "file",
      accept: ".safetensors",
      multiple: true,
      ariaLabel: "Open a flow file beside this one",
      "aria-description":
        "A saved flow (.safetensors) of this or another model, drawn beside this one. It stays on this machine. A file can be dropped on the page, too.",
    }),
    exports: Object.fromEntries(
      Object.entries(SAVED).map(([kind, why]) => [
        kind,
        make("button", { type: "button", className: `export-${kind}`, "aria-description": why }, kind.toUpperCase()),
      ]),
    ),
  };
  parts.overview = make("nav", { className: "overview", ariaLabel: "All layers and heads" }, parts.skip, parts.thumbs);
  parts.views.append(ladder.element, heat.element, beside.element, both.element);
  parts.map.append(make("div", { className: "line legends" }, parts.legend, parts.legendText), parts.views);
  parts.text.append(parts.running, parts.textNote);
  parts.headline = make("div", { className: "line" }, parts.heading, parts.badge);
  parts.main = make(
    "main",
    {},
    parts.headline,
    parts.caption,
    parts.kept,
    parts.map,
    parts.text,
    parts.trace.element,
    parts.details,
    foot(parts),
  );
  parts.element = make(
    "div",
    { className: "app" },
    make(
      "header",
      {},
      make("div", { className: "titles" }, parts.title, parts.more, parts.model),
      parts.says,
      parts.findings,
      parts.about,
      parts.presets,
      make("div", { className: "bar" }, parts.tabs, parts.controls, parts.moreButton),
      parts.gear,
    ),
    make("div", { className: "body" }, parts.overview, parts.main),
    parts.tip,
  );
  return parts;
}

function foot(parts) {
  return make(
    "footer",
    {},
    make(
      "div",
      { className: "tools" },
      make("span", {}, "Save this view:"),
      ...Object.values(parts.exports),
      make("label", {}, "Open beside: ", parts.file),
    ),
    make("details", { className: "help" }, make("summary", {}, "How to read it"), parts.guide),
    make("details", { className: "help" }, make("summary", {}, "Keys"), parts.keys),
  );
}
