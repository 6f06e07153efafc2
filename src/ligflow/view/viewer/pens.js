// Pens: the same calls draw on a canvas and write an SVG; colours and widths of letters with them.

const DASHES = [5, 3];
const CROWDED = 16384; // cells from which an SVG holds the heat map as pixels

// --- colours ------------------------------------------------------------------------------------

export const INKS = {
  light: {
    paper: [255, 255, 255],
    positive: [33, 102, 172],
    negative: [217, 95, 14],
    text: "#16181d",
    faint: "#5d6470",
    line: "#d5d8de",
    mark: "#111111",
  },
  dark: {
    paper: [22, 25, 31],
    positive: [110, 176, 255],
    negative: [255, 150, 60],
    text: "#e8eaee",
    faint: "#a2a9b5",
    line: "#363c47",
    mark: "#ffffff",
  },
};

/** Paper at 0, blue for what adds, orange for what takes away; safe for colour-blind readers. */
export function shade(value, most, inks) {
  if (Number.isNaN(value)) return inks.paper;
  const strength = Math.min(1, Math.abs(value) / most);
  const ink = value >= 0 ? inks.positive : inks.negative;
  return inks.paper.map((p, i) => Math.round(p + (ink[i] - p) * strength));
}

export const css = ([r, g, b]) => `rgb(${r},${g},${b})`;

// --- pens: the same calls on a canvas and in an SVG ---------------------------------------------

const FONT = "system-ui, sans-serif";

export function canvasPen(context) {
  return {
    rect: (x, y, w, h, fill) => {
      context.fillStyle = fill;
      context.fillRect(x, y, w, h);
    },
    frame: (x, y, w, h, stroke, width = 1) => {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.strokeRect(x, y, w, h);
    },
    curve: (x1, y1, x2, y2, stroke, width, alpha) => {
      context.globalAlpha = alpha;
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x1, y1);
      context.bezierCurveTo((x1 + x2) / 2, y1, (x1 + x2) / 2, y2, x2, y2);
      context.stroke();
      context.globalAlpha = 1;
    },
    rise: (x1, y1, x2, y2, stroke, width, alpha, isDashed = false) => {
      context.setLineDash(isDashed ? DASHES : []);
      context.globalAlpha = alpha;
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x1, y1);
      context.bezierCurveTo(x1, (y1 + y2) / 2, x2, (y1 + y2) / 2, x2, y2);
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 1;
    },
    band: (x1, y1, x2, y2, fill, width, alpha) => {
      const [half, middle] = [width / 2, (y1 + y2) / 2];
      context.globalAlpha = alpha;
      context.fillStyle = fill;
      context.beginPath();
      context.moveTo(x1 - half, y1);
      context.bezierCurveTo(x1 - half, middle, x2 - half, middle, x2 - half, y2);
      context.lineTo(x2 + half, y2);
      context.bezierCurveTo(x2 + half, middle, x1 + half, middle, x1 + half, y1);
      context.fill();
      context.globalAlpha = 1;
    },
    text: (x, y, text, { fill, size = 12, align = "left", turn = 0, bold = false }) => {
      context.save();
      context.translate(x, y);
      context.rotate(turn);
      Object.assign(context, { fillStyle: fill, textAlign: align, textBaseline: "middle", direction: "ltr" });
      context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
      context.fillText(text, 0, 0);
      context.restore();
    },
    hatch: (x, y, w, h, stroke) => {
      context.save();
      context.beginPath();
      context.rect(x, y, w, h);
      context.clip();
      context.strokeStyle = stroke;
      context.lineWidth = 1;
      for (let at = x - h; at < x + w; at += 5) {
        context.beginPath();
        context.moveTo(at, y + h);
        context.lineTo(at + h, y);
        context.stroke();
      }
      context.restore();
    },
    cells: (x, y, cell, view, colour) =>
      context.drawImage(pixels(view, colour), x, y, cell * view.columns, cell * view.rows),
  };
}

