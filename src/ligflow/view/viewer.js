// The viewer in a page: controls, pointer, keyboard, state in the URL fragment, files to save. No dependencies. An
// exported page, the notebook widget and the server all call `mount`.

import {
  AMOUNTS, CHOICES, decodeState, DEFAULTS, encode, exportCsv, follow, form, fromBase64, fromBytes, inked, ladderOf,
  largest, lensOf, mapName, mapsOf, MOST_PATHS, openFlow, percent, pinned, pinOf, printable, refusal, scaleOf,
  settingsOf, settled, viewOf,
} from "./flow.js";
import {
  canvasPen, depthName, drawHeat, drawLadder, drawLegend, drawTrace, exportPng, exportSvg, heatLayout, INKS,
  ladderLayout, legendText, pixels, shade, traceLayout,
} from "./drawing.js";

// --- elements -----------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function fit(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  [canvas.width, canvas.height] = [Math.ceil(width * ratio), Math.ceil(height * ratio)];
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = false;
  return context;
}

/** A picture and what is drawn over it while the pointer moves. */
function panel(label) {
  const [base, over] = [make("canvas"), make("canvas", { className: "over", tabIndex: 0, role: "img", ariaLabel: label })];
  const element = make("div", { className: "panel" }, base, over);
  return { element, base, over };
}

