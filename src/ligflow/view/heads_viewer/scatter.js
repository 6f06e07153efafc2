// All heads and MLPs as points: two measures, a click or Enter chooses one, arrows walk through them.

import { make } from "../viewer/elements.js";
import { extent, said, ticks } from "./measures.js";

const [WIDTH, HEIGHT, LEFT, BELOW, EDGE] = [760, 480, 74, 48, 12];
const RADIUS = 5;

function drawn(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The picture; `choose` hears of the component that is chosen, by its place. */
export function scatter(data, choose) {
  const [picture, tip] = [
    drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "scatter", tabindex: 0 }),
    make("p"),
  ];
  tip.className = "tip";
  tip.setAttribute("aria-live", "polite");
  let [points, at] = [[], null];

  function say(point) {
    at = point;
    for (const other of points) other.mark.classList.toggle("pointed", other === point);
    tip.textContent = point ? point.words : "";
  }

  function draw({ x, y, kinds, chosen }) {
    const [across, up] = [data.measures[x], data.measures[y]];
    const shown = data.components.flatMap((part, place) =>
      !kinds.includes(part.kind) || part.values[x] === null || part.values[y] === null ? [] : [{ part, place }],
    );
    const rangeX = extent(shown.map(({ part }) => part.values[x]));
    const rangeY = extent(shown.map(({ part }) => part.values[y]));
    const placeX = (value) => LEFT + ((value - rangeX[0]) / (rangeX[1] - rangeX[0])) * (WIDTH - LEFT - EDGE);
    const placeY = (value) =>
      HEIGHT - BELOW - ((value - rangeY[0]) / (rangeY[1] - rangeY[0])) * (HEIGHT - BELOW - EDGE);
    picture.replaceChildren(...axes(across, up, rangeX, rangeY, placeX, placeY));
    points = shown.map(({ part, place }) => {
      const mark = markOf(part, placeX(part.values[x]), placeY(part.values[y]), place === chosen);
      const words = `${part.name}: ${across.name} ${said(across, part.values[x])}, ${up.name} ${said(up, part.values[y])}`;
      const point = { mark, words, place, x: part.values[x], y: part.values[y] };
      mark.append(drawn("title", {}, words));
      mark.addEventListener("click", () => choose(place));
      mark.addEventListener("pointerenter", () => say(point));
      return point;
    });
    points.sort((one, other) => one.x - other.x || one.y - other.y);
    picture.append(...points.map((point) => point.mark));
    picture.setAttribute("role", "application");
    picture.setAttribute(
      "aria-label",
      `${points.length} points, ${across.name} by ${up.name}; arrows walk, Enter chooses`,
    );
    say(points.find((point) => point.place === chosen) ?? null);
  }

  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step && points.length) {
      const last = points.length - 1;
      say(points[at ? Math.min(last, Math.max(0, points.indexOf(at) + step)) : step > 0 ? 0 : last]);
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === " ") && at) {
      choose(at.place);
      event.preventDefault();
    }
  });
  return { element: make("div", { className: "plot" }, picture, tip), draw };
}

/** A circle for a head, a diamond for one that reads an encoder, a square for an MLP; full if it carries the task. */
function markOf(part, x, y, chosen) {
  const names = ["point", part.carries === "no" ? "other" : part.carries, chosen ? "chosen" : ""];
  const common = { class: names.join(" "), "data-name": part.name };
  if (part.kind === "head") return drawn("circle", { ...common, cx: x, cy: y, r: RADIUS });
  const square = { ...common, x: x - RADIUS, y: y - RADIUS, width: 2 * RADIUS, height: 2 * RADIUS };
  return drawn("rect", part.kind === "mlp" ? square : { ...square, transform: `rotate(45 ${x} ${y})` });
}

function axes(across, up, rangeX, rangeY, placeX, placeY) {
  const [right, bottom] = [WIDTH - EDGE, HEIGHT - BELOW];
  const lines = [
    ...ticks(rangeX).flatMap((value) => [
      drawn("line", {
        class: value === 0 ? "zero" : "grid",
        x1: placeX(value),
        x2: placeX(value),
        y1: EDGE,
        y2: bottom,
      }),
      drawn("text", { x: placeX(value), y: bottom + 17, "text-anchor": "middle" }, said(across, value)),
    ]),
    ...ticks(rangeY).flatMap((value) => [
      drawn("line", {
        class: value === 0 ? "zero" : "grid",
        x1: LEFT,
        x2: right,
        y1: placeY(value),
        y2: placeY(value),
      }),
      drawn("text", { x: LEFT - 6, y: placeY(value) + 4, "text-anchor": "end" }, said(up, value)),
    ]),
  ];
  const middle = (EDGE + bottom) / 2;
  const turned = { x: 14, y: middle, "text-anchor": "middle", class: "axis", transform: `rotate(-90 14 ${middle})` };
  const below = { x: (LEFT + right) / 2, y: HEIGHT - 8, "text-anchor": "middle", class: "axis" };
  return [...lines, drawn("text", below, across.name), drawn("text", turned, up.name)];
}
