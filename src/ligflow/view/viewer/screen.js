// What is on the screen for a state: the parts of the page filled and drawn, and pointer and keys turned into states.

import { fillControls, fillPresets, fillTabs } from "./controls.js";
import { describe } from "./descriptions.js";
import { fit, make, save, sentenceOf } from "./elements.js";
import { exportPng, exportSvg } from "./export.js";
import { diagonalWords, guideWords } from "./guide.js";
import { highlights } from "./highlights.js";
import { keptWords } from "./kept_words.js";
import { keyboard, keyWords } from "./keyboard.js";
import { lensOf } from "./lens.js";
import { drawHeat, drawLadder, drawLegend, heatLayout, ladderLayout, legendText } from "./map_pictures.js";
import { markOverview, overview, overviewWidth } from "./overview.js";
import { canvasPen, INKS } from "./pens.js";
import { listen } from "./pointer.js";
import { captionOf, certificateWords, headingOf, sayingOf, scaleWords, sumsWords } from "./reading.js";
import { fillText } from "./running_text.js";
import { skeleton } from "./skeleton.js";
import { besideOf, encode, opened, pinned, settled } from "./state.js";
import { exportCsv } from "./table.js";
import { explainControls } from "./tooltip.js";
import { chainOf, follow } from "./trace.js";
import { fillRefusal, fillTrace } from "./trace_panel.js";
import { traceLayout } from "./trace_picture.js";
import { differenceOf, inked, ladderOf, largest, pairsOf, scaleOf, viewOf } from "./views.js";
import {
  baselineWords,
  entriesOf,
  form,
  lettersOf,
  mapShort,
  percent,
  printable,
  settingsWords,
  wholeRow,
} from "./wording.js";