function save(content, type, name) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = make("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// --- mount --------------------------------------------------------------------------------------

/**
 * Shows flow files in an element. `files` are `{ name, bytes }` or `{ name, base64 }`. Options: `fragment` keeps the
 * state in the URL, `start` is the state to begin with, `onSelect` hears what is pinned.
 * Returns `{ destroy, state, add }`.
 */
export function mount(root, files, { fragment = false, start = "", onSelect = () => {} } = {}) {
  root.classList.add("ligflow");
  const message = make("div", { className: "message", role: "alert" });
  root.append(message);
  const say = (text) => { message.textContent = text; message.hidden = !text; };
  say("");
  if (!document.createElement("canvas").getContext?.("2d")) {
    say("This browser has no canvas, on which the maps are drawn. Open the page in a current browser.");
    return { destroy: () => root.replaceChildren(), state: () => null, add: () => {} };
  }
  const flows = [];
  const open = (file) => {
    try {
      flows.push(openFlow(file.bytes ? fromBytes(file.bytes) : fromBase64(file.base64), printable(file.name)));
      return true;
    } catch (error) {
      say(error.message);
      return false;
    }
  };
  files.forEach(open);
  const app = application(root, flows, { fragment, start, onSelect });
  const add = (file) => { if (open(file)) { say(""); app.added(); } };
  const stop = acceptFiles(root, add, say);
  if (flows.length) app.start();
  return { add, state: app.state, destroy: () => { stop(); app.destroy(); root.replaceChildren(); } };
}

/** Flow files that are dropped on the page are opened beside what is there. */
function acceptFiles(root, add, say) {
  const take = async (list) => {
    for (const file of list) {
      try {
        add({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
      } catch {
        say(`${printable(file.name)} cannot be read.`);
      }
    }
  };
  const over = (event) => event.preventDefault();
  const drop = (event) => { event.preventDefault(); take(event.dataTransfer.files); };
  root.addEventListener("dragover", over);
  root.addEventListener("drop", drop);
  root.takeFiles = take;
  return () => { root.removeEventListener("dragover", over); root.removeEventListener("drop", drop); };
}

function application(root, flows, { fragment, start: opening, onSelect }) {
  let base = { ...DEFAULTS };
  let state = base;
  let views = [];
  let most = 1;
  let hover = null;
  let frame = 0;
  let followed = {};
  const parts = skeleton();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => state.theme || (dark.matches ? "dark" : "light");
  const inks = () => INKS[theme()];
  const current = () => flows[state.flow];
  const only = () => hover || pinned(current(), state);

  function set(change, fromLink = false) {
    const before = state;
    state = settled({ ...state, ...change }, flows);
    if (fragment && !fromLink) history.replaceState(null, "", `#${encode(state, base)}`);
    hover = null;
    draw(before);
    if (before.pin !== state.pin || before.layer !== state.layer || before.map !== state.map) onSelect(selection());
  }

  function selection() {
    const place = pinned(current(), state);
    const group = place && place.side !== "head" ? lensOf(current(), state).groups[place.index] : null;
    return { layer: state.layer, map: state.map, rule: state.rule, side: place ? place.side : null,
      tokens: group ? group.tokens : [], head: place && place.side === "head" ? place.index : null,
      label: group ? group.label : "" };
  }

  function draw(before = {}) {
    root.dataset.theme = theme();
    fillControls(parts, flows, state, set);
    const shown = [current(), ...(flows[state.beside] ? [flows[state.beside]] : [])];
    views = shown.map((flow) => viewOf(flow, stateFor(flow)));
    most = scaleOf(views);
    drawOverview(before);
    drawPanels();
    report();
  }

  /** What the state means for a second flow, which may lack a map or a layer. */
  const stateFor = (flow) => settled({ ...state, flow: flows.indexOf(flow), pin: "" }, flows);

  function drawOverview(before) {
    const key = ["flow", "words", "special", "prefix", "rule", "theme"].map((n) => state[n]).join() + theme() + flows.length;
    if (parts.overview.dataset.key !== key) {
      overview(parts.overview, current(), state, inks(), set);
      parts.overview.dataset.key = key;
    }
    for (const button of parts.overview.querySelectorAll("button")) {
      const chosen = Number(button.dataset.layer) === state.layer && button.dataset.map === state.map;
      button.ariaPressed = String(chosen);
      if (chosen && before.layer !== state.layer) button.scrollIntoView?.({ block: "nearest", inline: "nearest" });
    }
  }

  function drawPanels() {
    const width = Math.max(280, parts.views.clientWidth - 4);
    const narrow = width < 900;
    const below = !narrow && views.length > 1 && width < 1200; // two maps need the width; the ladder goes under them
    const share = narrow || below ? Math.min(width, 700) : Math.min(width * 0.4, 560);
    const rest = narrow ? width : below ? (width - 16) / 2 : (width - share - 24) / views.length;
    parts.ladder.element.style.order = below ? 1 : 0;
    views.forEach((view, i) => {
      view.at = heatLayout(view, rest, state.zoom);
      const context = fit(parts.heats[i].base, view.at.width, view.at.height);
      drawHeat(canvasPen(context), view, view.at, most, inks());
      fit(parts.heats[i].over, view.at.width, view.at.height);
    });
    parts.heats[1].element.hidden = views.length < 2;
    const height = Math.min(900, Math.max(260, views[0].at.height));
    views[0].ladder = ladderOf(views[0], null);
    views[0].ladderAt = ladderLayout(views[0].ladder, share, height);
    const at = views[0].ladderAt;
    const context = fit(parts.ladder.base, share, at.height);
    drawLadder(canvasPen(context), views[0].ladder, at, inks(), null);
    fit(parts.ladder.over, share, at.height);
    const legend = fit(parts.legend, 122, 30);
    parts.legendText.textContent = legendText(views[0]);
    drawLegend(canvasPen(legend), 0, 2, views[0], most, inks());
    parts.legend.setAttribute("aria-label", `Colours: ${legendText(views[0])}, up to ${form(most)}`);
    drawOver();
    drawTracePanel(width);
  }

  function drawTracePanel(width) {
    parts.trace.hidden = !state.trace;
    views[0].traced = null;
    if (!state.trace) return;
    const place = pinned(current(), state);
    if (place?.side !== "target") return fillTrace(parts, "Pin a target (click its row, or press ↓) to follow it down to the input.");
    const [flow, top, token] = [current(), flows[state.top] || null, Number(state.pin.slice(1))];
    const reason = refusal(flow, state, token, top);
    if (reason) return fillTrace(parts, reason, offers(token));
    const key = ["flow", "top", "layer", "map", "words", "pin", "paths", "cut"].map((name) => state[name]).join();
    if (followed.key !== key) followed = { key, ...follow(flow, state, token, top) }; // not again when the window is resized
    const found = { ...followed, at: traceLayout(followed, width) };
    views[0].traced = found;
    fillTrace(parts, traceWords(found, flow, top, state));
    drawTrace(canvasPen(fit(parts.traceCanvas, found.at.width, found.at.height)), found, found.at, inks());
    describeTrace(parts, found);
  }

  /** Buttons for the maps in this page that can be chained from the same token. */
  function offers(token) {
    const alike = flows.filter((one) => one.tokens.join("\0") === current().tokens.join("\0") && one.layers.includes(state.layer));
    return alike.flatMap((one) => ["composed", "z2z"].filter((map) => mapsOf(one).includes(map))
      .map((map) => ({ flow: flows.indexOf(one), map, rule: "conserving", top: -1 }))
      .filter((change) => !refusal(one, { ...state, ...change }, token))
      .map((change) => make("button", { type: "button", onclick: () => set(change) },
        `Trace ${mapName(change.map, "conserving")}${change.flow === state.flow ? "" : ` of ${settingsOf(one)}`}`)));
  }

  /** The crosshair, and the ladder of what is selected alone. Nothing else is drawn while the pointer moves. */
  function drawOver() {
    frame = 0;
    const chosen = only();
    views.forEach((view, i) => {
      const { left, top, cell } = view.at;
      const context = clear(parts.heats[i].over);
      context.strokeStyle = inks().mark;
      context.lineWidth = 1.5;
      if (!chosen) return;
      const row = chosen.side === "target" ? view.lens.rows.indexOf(chosen.index) : -1;
      const column = chosen.side === (view.isPlayers ? "head" : "source") ? chosen.index : chosen.column ?? -1;
      if (row >= 0) context.strokeRect(left, top + row * cell, cell * view.columns, cell);
      if (column >= 0 && column < view.columns) context.strokeRect(left + column * cell, top, cell, cell * view.rows);
    });
    const [view, over] = [views[0], parts.ladder.over];
    const context = clear(over);
    parts.ladder.base.style.opacity = chosen ? 0.08 : 1;
    if (chosen) drawLadder(canvasPen(context), ladderOf(view, chosen), view.ladderAt, inks(), chosen);
    describe(chosen);
  }

  function clear(canvas) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    return context;
  }

  const later = () => { if (!frame) frame = requestAnimationFrame(drawOver); };

  function describe(chosen) {
    const lines = chosen ? words(views, chosen) : [];
    parts.details.replaceChildren(...lines.map((line) => make("div", {}, line)));
  }

  function report() {
    const view = views[0];
    const bad = view.certificates.filter((one) => !one.met).length;
    const worst = Math.max(0, ...view.certificates.map((one) => one.certificate));
    parts.title.textContent = printable(current().meta.text || current().name);
    parts.heading.textContent = `Layer ${state.layer}, ${mapName(state.map, state.rule)}`;
    parts.badge.textContent = bad ? `✗ ${bad} of ${view.rows} targets miss the tolerance` : `✓ all ${view.rows} targets certified`;
    parts.badge.className = bad ? "badge failed" : "badge";
    parts.badge.title = `Largest |certificate| ${form(worst)}. ${notesOf(current()).join(" ")}`;
    const hidden = view.lens.hidden ? `, ${view.lens.hidden} tokens hidden` : "";
    parts.kept.textContent = `${percent(view.share)} of the magnitude shown${state.renorm && view.share < 1 ? ", scaled up to the whole" : ""}${hidden}; worst certificate ${worst.toExponential(0)}`;
  }

  function pointed(event, view) {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { left, top, cell } = view.at;
    const [r, c] = [Math.floor((y - top) / cell), Math.floor((x - left) / cell)];
    const [row, column] = [r >= 0 && r < view.rows, c >= 0 && c < view.columns];
    if (row) return { side: "target", index: view.lens.rows[r], column: column ? c : undefined };
    return column ? { side: view.isPlayers ? "head" : "source", index: c } : null;
  }

  function pointedLadder(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { ladder, ladderAt: at, isPlayers, lens } = views[0];
    const column = at.places.reduce((best, one, i) => (Math.abs(one.x - x) < Math.abs(at.places[best].x - x) ? i : best), 0);
    const index = Math.floor((y - at.places[column].top) / at.places[column].gap);
    if (index < 0 || index >= ladder.columns[column].labels.length) return null;
    const last = column === at.places.length - 1;
    if (last) return lens.rows.includes(index) ? { side: "target", index } : null;
    return { side: column === 0 && !isPlayers ? "source" : "head", index };
  }

  const same = (a, b) => a?.side === b?.side && a?.index === b?.index && a?.column === b?.column;

  function listen(element, find) {
    element.addEventListener("pointermove", (event) => {
      const next = find(event);
      if (!same(next, hover)) { hover = next; later(); }
    });
    element.addEventListener("pointerleave", () => { hover = null; later(); });
    element.addEventListener("click", (event) => {
      const next = find(event);
      const pin = pinOf(current(), state, next);
      set({ pin: pin === state.pin ? "" : pin });
    });
  }

  parts.heats.forEach((one, i) => listen(one.over, (event) => pointed(event, views[i])));
  listen(parts.ladder.over, pointedLadder);
  const onKey = (event) => keyboard(event, state, current(), views[0], set);
  root.addEventListener("keydown", onKey);
  const onHash = () => set(decodeState(location.hash.slice(1), base, flows), true);
  const onTheme = () => { if (flows.length) draw(); };
  const resized = new ResizeObserver(() => { if (views.length) drawPanels(); });
  root.append(parts.element);
  parts.element.hidden = true;

  parts.exports.svg.addEventListener("click", () => save(exportSvg(views, most, inks(), only()), "image/svg+xml", `${fileName()}.svg`));
  parts.exports.png.addEventListener("click", async () => save(await exportPng(views, most, inks(), only()), "image/png", `${fileName()}.png`));
  parts.exports.csv.addEventListener("click", () => save(exportCsv(views), "text/csv", `${fileName()}.csv`));
  parts.file.addEventListener("change", () => { root.takeFiles(parts.file.files); parts.file.value = ""; });
  const fileName = () => `ligflow-layer${state.layer}-${state.map}`;

  function start() {
    parts.element.hidden = false;
    base = decodeState(opening, DEFAULTS, flows);
    state = fragment ? decodeState(location.hash.slice(1), base, flows) : base;
    draw();
    resized.observe(parts.views);
    dark.addEventListener("change", onTheme);
    if (fragment) window.addEventListener("hashchange", onHash);
    performance.mark("ligflow-first-paint");
  }

  return {
    state: () => ({ ...state }),
    start,
    added: () => (parts.element.hidden ? start() : set({ beside: flows.length - 1 })),
    destroy: () => {
      resized.disconnect();
      dark.removeEventListener("change", onTheme);
      window.removeEventListener("hashchange", onHash);
      root.removeEventListener("keydown", onKey);
      cancelAnimationFrame(frame);
    },
  };
}

const notesOf = (flow) => (flow.meta.notes || []).map((note) => printable(String(note)));

/** What the trace is of, and what is known of its accuracy. */
function traceWords(found, flow, top, state) {
  const coarse = [flow, top].some((one) => one?.quantised.length) ? "; maps stored as 8-bit numbers, so that each share is rounded (see the legend)" : "";
  const missed = found.unmet ? `; ${found.unmet} integrals miss the tolerance` : "";
  const hidden = state.special || state.prefix ? "; hidden tokens take part, since relevance would be lost without them" : "";
  const first = top ? `; first step: ${settingsOf(top)}` : "";
  return `‘${found.labels[found.start]}’ after layer ${found.layers[0]} down to the input, ${mapName(state.map, "conserving")} maps${first}; `
    + `the sum at every depth is 1 within ${found.drift.toExponential(0)}; the integrals leave open at most ${Math.max(...found.certificates).toExponential(0)}${missed}${hidden}${coarse}.`;
}

function fillTrace(parts, text, buttons = []) {
  parts.traceText.replaceChildren(text);
  parts.offers.replaceChildren(...buttons);
  parts.depths.replaceChildren();
  parts.pathsText.replaceChildren();
  parts.paths.replaceChildren();
  parts.traceScroll.hidden = true;
}

/** Every depth and the strongest paths in words. */
function describeTrace(parts, found) {
  parts.traceScroll.hidden = false;
  const head = ["", "relevance, the strongest first", "left open by its layer"].map((name) => make("th", { scope: "col" }, name));
  const rows = found.relevance.map((row, depth) => make("tr", {}, make("th", { scope: "row" }, depthName(found, depth)),
    make("td", {}, strongestWords(row, found.labels)), make("td", {}, depth < found.layers.length ? found.certificates[depth].toExponential(1) : "")));
  parts.depths.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  parts.pathsText.textContent = `The strongest paths, from the token down to the input${found.paths.length < found.asked ? "; there are no more" : ""}:`;
  parts.paths.replaceChildren(...found.paths.map(({ weight, nodes }) =>
    make("li", {}, `${percent(weight)}: ${nodes.map((node) => found.labels[node]).join(" ← ")}`)));
}

function strongestWords(row, labels) {
  const order = [...row.keys()].filter((i) => Math.abs(row[i]) >= 0.005).sort((a, b) => Math.abs(row[b]) - Math.abs(row[a])).slice(0, 8);
  return order.map((i) => `‘${labels[i]}’ ${percent(row[i])}`).join(", ");
}

/** What is selected, in words: the cell if there is one, the strongest partners, the certificate. */
function words(views, chosen) {
  return views.flatMap((view, i) => {
    const title = views.length > 1 ? `${i ? "beside" : "first"} · ` : "";
    const line = chosen.side === "target" ? targetWords(view, chosen) : partnerWords(view, chosen);
    return line.map((text) => `${title}${text}`);
  });
}

function targetWords(view, { index, column }) {
  const r = view.lens.rows.indexOf(index);
  if (r < 0) return [];
  const at = (c) => view.values[r * view.columns + c];
  const one = view.certificates[r];
  const share = (c) => percent(view.sizes[r] > 0 ? at(c) / view.sizes[r] : 0);
  const order = [...Array(view.columns).keys()].sort((a, b) => Math.abs(at(b)) - Math.abs(at(a))).slice(0, 5);
  const lines = [];
  if (column !== undefined) {
    lines.push(`source ‘${view.columnLabels[column]}’ → target ‘${view.rowLabels[r]}’: ${form(at(column))} (${share(column)} of its row)`);
  }
  lines.push(`target ‘${view.rowLabels[r]}’: ${order.map((c) => `‘${view.columnLabels[c]}’ ${form(at(c))} (${share(c)})`).join(", ")}`);
  const cells = one.cells > 1 ? `, the worst of ${one.cells} integrals` : "";
  lines.push(`certificate ${one.certificate.toExponential(1)} ${one.met ? "✓" : "✗ misses the tolerance"}${cells}; ${one.nodes} points; origin mass ${form(one.origin)}; ${percent(view.kept[r])} of the row shown`);
  return lines;
}

function partnerWords(view, { side, index }) {
  if (side === "head" && !view.isPlayers) return [index < view.flow.heads ? `head ${index}` : "residual"];
  if (index >= view.columns) return [];
  const at = (r) => view.values[r * view.columns + index];
  const order = [...Array(view.rows).keys()].sort((a, b) => Math.abs(at(b)) - Math.abs(at(a))).slice(0, 5);
  const text = order.map((r) => `‘${view.rowLabels[r]}’ ${form(at(r))} (${percent(view.sizes[r] > 0 ? at(r) / view.sizes[r] : 0)} of its row)`);
  return [`${side} ‘${view.columnLabels[index]}’ to targets: ${text.join(", ")}`];
}

// --- controls -----------------------------------------------------------------------------------

function skeleton() {
  const [heat, beside, ladder] = [panel("Heat map: rows are targets, columns are sources"), panel("Heat map of the flow beside"), panel("Ladder from sources to targets")];
  const parts = {
    heats: [heat, beside], ladder, title: make("h1"), heading: make("h2"), badge: make("span", { className: "badge" }),
    kept: make("p", { className: "kept" }), details: make("div", { className: "details", ariaLive: "polite" }),
    controls: make("div", { className: "controls" }), overview: make("div", { className: "overview" }),
    legend: make("canvas", { className: "legend", role: "img" }), legendText: make("span"), views: make("div", { className: "views" }),
    trace: make("section", { className: "trace", ariaLabel: "Trace" }), traceText: make("p", { ariaLive: "polite" }), offers: make("div", { className: "line" }),
    traceScroll: make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Picture of the trace" }),
    traceCanvas: make("canvas", { role: "img", ariaLabel: "Relevance at every depth; the table below holds the same in words" }), depths: make("table"), pathsText: make("p"), paths: make("ol"),
    file: make("input", { type: "file", accept: ".safetensors", multiple: true, ariaLabel: "Open a flow file beside this one" }),
    exports: Object.fromEntries(["svg", "png", "csv"].map((kind) => [kind, make("button", { type: "button", className: `export-${kind}` }, kind.toUpperCase())])),
  };
  parts.traceScroll.append(parts.traceCanvas);
  parts.trace.append(make("h3", {}, "Trace"), parts.traceText, parts.offers, parts.traceScroll, parts.depths, parts.pathsText, parts.paths);
  parts.views.append(ladder.element, heat.element, beside.element);
  const tools = make("div", { className: "tools" }, make("span", {}, "Save this view:"), ...Object.values(parts.exports),
    make("label", {}, "Open beside: ", parts.file));
  const help = make("details", { className: "help" }, make("summary", {}, "Keys"), make("p", {},
    "↑ ↓ target · ← → source · [ ] layer · , . map · Enter pin · Esc unpin · w words · s special tokens · d diagonal · n renormalise · f filter · c colours · t trace · + − zoom"));
  const guide = make("details", { className: "help" }, make("summary", {}, "How to read it"), make("p", {},
    "A layer makes new token vectors (z′) from old ones (z), by way of its attention heads (u). A row is a target: a token’s new vector, or what a head puts out there. A column is a source: what it was made from. " +
    "Blue moves the target away from its baseline, towards what it is; orange holds it back. Direct: from tokens to a token. Composed: the same, through the heads. h0, h1, …: from tokens to what one head puts out. " +
    "✓: what the sources contribute adds up to how far the target moved, within the tolerance."));
  parts.element = make("div", { className: "app" }, make("header", {}, parts.title, parts.controls), make("div", { className: "body" },
    parts.overview, make("main", {}, make("div", { className: "line" }, parts.heading, parts.badge), parts.kept,
      make("div", { className: "line" }, parts.legend, parts.legendText),
      parts.views, parts.details, parts.trace, tools, guide, help)));
  return parts;
}

const option = (value, label, chosen) => make("option", { value: String(value), selected: chosen }, label);

function select(name, label, options, value, change) {
  const element = make("select", { name, onchange: (event) => change(event.target.value) }, ...options.map(([v, text]) => option(v, text, String(v) === String(value))));
  return make("label", {}, `${label} `, element);
}

function tick(name, label, value, change, disabled = false) {
  return make("label", { className: "tick" }, make("input", { type: "checkbox", name, checked: !!value, disabled, onchange: (e) => change(e.target.checked ? 1 : 0) }), ` ${label}`);
}

function numeric(name, label, value, max, change) {
  return make("label", {}, `${label} `, make("input", { type: "number", name, value: String(value), min: "0", max: String(max), onchange: (e) => change(Number(e.target.value) || 0) }));
}

function fillControls(parts, flows, state, set) {
  const focused = parts.controls.contains(document.activeElement) ? document.activeElement.name : null;
  const flow = flows[state.flow];
  const many = flows.map((one, i) => [i, flows.length > 1 ? `${i + 1}. ${settingsOf(one)}` : settingsOf(one)]);
  const key = { z2z: "direct", composed: "composed", difference: "difference", z2u: "z2u, all heads", u2z: "u2z" };
  parts.controls.replaceChildren(
    select("flow", "Settings", many, state.flow, (v) => set({ flow: Number(v) })),
    ...(flows.length > 1 ? [select("beside", "beside", [[-1, "nothing"], ...many], state.beside, (v) => set({ beside: Number(v) }))] : []),
    select("layer", "Layer", flow.layers.map((l) => [l, l]), state.layer, (v) => set({ layer: Number(v) })),
    select("map", "Map", mapsOf(flow).map((m) => [m, key[m] || `head ${m.slice(1)}`]), state.map, (v) => set({ map: v })),
    select("rule", "Rule", CHOICES.rule.map((r) => [r, r]), state.rule, (v) => set({ rule: v })),
    select("colour", "Colour", [["value", "signed value"], ["share", "share of the row"], ["absolute", "magnitude"]], state.colour, (v) => set({ colour: v })),
    select("filter", "Show", [["all", "all cells"], ["threshold", "shares from … %"], ["top", "the top … of a row"], ["mass", "… % of a row"]], state.filter, (v) => set({ filter: v, amount: AMOUNTS[v] })),
    ...(state.filter === "all" ? [] : [numeric("amount", "…", state.amount, state.filter === "top" ? flow.tokens.length : 100, (v) => set({ amount: v }))]),
    tick("renorm", "renormalise", state.renorm, (v) => set({ renorm: v })),
    tick("words", "words", state.words, (v) => set({ words: v }), !flow.meta.words),
    tick("special", "hide special tokens", state.special, (v) => set({ special: v })),
    numeric("prefix", "hide the first", state.prefix, flow.tokens.length - 1, (v) => set({ prefix: v })),
    tick("diagonal", "hide the diagonal", state.diagonal, (v) => set({ diagonal: v })),
    tick("trace", "trace", state.trace, (v) => set({ trace: v })),
    ...(state.trace ? traceControls(flows, many, state, set) : []),
    select("theme", "Theme", [["", "system"], ["light", "light"], ["dark", "dark"]], state.theme, (v) => set({ theme: v })),
  );
  if (focused) parts.controls.querySelector(`[name="${focused}"]`)?.focus();
}

function traceControls(flows, many, state, set) {
  const others = many.filter(([i]) => i !== state.flow);
  return [
    numeric("paths", "paths", state.paths, MOST_PATHS, (v) => set({ paths: v })),
    numeric("cut", "edges from … %", state.cut, 99, (v) => set({ cut: v })),
    ...(others.length ? [select("top", "first step", [[-1, "same settings"], ...others], state.top, (v) => set({ top: Number(v) }))] : []),
  ];
}

/** Thumbnails: layers down, maps across. A row is drawn when it comes into sight. */
function overview(element, flow, state, inks, set) {
  const maps = ["z2z", "composed", ...mapsOf(flow).filter((m) => /^h\d/.test(m))].filter((m) => mapsOf(flow).includes(m));
  const names = maps.map((m) => make("th", { scope: "col" }, { z2z: "direct", composed: "comp." }[m] || m));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "layer"), ...names)));
  const body = make("tbody");
  const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((entry) => {
    seen.unobserve(entry.target);
    entry.target.querySelectorAll("canvas").forEach((canvas) => thumbnail(canvas, flow, state, inks));
  }), { root: null, rootMargin: "200px" });
  flow.layers.forEach((layer, row) => {
    const cells = maps.map((map) => make("td", {}, make("button", {
      type: "button", title: `layer ${layer}, ${mapName(map, state.rule)}`, "data-layer": layer, "data-map": map, onclick: () => set({ layer, map }),
    }, make("canvas", { "data-layer": layer, "data-map": map }))));
    const line = make("tr", {}, make("th", { scope: "row" }, `${layer} `, layerBadge(flow, row)), ...cells);
    body.append(line);
    seen.observe(line);
  });
  table.append(body);
  element.replaceChildren(table);
}

