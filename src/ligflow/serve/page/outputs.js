// What the model may say, as buttons: the answer that is asked about, and what it is said rather than.

const at = (id) => document.getElementById(id);

function percent(share) {
  return share >= 0.001 ? `${(100 * share).toFixed(share >= 0.1 ? 0 : 1)}%` : "<0.1%";
}

function button(output, pressed, act) {
  const made = Object.assign(document.createElement("button"), { type: "button" });
  made.append(output.label);
  if (output.probability !== undefined) {
    made.append(Object.assign(document.createElement("small"), { textContent: percent(output.probability) }));
  }
  made.setAttribute("aria-pressed", String(pressed));
  made.addEventListener("click", act);
  return made;
}

export function hideOutputs() {
  at("outputs").hidden = true;
}

/** Shows the likeliest outputs; `choose(answer, contrast)` is called with those that are clicked. */
export function showOutputs(outputs, said, choose, answer, contrast = null) {
  at("outputs").hidden = false;
  at("asked").textContent = said;
  at("answers").replaceChildren(
    ...outputs.map((output) => button(output, output.answer === answer, () => choose(output.answer, null))),
  );
  const others = outputs.filter((output) => output.answer !== answer);
  const offered = answer !== undefined && others.length > 0;
  at("rather").hidden = at("contrasts").hidden = !offered;
  if (!offered) return at("contrasts").replaceChildren();
  const nothing = button({ label: "anything else" }, contrast === null, () => choose(answer, null));
  at("contrasts").replaceChildren(
    nothing,
    ...others.map((output) => button(output, output.answer === contrast, () => choose(answer, output.answer))),
  );
}
