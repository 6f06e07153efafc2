// The page: a text, why the model says what it says, and what happens inside its layers.

import { addTurn } from "./chat.js";
import { at, examplesFor, fillFor, fillModels, flowRequest, prompt, reference, showReference, typed } from "./form.js";
import { hideOutputs, showOutputs } from "./outputs.js";
import { ask, cancel, computed, inWords, isBusy } from "./server.js";

const NAMED = ["sequence classifier", "token classifier"];
let models = [];
let limits = {};
let chained = {};
let flow = null;

function chosen() {
  return models.find((model) => model.name === at("model").value);
}

function fail(problem) {
  at("error").textContent = problem ? problem.message : "";
  at("error").classList.toggle("table", at("error").textContent.includes("\n"));
  at("error").hidden = !problem;
}

function setBusy(busy) {
  for (const button of document.querySelectorAll("main button:not(#cancel), #model")) button.disabled = busy;
  at("cancel").hidden = at("progress").hidden = !busy;
  at("cancel").disabled = false;
  at("form").setAttribute("aria-busy", String(busy));
}

/** What a job made, as a response of the server; null if it was cancelled. */
async function result(path, request, steps) {
  setBusy(true);
  try {
    return await computed(path, request, (state) => {
      at("state").textContent = inWords(state, steps);
      const bar = at("progress");
      if (state.state === "running" && state.of) Object.assign(bar, { max: state.of, value: state.done });
      else bar.removeAttribute("value");
    });
  } finally {
    setBusy(false);
    at("state").textContent = "";
  }
}

/** Does something that may fail, or be cancelled (null), and says so. */
async function tried(act) {
  if (isBusy()) return;
  fail(null);
  try {
    if ((await act()) === null) at("state").textContent = "Cancelled.";
  } catch (problem) {
    fail(problem);
  }
}

function clear() {
  if (flow) flow.destroy();
  flow = null;
  at("view").replaceChildren();
  at("page").replaceChildren();
  at("alone").hidden = true;
}

function remember(request) {
  const said = Array.isArray(request.text) ? request.text.at(-1).content : request.text;
  const address = { text: said, model: request.model };
  if (request.other) address.other = request.other;
  history.replaceState(null, "", `?${new URLSearchParams(address)}`);
  at("examples").hidden = true;
}

// --- why it says this -----------------------------------------------------------------------------

/** The likeliest outputs first, which are then asked about by a click. */
async function why() {
  const request = prompt();
  hideOutputs();
  if (chosen().kind === "none") return explain(request, null, null, []);
  const path = await result("api/likeliest", request, "step");
  if (path === null) return null;
  const outputs = await (await ask("GET", path)).json();
  remember(request);
  if (!outputs.length) return explain(request, null, null, outputs);
  offer(request, outputs);
  at("outputs").scrollIntoView({ block: "nearest" });
}

function offer(request, outputs, answer, contrast) {
  if (JSON.stringify(prompt()) !== JSON.stringify(request)) return; // another text has been typed meanwhile
  const does = NAMED.includes(chosen().kind) ? "sorts it as" : "says next";
  const said = `What the model ${does}, likeliest first. Click the one that you want explained.`;
  showOutputs(outputs, said, (next, other) => tried(() => explain(request, next, other, outputs)), answer, contrast);
  at("another").onsubmit = (event) => {
    event.preventDefault();
    tried(() => explain(request, at("answer").value, null, outputs));
  };
}

async function explain(request, answer, contrast, outputs) {
  if (outputs.length) offer(request, outputs, answer, contrast);
  const path = await result("api/why", { ...request, answer, contrast, reference: reference() }, "segment");
  if (path === null) return null;
  remember(request);
  showAnswer(path);
}

/** The answer's page by itself: it runs apart from this one, and can ask nothing of the server. */
function showAnswer(path) {
  clear();
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.setAttribute("allow", "clipboard-write");
  frame.title = "Why the model says this";
  frame.src = path;
  at("page").append(frame);
  for (const link of at("alone").querySelectorAll("a")) link.href = path;
  at("alone").hidden = false;
  frame.addEventListener("load", () => at("alone").scrollIntoView({ block: "start" }), { once: true });
}

// --- inside the layers ----------------------------------------------------------------------------

async function flowBytes(request) {
  const path = await result("api/flows", request, "layer");
  return path && new Uint8Array(await (await ask("GET", path)).arrayBuffer());
}

function nameOf(request) {
  return Array.isArray(request.text) ? request.text.map((turn) => turn.content).join(" / ") : request.text;
}

async function layers() {
  const request = flowRequest();
  const bytes = await flowBytes(request);
  if (!bytes) return null;
  const { mount } = await import("./ligflow.js").catch(() => {
    throw new Error("The viewer (ligflow.js) could not be loaded; install ligflow again.");
  });
  clear();
  remember(request);
  flow = mount(at("view"), [{ name: nameOf(request), bytes }], { chain: () => chain(request) });
}

/** The same text in maps that can be followed from layer to layer. */
async function chain(request) {
  fail(null);
  try {
    const bytes = await flowBytes({ ...request, ...chained });
    return bytes && { name: nameOf(request), bytes };
  } catch (problem) {
    fail(problem);
    return null;
  }
}

// --- the form -------------------------------------------------------------------------------------

/** What was offered belongs to the text as it was. */
function changed() {
  hideOutputs();
  at("count").textContent = limits.characters ? `${typed()} of ${limits.characters} characters` : "";
}

function changeModel() {
  const model = chosen();
  fillFor(model);
  const buttons = examplesFor(model).map(([text, other]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => {
      at("text").value = text;
      at("other").value = other || "";
      changed();
      tried(why);
    });
    return button;
  });
  at("examples").replaceChildren(at("examples").firstElementChild, ...buttons);
  changed();
}

async function start() {
  const asked = new URLSearchParams(location.search);
  if (asked.get("text")) at("text").value = asked.get("text"); // at once: what is typed while the server answers stays
  if (asked.get("other")) at("other").value = asked.get("other");
  try {
    ({ models, limits, chained } = await (await ask("GET", "api/models")).json());
    fillModels(models, asked.get("model"));
    [at("tol").min, at("tol").max] = limits.tol;
    changeModel();
    at("why").disabled = at("layers").disabled = false;
  } catch (problem) {
    fail(problem);
  }
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  tried(why);
});
at("layers").addEventListener("click", () => at("text").reportValidity() && tried(layers));
at("cancel").addEventListener("click", async () => {
  at("cancel").disabled = true;
  await cancel().catch(fail);
});
at("model").addEventListener("change", changeModel);
at("reference").addEventListener("change", showReference);
at("add-turn").addEventListener("click", () => addTurn(at("turns"), changed).focus());
for (const id of ["text", "other", "position"]) at(id).addEventListener("input", changed);
at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  at("form").requestSubmit();
});
// a page that goes leaves no work behind that nobody will see
addEventListener("pagehide", () => cancel({ keepalive: true }).catch(() => {}));
start();