function layerBadge(flow, row) {
  let [worst, bad] = [0, 0];
  for (const route of flow.routes) {
    const [residue, scale, met] = ["residue", "scale", "met"].map((p) => flow.tensor(`${route}.${p}`, row));
    residue.forEach((value, i) => { worst = Math.max(worst, Math.abs(value / scale[i])); bad += met[i] > 0 ? 0 : 1; });
  }
  return make("span", { className: bad ? "badge failed" : "badge", title: `largest |certificate| ${form(worst)}` }, bad ? `✗${bad}` : "✓");
}

function thumbnail(canvas, flow, state, inks) {
  const view = viewOf(flow, { ...state, layer: Number(canvas.dataset.layer), map: canvas.dataset.map, filter: "all", diagonal: 0, colour: "share" });
  const most = largest(view) || 1;
  [canvas.width, canvas.height] = [view.columns, view.rows];
  canvas.getContext("2d").drawImage(pixels(view, (r, c) => shade(inked(view, r, c), most, inks)), 0, 0);
}

function keyboard(event, state, flow, view, set) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.target.className === "scroll" && event.key.startsWith("Arrow")) return;
  const turn = (list, value, by) => list[(list.indexOf(value) + by + list.length) % list.length];
  const flip = (name) => () => set({ [name]: state[name] ? 0 : 1 });
  const maps = mapsOf(flow);
  const keys = {
    "[": () => set({ layer: turn(flow.layers, state.layer, -1) }), "]": () => set({ layer: turn(flow.layers, state.layer, 1) }),
    ",": () => set({ map: turn(maps, state.map, -1) }), ".": () => set({ map: turn(maps, state.map, 1) }),
    ArrowUp: () => set({ pin: neighbour(flow, state, view, "target", -1) }), ArrowDown: () => set({ pin: neighbour(flow, state, view, "target", 1) }),
    ArrowLeft: () => set({ pin: neighbour(flow, state, view, "source", -1) }), ArrowRight: () => set({ pin: neighbour(flow, state, view, "source", 1) }),
    Escape: () => set({ pin: "" }), w: flip("words"), s: flip("special"), d: flip("diagonal"), n: flip("renorm"), t: flip("trace"),
    c: () => set({ colour: turn(CHOICES.colour, state.colour, 1) }),
    f: () => { const filter = turn(CHOICES.filter, state.filter, 1); set({ filter, amount: AMOUNTS[filter] }); },
    "+": () => set({ zoom: state.zoom + 1 }), "=": () => set({ zoom: state.zoom + 1 }), "-": () => set({ zoom: state.zoom - 1 }),
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
}

/** The pin next to the one that is there, on the side of targets or of sources. */
function neighbour(flow, state, view, side, by) {
  const places = side === "target" ? view.lens.rows : view.lens.groups.map((_, i) => i);
  const place = pinned(flow, state);
  const at = place && place.side === side ? places.indexOf(place.index) : by > 0 ? -1 : places.length;
  const next = Math.max(0, Math.min(places.length - 1, at + by));
  return pinOf(flow, state, { side, index: places[next] });
}

// --- the notebook widget (anywidget) ------------------------------------------------------------

export default {
  render({ model, el }) {
    const bytes = model.get("files").map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice());
    const names = model.get("names");
    const shown = mount(el, bytes.map((one, i) => ({ name: names[i], bytes: one })), {
      start: model.get("view"),
      onSelect: (selection) => { model.set("selection", selection); model.save_changes(); },
    });
    return () => shown.destroy();
  },
};
