// Grids of numbers of two predictions, and their difference: three pictures whose rows and columns are chosen together.

import { fit, make, panel } from "../viewer/elements.js";
import { canvasPen, fitted, moved } from "../viewer/pens.js";
import { besideGroup, bothOf, largestWord, unlike } from "./beside.js";
import { drawCell, drawScale } from "./colours.js";
import { signed } from "./numbers.js";
import { spoken } from "./prediction_data.js";
import { drawNames, namesHeight } from "./word_names.js";

const [GRID_LEFT, GRID_TOP] = [66, 8];
const [PICTURE_WIDTH, PICTURE_GAP] = [380, 20];

/*
 * A grid is `{ rows, columns, at }`: rows from the bottom up, both lists of `{ key, label, choice }`, where `choice` is
 * what a click on them pins, null for what the shown prediction does not have; `at(row, column)` is a number, or null.
 */

const keysOf = ({ rows, columns }) => [rows, columns].map((places) => places.map(({ key }) => key).join("\0"));

/** Whether two grids have the same rows and columns. */
export const haveOneShape = (one, two) => keysOf(one).join("\n") === keysOf(two).join("\n");

/** The first less the second; what one alone has counts as it is. */
export const gridDifference = (one, two) => ({
  ...one,
  at: (row, column) => {
    const [a, b] = [one, two].map((grid) => grid.at(row, column));
    return a === null && b === null ? null : (a ?? 0) - (b ?? 0);
  },
});

function gridLayout({ rows, columns }, width) {
  const cell = Math.max(3, Math.min(40, (width - GRID_LEFT - 12) / columns.length));
  const rowHeight = Math.max(5, Math.min(15, 460 / rows.length));
  const named = namesHeight({ units: columns }, { from: 0, count: columns.length }, cell);
  return { cell, rowHeight, width, height: GRID_TOP + rows.length * rowHeight + named };
}

const gridRow = (grid, at, row) => GRID_TOP + (grid.rows.length - 1 - row) * at.rowHeight;

function drawGrid(pen, grid, at, scene) {
  const { inks } = scene;
  const every = Math.ceil(12 / at.rowHeight);
  const last = grid.rows.length - 1;
  grid.rows.forEach(({ label }, row) => {
    const y = gridRow(grid, at, row);
    if (row === last || (row % every === 0 && last - row >= every))
      pen.text(GRID_LEFT - 8, y + at.rowHeight / 2, label, { fill: inks.faint, size: 11, align: "right" });
    grid.columns.forEach((_, column) => {
      const value = grid.at(row, column);
      const x = GRID_LEFT + column * at.cell;
      const size = [at.cell - 0.5, at.rowHeight - 0.5];
      if (value === null) pen.hatch(x, y, ...size, inks.line);
      else drawCell(pen, x, y, ...size, value, scene);
    });
  });
  const bottom = GRID_TOP + grid.rows.length * at.rowHeight;
  const names = { from: 0, count: grid.columns.length, cell: at.cell };
  drawNames(pen, { units: grid.columns }, names, GRID_LEFT, bottom, inks);
}

const isOfHeads = (grid) => grid.columns.some(({ head }) => head !== undefined);

/** The row and the column of what is chosen, -1 for none. */
function chosenPlace(grid, chosen) {
  const row = chosen.layer < 0 ? -1 : grid.rows.findIndex(({ layer }) => layer === chosen.layer);
  const column = grid.columns.findIndex(({ head, choice }) =>
    isOfHeads(grid) ? chosen.head && head === chosen.head : chosen.word >= 0 && choice?.word === chosen.word,
  );
  return { row, column };
}

/** Frames what is chosen: a cell where it is a head, else a row and a column. */
function markGrid(pen, grid, at, { at: chosen, inks }) {
  const { row, column } = chosenPlace(grid, chosen);
  const [x, y] = [GRID_LEFT + column * at.cell, gridRow(grid, at, row)];
  const [width, height] = [grid.columns.length * at.cell, grid.rows.length * at.rowHeight];
  if (isOfHeads(grid) && row >= 0 && column >= 0)
    return pen.frame(x - 1, y - 1, at.cell + 1.5, at.rowHeight + 1.5, inks.mark, 2);
  if (row >= 0) pen.frame(GRID_LEFT - 2, y - 1, width + 3, at.rowHeight + 1, inks.mark, 1.5);
  if (column >= 0 && !isOfHeads(grid)) pen.frame(x - 1, GRID_TOP - 2, at.cell + 1, height + 3, inks.mark, 1.5);
}

