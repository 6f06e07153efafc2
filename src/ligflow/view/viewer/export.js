// The exact view as one picture: heading, ladder under the selection, heat maps, legend, trace; as SVG or PNG.

import { keptWords } from "./kept_words.js";
import { drawHeat, drawLadder, drawLegend, legendText } from "./map_pictures.js";
import { css, moved, pngOf, svgOf, svgPen, widthOf } from "./pens.js";
import { drawTrace } from "./trace_picture.js";
import { ladderOf } from "./views.js";
import { cut, mapName, printable, settingsWords } from "./wording.js";

function drawAll(pen, { views, most, only, found }, inks) {
  const { state, flow, ladderAt } = views[0];
  const title = cut(printable(String(flow.meta.text || flow.name)), 140);
  pen.text(12, 16, title, { fill: inks.text, size: 14, bold: true });
  const about = `Layer ${state.layer}: ${mapName(state.map, state.rule)}; ${settingsWords(flow)}`;
  const kept = keptWords(views[0], flow, state);
  pen.text(12, 36, about, { fill: inks.faint, size: 13 });
  pen.text(12, 52, kept, { fill: inks.faint, size: 13 });
  const written = 24 + Math.max(widthOf(title, 14, true), widthOf(about, 13), widthOf(kept, 13), 456);
  if (found) {
    drawTrace(moved(pen, 12, 72), found, found.at, inks);
    return { width: Math.max(found.at.width + 24, written), height: 82 + found.at.height };
  }
  let x = 0;
  if (ladderAt) {
    drawLadder(moved(pen, 0, 68), ladderOf(views[0], only), ladderAt, inks, only);
    x = ladderAt.width + 24;
  }
  for (const view of views) {
    drawHeat(moved(pen, x, 68), view, view.at, view.most || most, inks);
    x += view.at.width + 16;
  }
  const below = 76 + Math.max(ladderAt ? ladderAt.height : 0, ...views.map((view) => view.at.height));
  drawLegend(pen, 12, below, views[0], most, inks);
  pen.text(146, below + 5, legendText(views[0]), { fill: inks.text, size: 13 });
  return { width: Math.max(x, written), height: below + 34 };
}

export function exportSvg(scene, inks) {
  const pen = svgPen();
  const { width, height } = drawAll(pen, scene, inks);
  return svgOf(pen, width, height, css(inks.paper));
}

export const exportPng = (scene, inks) => pngOf((pen) => drawAll(pen, scene, inks), inks.paper);
