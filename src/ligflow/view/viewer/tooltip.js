// A few words at the pointer, or beside what has the focus; on phones a sheet at the foot.

import { make } from "./elements.js";

const GAP = 14; // between pointer and tooltip
const PAUSE = 350; // milliseconds that the pointer rests before a control is explained

/** Shows lines at x, below what they are about or above it; that is a line of text, or the pointer itself. */
export function showTip(tip, lines, x, y, { above = y, below = y } = {}) {
  tip.replaceChildren(...lines.map((line, i) => make("div", { className: i ? "faint" : "" }, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + GAP + width > window.innerWidth ? x - GAP - width : x + GAP;
  const top = below + GAP + height > window.innerHeight ? above - GAP - height : below + GAP;
  Object.assign(tip.style, { left: `${Math.max(4, left)}px`, top: `${Math.max(4, top)}px` });
}

/** Shows the description of the control under a resting pointer, or of the one that keys came to. */
export function explainControls(root, tip) {
  let waiting = 0;
  let shown = null;
  const hide = () => {
    clearTimeout(waiting);
    if (shown) tip.hidden = true;
    shown = null;
  };
  const show = (element, x, y) => {
    shown = element;
    showTip(tip, [element.getAttribute("aria-description")], x, y);
  };
  const described = (event) => {
    const near = event.target.closest?.("[aria-description]");
    return near || event.target.closest?.("label")?.querySelector("[aria-description]") || null;
  };
  root.addEventListener("pointerover", (event) => {
    const element = described(event);
    if (element === shown && element) return;
    hide();
    if (element && event.pointerType !== "touch")
      waiting = setTimeout(() => element.isConnected && show(element, event.clientX, event.clientY), PAUSE);
  });
  root.addEventListener("pointerleave", hide);
  root.addEventListener("pointerdown", hide);
  root.addEventListener("keydown", hide);
  root.addEventListener("focusin", (event) => {
    if (!event.target.matches("[aria-description]:focus-visible")) return;
    const { left, bottom } = event.target.getBoundingClientRect();
    hide();
    show(event.target, left, bottom);
  });
  root.addEventListener("focusout", hide);
  return () => clearTimeout(waiting);
}
