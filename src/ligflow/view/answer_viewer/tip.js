// What is pointed at, in words at the pointer; on phones at the foot of the page.

import { make } from "../viewer/elements.js";
import { showTip } from "../viewer/tooltip.js";

/** From where to where the line of a word goes, where one of the text is pointed at. */
function lineAt(event, x, y) {
  const lines = [...(event.target?.closest?.("[data-word]")?.getClientRects() || [])];
  const line = lines.find(({ left, right, top, bottom }) => x >= left && x <= right && y >= top && y <= bottom);
  return line && { above: line.top, below: line.bottom };
}

/** The element of the words, and `tell(event, lines)`, which shows them, or hides them where there are none. */
export function tipOf() {
  const element = make("div", { className: "tip", role: "status", hidden: true });
  function tell(event, lines = []) {
    if (!lines.length) {
      element.hidden = true;
      return;
    }
    const [x, y] = [event.clientX ?? 0, event.clientY ?? 0];
    showTip(element, lines, x, y, lineAt(event, x, y));
  }
  return { element, tell };
}
