// The exact view as one picture: heading, ladder under the selection, heat maps, legend, trace; as SVG or PNG.

import { drawHeat, drawLadder, drawLegend, legendText } from "./map_pictures.js";
import { canvasPen, css, moved, svgOf, svgPen } from "./pens.js";
import { drawTrace } from "./trace_picture.js";
import { ladderOf } from "./views.js";
import { cut, mapName, percent, printable, settingsWords } from "./wording.js";

function drawAll(pen, { views, most, only, found }, inks) {
  const { state, flow, ladderAt } = views[0];
  pen.text(12, 16, cut(printable(String(flow.meta.text || flow.name)), 140), { fill: inks.text, size: 14, bold: true });
  const shown = `${percent(views[0].share)} of the magnitude shown${state.renorm ? ", renormalised" : ""}`;
  pen.text(12, 36, `Layer ${state.layer}: ${mapName(state.map, state.rule)}; ${settingsWords(flow)}; ${shown}`, {
    fill: inks.faint,
    size: 12,
  });
  if (found) {
    drawTrace(moved(pen, 12, 56), found, found.at, inks);
    return { width: Math.max(found.at.width + 24, 480), height: 66 + found.at.height };
  }
  let x = 0;
  if (ladderAt) {
    drawLadder(moved(pen, 0, 52), ladderOf(views[0], only), ladderAt, inks, only);
    x = ladderAt.width + 24;
  }
  for (const view of views) {
    drawHeat(moved(pen, x, 52), view, view.at, view.most || most, inks);
    x += view.at.width + 16;
  }
  const below = 60 + Math.max(ladderAt ? ladderAt.height : 0, ...views.map((view) => view.at.height));
  drawLegend(pen, 12, below, views[0], most, inks);
  pen.text(146, below + 5, legendText(views[0]), { fill: inks.text, size: 12 });
  return { width: Math.max(x, 480), height: below + 34 };
}

export function exportSvg(scene, inks) {
  const pen = svgPen();
  const { width, height } = drawAll(pen, scene, inks);
  return svgOf(pen, width, height, css(inks.paper));
}

export async function exportPng(scene, inks) {
  const { width, height } = drawAll(svgPen(), scene, inks);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(width * 2), Math.ceil(height * 2)];
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.imageSmoothingEnabled = false;
  context.fillStyle = css(inks.paper);
  context.fillRect(0, 0, width, height);
  drawAll(canvasPen(context), scene, inks);
  return new Promise((done) => {
    canvas.toBlob(done, "image/png");
  });
}