export function screen(root, flows, { fragment, start: asked, onSelect, chain }) {
  let state = {};
  let views = [];
  let most = 1;
  let hover = null;
  let frame = 0;
  let followed = {};
  let found = null;
  const parts = skeleton();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => state.theme || (dark.matches ? "dark" : "light");
  const inks = () => INKS[theme()];
  const current = () => flows[state.flow];
  const only = () => hover || pinned(current(), state);

  function set(change, fromLink = false) {
    const before = state;
    const other = change.flow !== undefined && change.flow !== state.flow && flows[change.flow];
    const moved =
      other && other.tokens.join("\0") !== current().tokens.join("\0")
        ? { pin: opened(flows, asked, `flow=${change.flow}&map=${state.map}`).pin }
        : {};
    state = settled({ ...state, ...change, ...moved }, flows);
    if (fragment && !fromLink)
      history.replaceState(null, "", `#${encode(state, (address) => opened(flows, asked, address))}`);
    hover = null;
    hold(Object.keys(change).join() === "pin");
    draw(before);
    if (before.pin !== state.pin || before.layer !== state.layer || before.map !== state.map) onSelect(selection());
  }

  /** Keeps the room of the sentences above the picture, so that it stays where it is while tokens are pinned. */
  function hold(isHeld) {
    const sentences = [parts.says, parts.findings, parts.about, parts.caption, parts.kept];
    const heights = sentences.map((one) => (isHeld ? `${one.getBoundingClientRect().height}px` : ""));
    for (const [i, one] of sentences.entries()) one.style.minHeight = heights[i];
  }

  function selection() {
    const place = pinned(current(), state);
    const group = place && place.side !== "head" ? lensOf(current(), state).groups[place.index] : null;
    return {
      layer: state.layer,
      map: state.map,
      rule: state.rule,
      side: place ? place.side : null,
      tokens: group ? group.tokens : [],
      head: place && place.side === "head" ? place.index : null,
      label: group ? group.label : "",
    };
  }

  function draw(before = {}) {
    root.dataset.theme = theme();
    fillPresets(parts.presets, flows, state, set);
    fillControls(parts, flows, state, set);
    const beside = besideOf(state, flows);
    views = [viewOf(current(), state), ...(beside ? [viewOf(flows[beside.flow], beside)] : [])];
    most = scaleOf(views);
    if (beside && views[0].isPlayers === views[1].isPlayers) addDifference();
    nameViews();
    drawHeader();
    drawOverview(before);
    for (const tab of ["map", "text"]) parts[tab].hidden = state.tab !== tab;
    const following = state.tab === "trace";
    parts.trace.element.hidden = !following;
    for (const name of ["headline", "caption", "kept"]) parts[name].hidden = following;
    drawPanels();
    report();
  }

  function addDifference() {
    const view = differenceOf(views[0], views[1]);
    if (view.rows && view.columns) views.push({ ...view, most: largest(view) || 1 });
  }

  /** What tells the views apart: the flow, and the layer and map where they are not the same. */
  function nameViews() {
    views[0].title = "";
    if (views.length < 2) return;
    const names = entriesOf(flows);
    const [one, two] = views;
    const size =
      state.colour === "share"
        ? `${Number((100 * (views[2]?.most || 0)).toPrecision(2))} points`
        : form(views[2]?.most || 0);
    for (const view of [one, two]) {
      const { layer, map, rule } = view.state;
      view.title = [
        ...(one.flow !== two.flow ? [names[flows.indexOf(view.flow)]] : []),
        ...(one.state.layer !== two.state.layer ? [`layer ${layer}`] : []),
        ...(one.state.map !== two.state.map ? [`${mapShort(map, rule)}, ${lettersOf(map)}`] : []),
      ].join(", ");
    }
    if (views[2]) views[2].title = `first minus second, up to ${size}`;
  }

  // --- what it says --------------------------------------------------------------------------------

  function drawHeader() {
    const text = printable(String(current().meta.text || current().name));
    parts.title.textContent = text;
    parts.title.classList.toggle("short", parts.more.textContent !== "less");
    parts.more.textContent ||= "more";
    parts.model.textContent = settingsWords(current());
    parts.model.setAttribute("aria-description", baselineWords(current()) || "What these maps were computed with.");
    const { findings, about, map } = highlights(current(), state, state.pin);
    const isShown = (one) => views.length === 1 && one.layer === state.layer && map === state.map;
    const own = pinned(current(), state)?.side === "target" ? findings.find(isShown) : null;
    parts.findings.replaceChildren(
      ...findings.map((one) => {
        const go = one.head !== null && one.head !== undefined ? `; head ${one.head} is marked` : "";
        const why = `Show it in layer ${one.layer}${go}`;
        const button = make(
          "button",
          { type: "button", "aria-description": why, onclick: () => show(one, map) },
          ...sentenceOf(one.parts),
        );
        return make("li", { className: one === own ? "told" : "" }, button);
      }),
    );
    parts.findings.hidden = views.length > 1 || !findings.some((one) => one !== own); // those of the first alone
    parts.about.hidden = views.length > 1;
    parts.says.replaceChildren(...sentenceOf(own ? own.parts : sayingOf(views, pinned(current(), state))));
    parts.says.hidden = !parts.says.childNodes.length;
    parts.about.replaceChildren(...sentenceOf(about));
  }

  /** Where a finding is: its layer, in the map that it is of, with its target pinned. */
  const show = ({ layer }, map) => {
    const pin = /^t/.test(state.pin) ? state.pin : opened(flows, "", `flow=${state.flow}&words=${state.words}`).pin;
    set({ layer, map, rule: "conserving", pin, special: 1, tab: state.tab === "trace" ? "map" : state.tab });
  };

  function report() {
    const view = views[0];
    const bad = view.certificates.filter((one) => !one.met).length;
    const worst = Math.max(0, ...view.certificates.map((one) => one.certificate));
    parts.heading.textContent = headingOf(views);
    parts.badge.textContent = bad ? `✗ ${bad} of ${view.rows} targets not converged` : sumsWords(view);
    parts.badge.className = bad ? "badge failed" : "badge";
    const notes = (current().meta.notes || []).map((note) => printable(String(note)));
    parts.badge.setAttribute("aria-description", `${certificateWords(view, form(worst))} ${notes.join(" ")}`.trim());
    parts.caption.textContent = captionOf(views, pinned(current(), state), state.tab === "text");
    parts.caption.setAttribute("aria-description", diagonalWords(view) || "What a square or a shade stands for.");
    parts.guide.textContent = guideWords(view);
    parts.keys.textContent = keyWords(flows, state);
    parts.kept.textContent = keptWords(view, current(), state);
  }

  // --- what it draws -------------------------------------------------------------------------------

  function drawOverview(before) {
    const key = ["flow", "words", "rule", "theme"].map((n) => state[n]).join() + theme() + flows.length;
    if (parts.overview.dataset.key !== key) {
      overview(parts.thumbs, current(), state, inks(), set);
      parts.overview.dataset.key = key;
    }
    placeOverview();
    markOverview(parts.thumbs, state, before.layer !== state.layer);
  }

  /** The thumbnails stand beside the picture where both have room, a text or a trace always, and end where the window does. */
  function placeOverview() {
    const isWide = views.length > 1 || overviewWidth(current()) > 0.4 * root.clientWidth;
    parts.element.classList.toggle("stacked", state.tab === "map" && isWide);
    const top = parts.overview.parentElement.getBoundingClientRect().top + window.scrollY;
    parts.overview.style.setProperty("--room", `${Math.max(240, Math.floor(window.innerHeight - top - 12))}px`);
    parts.thumbs.classList.toggle("cut", parts.thumbs.scrollWidth > parts.thumbs.clientWidth + 2);
  }

  function drawPanels() {
    parts.more.hidden = parts.title.classList.contains("short") && parts.title.scrollWidth <= parts.title.clientWidth;
    placeOverview();
    const width = Math.max(280, parts.main.clientWidth - 4);
    if (state.tab === "map") drawMaps(width);
    else layOut(width);
    drawText();
    drawTracePanel(width);
    drawOver();
  }

  /** Where the pictures of the map stand; an export has them whatever is in sight. */
  function layOut(width) {
    const narrow = width < 620;
    const beside = views.length > 1;
    const room = narrow
      ? width
      : beside
        ? Math.max(300, (width - 24) / Math.min(views.length, Math.floor(width / 320) || 1))
        : Math.min(width * 0.58, width - 320);
    for (const view of views) view.at = heatLayout(view, room, state.zoom, Math.max(420, window.innerHeight - 330));
    const top = Math.max(...views.map((view) => view.at.top)); // the maps begin at one height
    for (const { at } of views) [at.height, at.top] = [at.height + top - at.top, top];
    const left = width - views[0].at.width - 16;
    const under = narrow || left < 300; // a map of a long text fills the width, and the ladder stands under it
    parts.ladder.element.style.order = under && !narrow ? 1 : 0;
    const share = under ? width : left;
    const height = Math.min(900, Math.max(300, views[0].at.height));
    views[0].ladderAt = beside ? null : ladderLayout(ladderOf(views[0], null), Math.min(share, 720), height);
  }

  function drawMaps(width) {
    layOut(width);
    parts.heats.forEach((one, i) => {
      one.element.hidden = i >= views.length;
      if (i >= views.length) return;
      const view = views[i];
      drawHeat(canvasPen(fit(one.base, view.at.width, view.at.height)), view, view.at, view.most || most, inks());
      fit(one.over, view.at.width, view.at.height);
    });
    const at = views[0].ladderAt;
    parts.ladder.element.hidden = !at;
    if (at) {
      drawLadder(canvasPen(fit(parts.ladder.base, at.width, at.height)), ladderOf(views[0], null), at, inks(), null);
      fit(parts.ladder.over, at.width, at.height);
    }
    parts.legendText.textContent = legendText(views[0]);
    drawLegend(canvasPen(fit(parts.legend, 122, 30)), 0, 2, views[0], most, inks());
    parts.legend.setAttribute("aria-description", scaleWords(views, most));
    parts.legend.setAttribute("aria-label", `Colours: ${legendText(views[0])}, up to ${form(most)}`);
  }

  /** The text, shaded by the row of the pinned target, or by what each token gives on average. */
  function drawText() {
    if (state.tab !== "text") return;
    const view = views[0];
    const chosen = pinned(current(), state);
    const row = chosen?.side === "target" ? view.rowIds.indexOf(chosen.index) : -1;
    const values = new Float64Array(view.lens.groups.length).fill(NaN);
    const mean = (c) => [...Array(view.rows).keys()].reduce((sum, r) => sum + inked(view, r, c) / view.rows, 0);
    if (!view.isPlayers)
      view.columnIds.forEach((id, c) => {
        values[id] = row >= 0 ? inked(view, row, c) : mean(c);
      });
    const strongest = values.reduce((size, value) => Math.max(size, Math.abs(value) || 0), 0) || 1;
    fillText(parts.running, view.flow, view.lens.groups, values, strongest, inks(), {
      marked: row >= 0 ? view.rowIds[row] : -1,
      pick: (i) => {
        if (view.lens.rows.includes(i)) set({ pin: `t${view.lens.groups[i].tokens[0]}` });
      },
      told: (event, i) => pointer.tell(event, i < 0 ? null : { view, r: row, c: view.columnIds.indexOf(i) }),
    });
    const marked = parts.running.querySelector(".marked");
    if (marked) parts.running.scrollTop = marked.offsetTop - parts.running.clientHeight / 2;
    const what = row >= 0 ? wholeRow(view.flow, `‘${view.rowLabels[row]}’`) : "what each token gives, on average";
    parts.textNote.textContent = view.isPlayers
      ? "This map has heads as sources; choose a map of the layer, or what a head reads."
      : `Shaded: ${what}, the strongest ${state.colour === "share" ? percent(strongest) : form(strongest)}. Dotted: hidden as a source. A click asks for another token.`;
  }

  function drawTracePanel(width) {
    const token = pinned(current(), state)?.side === "target" ? Number(state.pin.slice(1)) : -1;
    const linked =
      token >= 0
        ? chainOf(flows, state, token)
        : { reason: "Pin a target (click its row, or press ↓) to follow it down to the input." };
    fillTabs(parts.tabs, state, linked.reason || "", set);
    found = null;
    if (state.tab !== "trace") return;
    if (linked.reason) return fillRefusal(parts.trace, linked.reason, token >= 0 && chain ? chainButton() : null);
    const key =
      ["flow", "top", "layer", "map", "rule", "words", "pin", "paths", "cut"].map((name) => state[name]).join() +
      flows.length;
    if (followed.key !== key) followed = { key, ...follow(linked, token) }; // not again when the window is resized
    found = { ...followed, at: traceLayout(followed, width) };
    fillTrace(parts.trace, found, linked, current(), state, inks());
  }

  /** Computes a flow that can be traced, where there is a model to do it. */
  function chainButton() {
    const button = make("button", { type: "button" }, "Compute maps that can be followed (about as long again)");
    button.addEventListener("click", async () => {
      button.disabled = true;
      button.textContent = "Computing …";
      try {
        await chain();
      } finally {
        draw(state);
      }
    });
    return button;
  }

  /** What is selected, of each view: a difference has the tokens of the first. */
  function placesOf(chosen) {
    return views.map((view, i) => {
      if (!chosen || chosen.side === "head" || i !== 1) return chosen;
      const pair = pairsOf(views[0], view).find(([a]) => a === chosen.index);
      return pair ? { side: chosen.side, index: pair[1] } : null;
    });
  }

  /** The crosshair, and the ladder of what is selected alone. Nothing else is drawn while the pointer moves. */
  function drawOver() {
    frame = 0;
    const chosen = only();
    if (state.tab === "map") {
      for (const [i, place] of placesOf(chosen).entries())
        mark(views[i], parts.heats[i].over, place, hover?.view === views[i] ? hover.c : -1);
      if (views[0].ladderAt) {
        const context = clear(parts.ladder.over);
        parts.ladder.base.style.opacity = chosen ? 0 : 1;
        if (chosen) drawLadder(canvasPen(context), ladderOf(views[0], chosen), views[0].ladderAt, inks(), chosen);
      }
    }
    if (!hover) describe(parts.details, views, state.tab === "trace" ? [] : placesOf(pinned(current(), state)));
  }

  function mark(view, canvas, place, hovered) {
    const { left, top, cell } = view.at;
    const context = clear(canvas);
    context.strokeStyle = inks().mark;
    context.lineWidth = cell < 5 ? 0.7 : 1.5;
    if (!place) return;
    const row = place.side === "target" ? view.rowIds.indexOf(place.index) : -1;
    const column = place.side === (view.isPlayers ? "head" : "source") ? view.columnIds.indexOf(place.index) : hovered;
    if (row >= 0) context.strokeRect(left, top + row * cell, cell * view.columns, cell);
    if (column >= 0) context.strokeRect(left + column * cell, top, cell, cell * view.rows);
  }

  function clear(canvas) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    return context;
  }

  // --- pointer, keys, files ------------------------------------------------------------------------

  const pointer = listen(parts, {
    views: () => views,
    inks,
    hover: (next) => {
      hover = next;
      if (!frame) frame = requestAnimationFrame(drawOver);
    },
    pin: (pin, keep) => set({ pin: pin === state.pin && !keep ? "" : pin }),
    pinOf: (place) =>
      place.side === "head" ? `h${place.index}` : `${place.side[0]}${views[0].lens.groups[place.index].tokens[0]}`,
  });
  const onKey = (event) => {
    pointer.hide();
    keyboard(event, state, flows, views[0], set);
  };
  root.addEventListener("keydown", onKey);
  const stopExplaining = explainControls(root, parts.tip);
  const onHash = () => {
    const [address, { layer }] = [location.hash.slice(1), state];
    const isKept = address && !new URLSearchParams(address).has("layer"); // the layer that is shown
    state = opened(flows, asked, address);
    set(isKept ? { layer } : {}, !isKept);
  };
  const onTheme = () => {
    if (flows.length) draw();
  };
  const resized = new ResizeObserver(() => {
    if (views.length) drawPanels();
  });
  root.append(parts.element);
  parts.element.hidden = true;

  const scene = () => ({ views, most, only: only(), found });
  const fileName = () => `ligflow-layer${state.layer}-${state.map}`;
  parts.exports.svg.addEventListener("click", () =>
    save(exportSvg(scene(), inks()), "image/svg+xml", `${fileName()}.svg`),
  );
  parts.exports.png.addEventListener("click", async () =>
    save(await exportPng(scene(), inks()), "image/png", `${fileName()}.png`),
  );
  parts.exports.csv.addEventListener("click", () => save(exportCsv(views), "text/csv", `${fileName()}.csv`));
  parts.file.addEventListener("change", () => {
    root.takeFiles(parts.file.files);
    parts.file.value = "";
  });
  parts.skip.addEventListener("click", () => (state.tab === "text" ? parts.running : parts.heats[0].over).focus());
  parts.more.addEventListener("click", () => {
    const isOpen = parts.title.classList.toggle("short");
    parts.more.textContent = isOpen ? "more" : "less";
  });

  function start() {
    parts.element.hidden = false;
    state = opened(flows, asked, fragment ? location.hash.slice(1) : "");
    draw();
    resized.observe(parts.main);
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
      stopExplaining();
      dark.removeEventListener("change", onTheme);
      window.removeEventListener("hashchange", onHash);
      root.removeEventListener("keydown", onKey);
      cancelAnimationFrame(frame);
    },
  };
}
