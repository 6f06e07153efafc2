// What the server is asked: a request, and a job that it computes, with its progress.

const POLL = 250;
const UNREACHABLE = "The server does not answer; is ligflow serve still running?";
let current = null;
let stopped = false;

/** An answer of the server; raises an error that says its reason. */
export async function ask(method, path, body, more = {}) {
  let answer;
  try {
    answer = await fetch(path, { method, body: body && JSON.stringify(body), ...more });
  } catch {
    throw new Error(UNREACHABLE);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `The server answered ${answer.status}.`);
}

export function isBusy() {
  return current !== null;
}

/** The address of what a job made; null if it was cancelled. `tell` is called with each state of the job. */
export async function computed(path, request, tell) {
  if (isBusy()) throw new Error("The server is at work for this page already; wait for it, or cancel it.");
  current = "";
  stopped = false;
  try {
    let state = await (await ask("POST", path, request)).json();
    current = state.id;
    if (stopped) await cancel();
    while (state.state === "queued" || state.state === "running") {
      tell(state);
      await new Promise((go) => setTimeout(go, POLL));
      state = await (await ask("GET", `api/jobs/${state.id}`)).json();
    }
    if (state.error) throw new Error(state.error); // it failed, or was given up
    return state.state === "done" ? `api/jobs/${state.id}/result` : null;
  } finally {
    current = null;
  }
}

/** Ends the job at work, after the points of the path that it computes now. */
export async function cancel(more) {
  stopped = true; // a job that has no name yet is cancelled when it has one
  if (current) await ask("DELETE", `api/jobs/${current}`, null, more);
}

/** How far a job is, in words. */
export function inWords(state, steps) {
  if (state.state === "queued") return `Waiting: place ${state.place} in the queue.`;
  if (state.cancelling) return "Cancelling.";
  return state.of
    ? `${steps[0].toUpperCase()}${steps.slice(1)} ${state.done} of ${state.of} done.`
    : "Running the model.";
}
