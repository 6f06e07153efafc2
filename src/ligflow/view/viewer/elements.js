// Elements of the page: how they are made, sized and saved from.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function fit(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  [canvas.width, canvas.height] = [Math.ceil(width * ratio), Math.ceil(height * ratio)];
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = false;
  return context;
}

/** A picture and what is drawn over it while the pointer moves. */
export function panel(label) {
  const [base, over] = [
    make("canvas"),
    make("canvas", { className: "over", tabIndex: 0, role: "img", ariaLabel: label }),
  ];
  return { element: make("div", { className: "panel" }, base, over), base, over };
}

/** Parts of a sentence: tokens stand out, with text after each. */
export const sentenceOf = (parts) =>
  parts.flatMap(({ token, text }) => (token === undefined ? [text] : [make("em", {}, token), text]));

export function save(content, type, name) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
