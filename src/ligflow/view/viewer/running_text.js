// Tokens as running text, each on the colour of what it stands for.

import { make } from "./elements.js";
import { css, shade } from "./pens.js";
import { printable } from "./wording.js";

/** What stands between each token and the one before it: as in the text, or a blank between words. */
function gapsOf(flow, groups) {
  const given = String(flow.meta.text || "");
  const lower = given.toLowerCase().length === given.length ? given.toLowerCase() : given;
  let cursor = 0;
  return groups.map((group, i) => {
    const core = group.text.replaceAll("▁", " ").replace(/^##/, "").trim().toLowerCase();
    const at = core && !group.special ? lower.indexOf(core, cursor) : -1;
    if (at >= 0 && !lower.slice(cursor, at).trim()) {
      const gap = lower.slice(cursor, at);
      cursor = at + core.length;
      return i ? gap || (groups[i - 1].special ? " " : "") : "";
    }
    if (!core && lower.startsWith(group.text.replaceAll("▁", " "), cursor)) cursor += group.text.length;
    return i && core && !group.text.startsWith("##") ? " " : "";
  });
}

/** A token as it reads in a text; line ends are kept, and marked. */
const spoken = (group) =>
  /^[\n\r]+$/.test(group.text)
    ? `↵${"\n".repeat(group.text.length)}`
    : printable(group.text.replaceAll("▁", " ").replace(/^##/, "")).trim() || "␣";

/**
 * Fills an element with the tokens of a flow. `values` are for all groups, NaN where a token is hidden; `most` has the
 * full colour. `marked` is outlined, and `pick` hears of a click on a group, if it is given.
 */
export function fillText(element, flow, groups, values, most, inks, { marked = -1, pick = null, told = null } = {}) {
  const gaps = gapsOf(flow, groups);
  element.replaceChildren(
    ...groups.flatMap((group, i) => {
      const span = make("span", { className: "token" }, spoken(group));
      if (Number.isNaN(values[i])) span.classList.add("aside");
      else {
        span.style.background = css(shade(values[i], most, inks));
        if (Math.abs(values[i]) > 0.55 * most) span.style.color = css(inks.paper);
      }
      if (i === marked) span.classList.add("marked");
      if (pick) Object.assign(span, { onclick: () => pick(i) });
      if (told)
        Object.assign(span, { onpointermove: (event) => told(event, i), onpointerleave: (event) => told(event, -1) });
      return gaps[i] ? [gaps[i].replace(/[^\n]/g, " "), span] : [span];
    }),
  );
}
