// What is pointed at, in words at the pointer; on phones at the foot of the page.

import { make } from "../viewer/elements.js";

const GAP = 14;

/** From where to where there is what the words are about: the line of a word of the text, or the pointer. */
function lineAt(event, x, y) {
  const lines = [...(event.target?.closest?.("[data-word]")?.getClientRects() || [])];
  const line = lines.find(({ left, right, top, bottom }) => x >= left && x <= right && y >= top && y <= bottom);
  return line ? { above: line.top, below: line.bottom } : { above: y, below: y };
}

/** The element of the words, and `tell(event, lines)`, which shows them, or hides them where there are none. */
export function tipOf() {
  const element = make("div", { className: "tip", role: "status", hidden: true });
  function tell(event, lines = []) {
    element.hidden = !lines.length;
    if (!lines.length) return;
    element.replaceChildren(...lines.map((line, i) => make("div", { className: i ? "faint" : "" }, line)));
    const { width, height } = element.getBoundingClientRect();
    const [x, y] = [event.clientX ?? 0, event.clientY ?? 0];
    const left = x + GAP + width > window.innerWidth ? x - GAP - width : x + GAP;
    const { above, below } = lineAt(event, x, y);
    const top = below + GAP + height > window.innerHeight ? above - GAP - height : below + GAP;
    Object.assign(element.style, { left: `${Math.max(4, left)}px`, top: `${Math.max(4, top)}px` });
  }
  return { element, tell };
}