/** A canvas with a pixel for each cell. */
export function pixels(view, colour) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [view.columns, view.rows];
  const context = canvas.getContext("2d");
  const image = context.createImageData(view.columns, view.rows);
  for (let i = 0; i < view.rows * view.columns; i++) {
    image.data.set(colour(Math.floor(i / view.columns), i % view.columns), i * 4);
    image.data[i * 4 + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const round = (x) => Number(x.toFixed(2));

export function svgPen() {
  const parts = [];
  const put = (text) => parts.push(text);
  let hatched = 0;
  return {
    parts,
    rect: (x, y, w, h, fill) =>
      put(`<rect x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" fill="${fill}"/>`),
    frame: (x, y, w, h, stroke, width = 1) =>
      put(
        `<rect x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" fill="none" stroke="${stroke}" stroke-width="${width}"/>`,
      ),
    curve: (x1, y1, x2, y2, stroke, width, alpha) => {
      const half = round((x1 + x2) / 2);
      put(
        `<path d="M${round(x1)} ${round(y1)}C${half} ${round(y1)} ${half} ${round(y2)} ${round(x2)} ${round(y2)}" fill="none" stroke="${stroke}" stroke-width="${round(width)}" opacity="${round(alpha)}"/>`,
      );
    },
    rise: (x1, y1, x2, y2, stroke, width, alpha, isDashed = false) => {
      const dashes = isDashed ? ` stroke-dasharray="${DASHES}"` : "";
      const [a, b, half] = [round(x1), round(x2), round((y1 + y2) / 2)];
      put(
        `<path d="M${a} ${round(y1)}C${a} ${half} ${b} ${half} ${b} ${round(y2)}" fill="none" stroke="${stroke}" stroke-width="${round(width)}" opacity="${round(alpha)}"${dashes}/>`,
      );
    },
    band: (x1, y1, x2, y2, fill, width, alpha) => {
      const [a, b, c, d] = [x1 - width / 2, x2 - width / 2, x2 + width / 2, x1 + width / 2].map(round);
      const [low, half, high] = [y1, (y1 + y2) / 2, y2].map(round);
      put(
        `<path d="M${a} ${low}C${a} ${half} ${b} ${half} ${b} ${high}H${c}C${c} ${half} ${d} ${half} ${d} ${low}Z" fill="${fill}" opacity="${round(alpha)}"/>`,
      );
    },
    text: (x, y, text, { fill, size = 12, align = "left", turn = 0, bold = false }) => {
      const anchor = { left: "start", center: "middle", right: "end" }[align];
      const rotated = turn ? ` transform="rotate(${round((turn * 180) / Math.PI)} ${round(x)} ${round(y)})"` : "";
      put(
        `<text x="${round(x)}" y="${round(y)}" font-size="${round(size)}" fill="${fill}" text-anchor="${anchor}" dominant-baseline="central"${bold ? ' font-weight="600"' : ""}${rotated}>${escaped(text)}</text>`,
      );
    },
    hatch: (x, y, w, h, stroke) => {
      const id = `hatch${hatched++}`;
      put(
        `<pattern id="${id}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V5" stroke="${stroke}"/></pattern>`,
      );
      put(`<rect x="${round(x)}" y="${round(y)}" width="${round(w)}" height="${round(h)}" fill="url(#${id})"/>`);
    },
    cells: (x, y, cell, view, colour) => {
      if (view.rows * view.columns > CROWDED) {
        const size = `width="${round(cell * view.columns)}" height="${round(cell * view.rows)}"`;
        put(
          `<image x="${round(x)}" y="${round(y)}" ${size} preserveAspectRatio="none" style="image-rendering:pixelated" href="${pixels(view, colour).toDataURL()}"/>`,
        );
        return;
      }
      for (let r = 0; r < view.rows; r++)
        for (let c = 0; c < view.columns; c++) {
          const value = view.shown[r * view.columns + c];
          if (Number.isNaN(value)) continue;
          put(
            `<rect class="cell" data-target="${r}" data-source="${c}" data-value="${value}" x="${round(x + c * cell)}" y="${round(y + r * cell)}" width="${round(cell)}" height="${round(cell)}" fill="${css(colour(r, c))}"/>`,
          );
        }
    },
  };
}

let ruler = null;

/** How wide a text is, in pixels. */
export function widthOf(text, size, bold = false) {
  ruler ||= document.createElement("canvas").getContext("2d");
  ruler.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
  return ruler.measureText(text).width;
}

/** A text, or as much of its beginning as has room. */
export function fitted(text, room, size, bold = false) {
  if (widthOf(text, size, bold) <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (widthOf(text.slice(0, middle) + (middle < text.length ? "…" : ""), size, bold) <= room) low = middle;
    else high = middle - 1;
  }
  return low < text.length ? `${text.slice(0, low)}…` : text;
}

export const svgOf = (pen, width, height, paper) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(width)}" height="${Math.ceil(height)}" viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" font-family="${FONT}"><rect width="100%" height="100%" fill="${paper}"/>${pen.parts.join("")}</svg>\n`;

/** A picture in pixels, at twice its size: `draw(pen)` draws it on any pen, and returns its width and height. */
export function pngOf(draw, paper) {
  const { width, height } = draw(svgPen());
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(width * 2), Math.ceil(height * 2)];
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.imageSmoothingEnabled = false;
  context.fillStyle = css(paper);
  context.fillRect(0, 0, width, height);
  draw(canvasPen(context));
  return new Promise((done) => {
    canvas.toBlob(done, "image/png");
  });
}

/** A pen whose origin is elsewhere. */
export const moved = (pen, dx, dy) => ({
  ...pen,
  rect: (x, y, ...rest) => pen.rect(x + dx, y + dy, ...rest),
  frame: (x, y, ...rest) => pen.frame(x + dx, y + dy, ...rest),
  curve: (x1, y1, x2, y2, ...rest) => pen.curve(x1 + dx, y1 + dy, x2 + dx, y2 + dy, ...rest),
  rise: (x1, y1, x2, y2, ...rest) => pen.rise(x1 + dx, y1 + dy, x2 + dx, y2 + dy, ...rest),
  band: (x1, y1, x2, y2, ...rest) => pen.band(x1 + dx, y1 + dy, x2 + dx, y2 + dy, ...rest),
  text: (x, y, ...rest) => pen.text(x + dx, y + dy, ...rest),
  hatch: (x, y, ...rest) => pen.hatch(x + dx, y + dy, ...rest),
  cells: (x, y, ...rest) => pen.cells(x + dx, y + dy, ...rest),
});
