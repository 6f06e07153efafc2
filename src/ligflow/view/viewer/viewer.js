// The viewer in a page: what is chosen, drawn and pinned, and files to save. No dependencies: one offline file under a
// closed content security policy. An exported page, the notebook widget and the server all call `mount`.

import { make } from "./elements.js";
import { openFlow } from "./flow_file.js";
import { bytesOf, fromBase64, fromBytes } from "./safetensors.js";
import { screen } from "./screen.js";
import { printable } from "./wording.js";

/**
 * Shows flow files in an element. `files` are `{ name, bytes }` or `{ name, base64 }`. Options: `fragment` keeps the
 * state in the URL, `start` is the state to begin with, `onSelect` hears what is pinned, `chain` computes the file of a
 * flow that can be traced, or null. Returns `{ destroy, state, add }`.
 */
export function mount(root, files, { fragment = false, start = "", onSelect = () => {}, chain = null } = {}) {
  root.classList.add("ligflow");
  const message = make("div", { className: "message", role: "alert" });
  root.append(message);
  const say = (text) => {
    message.textContent = text;
    message.hidden = !text;
  };
  say("");
  if (!document.createElement("canvas").getContext?.("2d")) {
    say("This browser has no canvas, on which the maps are drawn. Open the page in a current browser.");
    return { destroy: () => root.replaceChildren(), state: () => null, add: () => {} };
  }
  const flows = [];
  const open = (file) => {
    try {
      flows.push(openFlow(file.bytes ? fromBytes(file.bytes) : fromBase64(file.base64), printable(file.name)));
      return true;
    } catch (error) {
      say(error.message);
      return false;
    }
  };
  const extend = async (computed) => {
    const file = await computed();
    if (file && open(file)) say("");
  };
  files.forEach(open);
  const app = screen(root, flows, { fragment, start, onSelect, chain: chain && (() => extend(chain)) });
  const add = (file) => {
    if (open(file)) {
      say("");
      app.added();
    }
  };
  const stop = acceptFiles(root, add, say);
  if (flows.length) app.start();
  return {
    add,
    state: app.state,
    destroy: () => {
      stop();
      app.destroy();
      root.replaceChildren();
    },
  };
}

/** Flow files that are dropped on the page are opened beside what is there. */
function acceptFiles(root, add, say) {
  const take = async (list) => {
    for (const file of list) {
      try {
        add({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
      } catch {
        say(`${printable(file.name)} cannot be read.`);
      }
    }
  };
  const over = (event) => event.preventDefault();
  const drop = (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  };
  root.addEventListener("dragover", over);
  root.addEventListener("drop", drop);
  root.takeFiles = take;
  return () => {
    root.removeEventListener("dragover", over);
    root.removeEventListener("drop", drop);
  };
}

// --- the notebook widget (anywidget) ------------------------------------------------------------

export default {
  render({ model, el }) {
    const names = model.get("names");
    const shown = mount(
      el,
      model.get("files").map((data, i) => ({ name: names[i], bytes: bytesOf(data) })),
      {
        start: model.get("view"),
        onSelect: (selection) => {
          model.set("selection", selection);
          model.save_changes();
        },
      },
    );
    return () => shown.destroy();
  },
};
