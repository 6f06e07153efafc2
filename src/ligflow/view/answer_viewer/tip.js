// What is pointed at, in words at the pointer; on phones at the foot of the page.

import { make } from "../viewer/elements.js";

const GAP = 14;

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
    const top = y + GAP + height > window.innerHeight ? y - GAP - height : y + GAP;
    Object.assign(element.style, { left: `${Math.max(4, left)}px`, top: `${Math.max(4, top)}px` });
  }
  return { element, tell };
}