/** Where two grids of one shape are most apart, in words; of heads and MLPs each, for MLPs are larger. */
function mostApart(one, two, gap) {
  const kinds = isOfHeads(gap) ? [({ head }) => head !== "mlp", ({ head }) => head === "mlp"] : [() => true];
  const said = kinds.flatMap((isOfKind) => {
    let most = { size: -1 };
    gap.rows.forEach((_, row) => {
      gap.columns.forEach((place, column) => {
        const size = Math.abs(gap.at(row, column) ?? 0);
        if (isOfKind(place) && size > most.size) most = { size, row, column };
      });
    });
    if (most.size < 0) return [];
    const [a, b] = [one, two].map((grid) => signed(grid.at(most.row, most.column) ?? 0));
    return `${gap.rows[most.row].label}, ${gap.columns[most.column].label} (${a} here, ${b} beside)`;
  });
  return `Most apart: ${said.join("; ")}. `;
}

/**
 * A view of both predictions: `gridsOf(scene, width)` gives the grid of each and why they have no difference, or "", as
 * `[one, two, reason]`, of the words that a width has room for, of all without it.
 */
export function comparedGrids(app, tell, { id, title, label, gridsOf, captionOf, names }) {
  const panels = ["this prediction", "the one beside", "the difference"].map((side) =>
    panel(`${label}: ${side}; arrows move what is chosen`),
  );
  const heads = panels.map(() => make("p", { className: "faint" }));
  const figures = panels.map(({ element }, i) => make("div", {}, heads[i], element));
  const element = make("div", { className: "beside three" }, ...figures);
  let shown = [];

  /** The grids with the scene of each: one scale where they share a unit, so that colours can be compared. */
  function grids(scene, width) {
    const [one, two, shapes] = gridsOf(scene, width);
    const both = bothOf(scene);
    const reason = unlike(...both) || shapes;
    const [own, its] = both.map(largestWord);
    const fulls = unlike(...both) ? [own, its] : Array(3).fill(Math.max(own, its) || 1);
    const all = reason ? [one, two] : [one, two, gridDifference(one, two)];
    return { reason, all: all.map((grid, i) => ({ grid, scene: { ...scene, full: fulls[i] } })) };
  }

  function namesOf(scene) {
    return [spoken(scene.group.name), spoken(besideGroup(scene).name), "difference: the first less the second"];
  }

  function placeOf(event, { grid, at }, over) {
    const box = over.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - GRID_LEFT) / at.cell);
    const row = grid.rows.length - 1 - Math.floor((event.clientY - box.top - GRID_TOP) / at.rowHeight);
    return grid.rows[row] && grid.columns[column] && grid.at(row, column) !== null ? { row, column } : null;
  }
  const choiceAt = ({ grid }, { row, column }) => {
    const [first, second] = [grid.columns[column].choice, grid.rows[row].choice];
    return first && second ? { ...second, ...first } : null;
  };
  const leave = (event) => {
    tell(event);
    app.point();
  };
  panels.forEach(({ over }, i) => {
    over.addEventListener("pointermove", (event) => {
      const place = shown[i] && placeOf(event, shown[i], over);
      if (!place) return leave(event);
      const { row, column } = place;
      const { grid } = shown[i];
      app.point(choiceAt(shown[i], place) || {});
      const called = namesOf(app.scene());
      const alike = shown.filter((each) => each.grid.rows[row]?.key === grid.rows[row].key);
      const told = alike.length === shown.length ? shown : [shown[i]];
      const values = told.map((each) => [called[shown.indexOf(each)], each.grid.at(row, column)]);
      tell(event, [
        `${grid.rows[row].label}, ${grid.columns[column].label}`,
        ...values.map(([name, value]) => `${name}: ${value === null ? "nothing" : signed(value)}`),
      ]);
    });
    over.addEventListener("pointerleave", leave);
    over.addEventListener("click", (event) => {
      const place = shown[i] && placeOf(event, shown[i], over);
      const choice = place && choiceAt(shown[i], place);
      if (choice) app.pin(choice);
    });
    over.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
      if (!by || !shown[i]) return;
      event.preventDefault();
      const { grid } = shown[i];
      const { row, column } = chosenPlace(grid, app.scene().state);
      const within = (place, { length }) => Math.max(0, Math.min(length - 1, place));
      const choice = choiceAt(shown[i], {
        row: row < 0 ? grid.rows.length - 1 : within(row + by[0], grid.rows),
        column: within(column + by[1], grid.columns),
      });
      if (choice) app.set(choice);
    });
  });

  /** Three pictures beside each other where there is room for them. */
  function widthOfEach() {
    const room = Math.max(280, element.clientWidth);
    return room >= 1040 ? (room - 50) / 3 : Math.min(room, 430);
  }
  function draw(scene) {
    const width = widthOfEach();
    const { all } = grids(scene, width);
    const called = namesOf(scene);
    shown = all.map((each) => ({ ...each, at: gridLayout(each.grid, width) }));
    figures.forEach((figure, i) => {
      figure.hidden = !shown[i];
      if (!shown[i]) return;
      const { grid, at, scene: own } = shown[i];
      heads[i].textContent = called[i];
      drawGrid(canvasPen(fit(panels[i].base, at.width, at.height)), grid, at, own);
    });
    mark(scene);
  }
  function mark(scene) {
    shown.forEach(({ grid, at }, i) => {
      markGrid(canvasPen(fit(panels[i].over, at.width, at.height)), grid, at, scene);
    });
  }
  function picture(pen, scene) {
    const { all } = grids(scene, PICTURE_WIDTH);
    const called = namesOf(scene);
    const ats = all.map(({ grid }) => gridLayout(grid, PICTURE_WIDTH));
    all.forEach(({ grid, scene: own }, i) => {
      const left = i * (PICTURE_WIDTH + PICTURE_GAP);
      pen.text(left + GRID_LEFT, 10, fitted(called[i], PICTURE_WIDTH - GRID_LEFT, 13), {
        fill: scene.inks.faint,
        size: 13,
      });
      const below = moved(pen, left, 16);
      drawGrid(below, grid, ats[i], own);
      markGrid(below, grid, ats[i], { ...own, at: scene.state });
    });
    const height = 20 + Math.max(...ats.map((at) => at.height));
    drawScale(pen, GRID_LEFT, height + 4, 150, all[0].scene);
    return { width: all.length * (PICTURE_WIDTH + PICTURE_GAP), height: height + 20 };
  }

  return {
    ...{ id, title, element, draw, mark, picture },
    isEmpty: (scene) => scene.groups.length < 2 || bothOf(scene).some(({ layers }) => !layers.length),
    isLarge: ({ data }) => data.units.length * data.layers.length > 40_000,
    caption: (scene) => {
      const width = widthOfEach();
      const { reason, all } = grids(scene); // of all words, of which a picture may show a window
      const scale = unlike(...bothOf(scene))
        ? "Each has its own full colour."
        : `One scale for all: full colour from ${signed(all[0].scene.full).replace("+", "±")}.`;
      const apart = reason ? `No difference is taken: ${reason}. ` : mostApart(...all.map(({ grid }) => grid));
      return `${apart}${captionOf(scene, width)} ${scale}`;
    },
    table: (scene) => [[...names, "relevance", "relevance beside", "difference"], ...tableOfGrids(grids(scene))],
  };
}

/** A line for every row and column of both, by their keys. */
function tableOfGrids({ reason, all }) {
  const [one, two] = all.map(({ grid }) => grid);
  const union = (part) => [...new Map([...one[part], ...two[part]].map((place) => [place.key, place])).values()];
  const index = (grid, part) => new Map(grid[part].map(({ key }, i) => [key, i]));
  const places = [one, two].map((grid) => [index(grid, "rows"), index(grid, "columns")]);
  const columns = union("columns");
  return union("rows").flatMap((row) =>
    columns.flatMap((column) => {
      const [a, b] = [one, two].map((grid, i) => {
        const [at, across] = [places[i][0].get(row.key), places[i][1].get(column.key)];
        return at === undefined || across === undefined ? null : grid.at(at, across);
      });
      if (a === null && b === null) return [];
      const gap = reason ? "" : (a ?? 0) - (b ?? 0);
      return [[row.cell ?? row.label, ...(column.cells || [column.label]), a ?? "", b ?? "", gap]];
    }),
  );
}
