// What is under the pointer, tapped or focused is said in numbers at the foot of the page.
const line = document.querySelector(".said");
const hint = line.textContent;

function say(event) {
  const cell = event.target.closest?.("[title], [data-said]");
  if (!cell) {
    if (event.type === "pointerover") line.textContent = hint;
    return;
  }
  if (cell.title) {
    cell.dataset.said = cell.title;
    cell.removeAttribute("title"); // or the browser would say the same a second time
  }
  line.textContent = cell.dataset.said;
}

for (const kind of ["pointerover", "click", "focusin"]) document.addEventListener(kind, say);
