// The turns of a chat before the text, which is then its last one.

const ROLES = ["user", "assistant", "system"];

/** A row for one more turn, in `place`; `changed` is called when it is written in or taken away. */
export function addTurn(place, changed, role = place.children.length % 2 ? "assistant" : "user", content = "") {
  const row = Object.assign(document.createElement("div"), { className: "turn" });
  const roles = document.createElement("select");
  roles.append(...ROLES.map((name) => new Option(name, name)));
  roles.value = role;
  roles.setAttribute("aria-label", "Who says it");
  const said = Object.assign(document.createElement("textarea"), { rows: 1, required: true, value: content });
  said.setAttribute("aria-label", "What is said");
  const away = Object.assign(document.createElement("button"), { type: "button", textContent: "Remove" });
  away.addEventListener("click", () => {
    row.remove();
    changed();
  });
  for (const field of [roles, said]) field.addEventListener("input", changed);
  row.append(roles, said, away);
  place.append(row);
  changed();
  return said;
}

/** A text, or where turns stand before it those of a chat, whose last one the text is. */
export function withTurns(place, text) {
  const turns = [...place.children].map((row) => ({
    role: row.querySelector("select").value,
    content: row.querySelector("textarea").value,
  }));
  return turns.length ? [...turns, { role: "user", content: text }] : text;
}
