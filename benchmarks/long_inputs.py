"""Long texts: CPU seconds and memory of a prediction and of a layer map of one target, on SmolLM2-135M.

    python benchmarks/long_inputs.py [--only map] [--lengths 512,1024] [--layers 2]

The text is the first T tokens of the shipped corpus, repeated where it ends. `why` explains the next token
with 3 points a segment (more take longer) and keeps no edges, as of such texts nobody
asked for; `map` is `z2z` of the last token in every layer. `--layers 2` takes the first two layers of the
model alone, with its head. Each length runs in a process of its own, after a short text that does not
count. `peak` is the largest resident set of the process, with the loaded model and all libraries, `added`
what the call adds to the process at rest. Slopes are those of `log` over `log T` since the length before.
What is written already is not run again.
"""

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import measure
from call_cost import measured
from chain_relevances import corpus
from ligflow import Explainer
from measure import Row, number, text

NAME = "long_inputs"
MODEL = "embedded:smollm2"
LENGTHS = "512,1024,2048,4096"
KINDS = ("map", "why")
LAYERS = 30
POINTS = 3
WARM = 16
COLUMNS: measure.Columns = {
    "what": text("what"),
    "layers": number("layers", ".0f"),
    "tokens": number("tokens", ".0f"),
    "CPU s": number("seconds", ".1f"),
    "peak, GB": number("peak_gb", ".2f"),
    "added, GB": number("added_gb", ".2f"),
    "slope of CPU s": number("slope_seconds", ".2f"),
    "slope of added": number("slope_added_gb", ".2f"),
}


def main(
    only: Annotated[str, typer.Option(help="map, why, or both with a comma between.")] = ",".join(KINDS),
    lengths: Annotated[str, typer.Option(help="Tokens, with commas between.")] = LENGTHS,
    layers: Annotated[int, typer.Option(help="So many of the model's first layers.")] = LAYERS,
    out: measure.Out = None,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Runs what is missing, each in its own process, and writes the table."""
    asked = [(kind, layers, int(length)) for kind in only.split(",") for length in lengths.split(",")]
    if unknown := {kind for kind, *_ in asked} - {*KINDS}:
        raise SystemExit(f"No such call: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}.")
    if worker:
        print(json.dumps(of_process(*asked[0])))
        return
    place, settings = measure.place("cpu", 1), {"model": MODEL, "points": POINTS, "edges": []}
    rows = {(row["what"], row["layers"], row["tokens"]): row for row in measure.rows_of(NAME, out, settings)}
    for key in asked:
        if key not in rows:
            kind, _, length = key
            options = ["--only", kind, "--lengths", str(length), "--layers", str(layers)]
            command = [sys.executable, str(Path(__file__)), "--worker", *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows[key] = json.loads(done.stdout.splitlines()[-1])
        caption = "Each in a process of its own; peak: all of the process; slopes: from the length before."
        shown = with_slopes([rows[key] for key in sorted(rows)])
        measure.report(NAME, out, measure.machine(place), settings, shown, COLUMNS, caption)


def of_process(kind: str, layers: int, length: int) -> Row:
    """The cost of one call in this process."""
    place, explainer = measure.place("cpu", 1), first_layers(layers)
    tokenizer: Any = explainer.tokenizer
    ids = tokenizer(" ".join(corpus()))["input_ids"]
    ids = (ids * math.ceil(length / len(ids)))[:length]
    ask(explainer, kind, ids[:WARM])
    _, seconds, added = measured(lambda: ask(explainer, kind, ids))
    return {
        "what": kind,
        "layers": layers,
        "tokens": length,
        "seconds": seconds,
        "peak_gb": measure.peak_memory(place) * 2**20 / 1e9,
        "added_gb": added * 2**20 / 1e9,
    }


def first_layers(count: int) -> Explainer:
    """The model, or what its first layers and its head are."""
    explainer = Explainer.from_pretrained(MODEL)
    if count == LAYERS:
        return explainer
    model: Any = explainer.whole.now().placement.model
    model.model.layers = model.model.layers[:count]
    model.config.num_hidden_layers = count
    return Explainer(model, explainer.tokenizer)


def ask(explainer: Explainer, kind: str, ids: list[int]) -> Any:
    """The call that is measured."""
    inputs = {"input_ids": torch.tensor([ids])}
    if kind == "map":
        return explainer.explain(inputs, routes=("z2z",), targets=[len(ids) - 1])
    return explainer.explain_prediction(inputs, points=POINTS, edges=())


def with_slopes(rows: list[Row]) -> list[Row]:
    """Each row with `Δ log y / Δ log T` since the length before of the same call."""
    for before, row in pairwise(rows):
        if (before["what"], before["layers"]) == (row["what"], row["layers"]):
            step = math.log(row["tokens"] / before["tokens"])
            for name in ("seconds", "added_gb"):
                row[f"slope_{name}"] = math.log(row[name] / before[name]) / step
    return rows


if __name__ == "__main__":
    measure.run(main)
