// The page of predictions: the finding on top, and linked views under it. No dependencies: one offline file under a
// closed content security policy.

import { fit, make } from "../viewer/elements.js";
import { canvasPen } from "../viewer/pens.js";
import { bytesOf, fromBase64, fromBytes } from "../viewer/safetensors.js";
import { answerApp } from "./app.js";
import { drawScale } from "./colours.js";
import { controls, predictionChoice } from "./controls.js";
import { headline } from "./headline.js";
import { shareOf } from "./numbers.js";
import { openPrediction, spoken } from "./prediction_data.js";
import { strongestSteps } from "./strongest_steps.js";
import { tipOf } from "./tip.js";
import { viewSection } from "./view_section.js";
import { VIEWS } from "./views.js";
import { wordText } from "./word_text.js";

/**
 * Shows predictions in an element. `files` are `{ name, base64 }` or `{ name, bytes }`, in order; those of one name are rows of an answer.
 * With `fragment` what is chosen is kept in the address.
 */
export function mountAnswer(root, files, { fragment = false } = {}) {
  const groups = [];
  const message = make("div", { className: "message", role: "alert", hidden: true });
  root.classList.add("ligflow-answer");
  root.append(message);
  try {
    for (const { name, base64, bytes } of files) {
      const row = openPrediction(bytes ? fromBytes(bytes) : fromBase64(base64), spoken(name));
      if (groups.at(-1)?.name === name) groups.at(-1).rows.push(row);
      else groups.push({ name, rows: [row] });
    }
  } catch (error) {
    message.textContent = error.message;
    message.hidden = false;
    return null;
  }
  const app = answerApp(root, groups, fragment);
  const tip = tipOf();
  const { title, compared, outputs, mark } = headline(app);
  const top = make(
    "header",
    {},
    make("div", { className: "bar-top" }, predictionChoice(app), controls(app)),
    title,
    wordText(app, tip.tell),
    legend(app),
    make("div", { className: "about" }, make("div", {}, compared, mark, strongestSteps(app)), outputs),
  );
  root.append(
    top,
    make("main", {}, ...VIEWS.map((view) => viewSection(view(app, tip.tell), app))),
    foot(app),
    tip.element,
  );
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) app.set({ word: -1, layer: -1, head: "" });
  });
  app.start();
  performance.mark("ligflow-first-paint");
  return app;
}

function legend(app) {
  const canvas = make("canvas", { role: "img", ariaLabel: "Colours: orange speaks against the answer, blue for it" });
  const [least, most] = [make("span"), make("span")];
  app.connect((scene) => {
    drawScale(canvasPen(fit(canvas, 160, 10)), 0, 0, 160, scene);
    const share = shareOf(scene.full / scene.data.scale);
    least.textContent = `speaks against the answer, ${share} and more`;
    const own = scene.groups.length > 1 ? "; each prediction has its own full colour" : "";
    most.textContent = `${share}, speaks for it; dotted: the same in both runs${own}`;
  });
  return make("p", { className: "legend" }, least, canvas, most);
}

function foot(app) {
  const element = make("footer");
  app.connect(({ data }) => {
    const { model, settings = {} } = data.meta;
    const how = ["cut", "attention", "experts", "tol"]
      .filter((name) => name in settings)
      .map((name) => `${name} ${settings[name]}`);
    element.textContent = spoken([`Model ${model || "unnamed"}`, ...how].join(", "));
  });
  return element;
}

// --- the notebook widget (anywidget) ------------------------------------------------------------

export default {
  render({ model, el }) {
    const names = model.get("names");
    const files = model.get("files").map((data, i) => ({ name: names[i], bytes: bytesOf(data) }));
    const app = mountAnswer(el, files);
    return () => {
      app?.destroy();
      el.replaceChildren();
    };
  },
};
