// What can be chosen at the top: another prediction, a word that is searched for, patterns, light or dark.

import { make } from "../viewer/elements.js";
import { spoken } from "./prediction_data.js";

const SEARCHED = 40; // words from which a search is of use

/** Predictions of the page, each a button; hidden where there is one. */
export function predictionChoice(app) {
  const element = make("nav", { className: "choices predictions", ariaLabel: "Predictions" });
  app.connect(({ groups, state }) => {
    element.hidden = groups.length < 2;
    const buttons = groups.map(({ name }, i) =>
      make(
        "button",
        { type: "button", ariaPressed: String(i === state.prediction), onclick: () => app.set({ prediction: i }) },
        spoken(name),
      ),
    );
    element.replaceChildren(...buttons);
  });
  return element;
}

/** Search, patterns and theme. */
export function controls(app) {
  const search = make("input", { type: "search", placeholder: "Search a word", ariaLabel: "Search a word" });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !search.value.trim()) return;
    const { data, state } = app.scene();
    const wanted = search.value.trim().toLowerCase();
    const count = data.units.length;
    const by = event.shiftKey ? count - 1 : 1;
    for (let step = 1; step <= count; step++) {
      const word = (Math.max(-1, state.word) + step * by + count) % count;
      if (data.units[word].label.toLowerCase().includes(wanted)) return app.set({ word, from: Math.max(1, word - 12) });
    }
    search.setCustomValidity(`No word has ‘${wanted}’.`);
    search.reportValidity();
  });
  search.addEventListener("input", () => search.setCustomValidity(""));
  const patterns = make("input", {
    type: "checkbox",
    name: "patterns",
    onchange: () => app.set({ patterns: patterns.checked ? 1 : 0 }),
  });
  const theme = make("button", {
    type: "button",
    className: "theme",
    onclick: () => {
      app.set({ theme: app.scene().theme === "dark" ? "light" : "dark" });
    },
  });
  app.connect((scene) => {
    search.hidden = scene.data.units.length < SEARCHED;
    patterns.checked = scene.patterns;
    theme.textContent = scene.theme === "dark" ? "Light" : "Dark";
  });
  const hint = "lines over what speaks against the answer";
  return make("div", { className: "controls" }, search, make("label", { title: hint }, patterns, " patterns"), theme);
}
