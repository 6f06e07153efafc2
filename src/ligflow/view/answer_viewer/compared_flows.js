// The flows of two predictions side by side: where the one goes through heads and words that the other does not use.

import { fit, make } from "../viewer/elements.js";
import { canvasPen, moved } from "../viewer/pens.js";
import { besideGroup, bothOf, wordsOfBoth } from "./beside.js";
import { tableOfFlow, wholeFlow } from "./flow_picture.js";
import { shareOf } from "./numbers.js";
import { partOf } from "./parts.js";
import { spoken } from "./prediction_data.js";

const BETWEEN = 24;

/** Both scenes: what is pinned in the one is pinned in the other, where that has such a word, layer or head. */
function scenesOfBoth(scene) {
  const [one, two] = bothOf(scene);
  const { word, layer, head } = scene.state;
  const other = word < 0 ? -1 : wordsOfBoth(one, two).find((each) => each.word === word).other;
  const isThere = two.layers.includes(layer) && (!head || partOf(two, layer, head));
  const state = { ...scene.state, word: other, ...(isThere ? {} : { layer: -1, head: "" }) };
  return [scene, { ...scene, data: two, state }];
}

/** The view of both flows. */
export function comparedFlows() {
  const names = [make("p", { className: "faint" }), make("p", { className: "faint" })];
  const canvases = names.map(() => make("canvas", { role: "img" }));
  const figures = canvases.map((canvas, i) => make("div", {}, names[i], make("div", { className: "panel" }, canvas)));
  const element = make("div", { className: "beside three" }, ...figures);
  const widthOfEach = () => {
    const room = Math.max(280, element.clientWidth || 960);
    return room >= 760 ? (room - BETWEEN - 2) / 2 : room;
  };
  const namesOf = (scene) => [scene.group.name, besideGroup(scene).name].map(spoken);

  return {
    ...{ id: "compared-flows", title: "The flows of both", element, mark: () => {} },
    isEmpty: (scene) => scene.groups.length < 2 || bothOf(scene).some(({ layers }) => !layers.length),
    isLarge: (scene) =>
      scene.groups.length > 1 && bothOf(scene).some(({ units, layers }) => units.length * layers.length > 5_000),
    caption: (scene) => {
      const [one, two] = scenesOfBoth(scene).map((each) => wholeFlow(each, widthOfEach()));
      const unread =
        one.unread || two.unread ? " What heads of some layers read is not stored (--edges all stores it)." : "";
      return (
        `${shareOf(one.share)} of the mass of what heads and MLPs carry is drawn here, ${shareOf(two.share)} beside; the slider ` +
        "of the flow above changes both. Each has its own scale of widths, so compare where ribbons go, not how wide " +
        `they are; no difference is taken. What is pinned stands out in both, where both have it.${unread}`
      );
    },
    draw: (scene) => {
      scenesOfBoth(scene).forEach((each, i) => {
        const { width, height, draw } = wholeFlow(each, widthOfEach());
        names[i].textContent = namesOf(scene)[i];
        canvases[i].ariaLabel = `The flow of ${namesOf(scene)[i]}`;
        draw(canvasPen(fit(canvases[i], width, height)));
      });
    },
    picture: (pen, scene) => {
      const both = scenesOfBoth(scene).map((each) => wholeFlow(each, 560));
      const top = 20;
      let left = 0;
      both.forEach(({ width, draw }, i) => {
        pen.text(left + 8, 10, namesOf(scene)[i], { fill: scene.inks.faint, size: 13 });
        draw(moved(pen, left, top));
        left += width + BETWEEN;
      });
      return { width: left, height: top + Math.max(...both.map(({ height }) => height)) };
    },
    table: (scene) => {
      const [one, two] = scenesOfBoth(scene).map(tableOfFlow);
      const [own, other] = namesOf(scene);
      const rows = [...one.slice(1).map((row) => [own, ...row]), ...two.slice(1).map((row) => [other, ...row])];
      return [["prediction", ...(one[0].length > two[0].length ? one[0] : two[0])], ...rows];
    },
  };
}
