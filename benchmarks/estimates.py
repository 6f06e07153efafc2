"""What an estimate says beside what then happens: seconds and memory of ten settings.

    python benchmarks/estimates.py [--tiny]

Estimate and run are each in a fresh process, one after the other; loading is left out of both.
"""

import json
import subprocess
import sys
from typing import Any

import torch

import measure
from measure import Row, note, number, text

SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)
LONG = " ".join([SENTENCE] * 4)
PROMPT = "The capital of France is"
SETTINGS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("explain", "embedded:minilm", SENTENCE, {}),
    ("explain", "embedded:minilm", LONG, {}),
    ("explain", "embedded:minilm", SENTENCE, {"layer_baseline": "zero", "routes": "z2z"}),
    ("explain", "embedded:smollm2", SENTENCE, {}),
    ("explain", "embedded:smollm2", LONG, {"routes": "z2u"}),
    ("explain_prediction", "embedded:smollm2", PROMPT, {}),
    ("explain_prediction", "embedded:smollm2", SENTENCE, {"edges": "all"}),
    ("explain_prediction", "embedded:smollm2", LONG, {"edges": ()}),
    ("explain_prediction", "embedded:smollm2", LONG, {"cut": "layer", "edges": ()}),
    ("explain_prediction", "embedded:smollm2", LONG, {}),
)
TINY = (("explain", "embedded:minilm", SENTENCE, {"layers": [0]}),)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "tokens": number("tokens", "d"),
    "settings": text("settings"),
    "estimated, s": number("estimated", ".1f"),
    "took, s": number("took", ".1f"),
    "over": number("seconds_ratio", ".2f"),
    "estimated, GB": number("estimated_gb", ".2f"),
    "took, GB": number("took_gb", ".2f"),
    "over ": number("memory_ratio", ".2f"),
}
WORKER = """
import json, sys, warnings
from time import perf_counter
import torch
from ligflow import Explainer
from ligflow.devices.peak_memory import peak_memory
warnings.simplefilter("ignore")
call, model, text, settings, estimated, threads = json.loads(sys.argv[1])
torch.set_num_threads(threads)
explainer = Explainer.from_pretrained(model)
if estimated:
    estimate = getattr(explainer, {"explain": "estimate"}.get(call, "estimate_prediction"))(text, **settings)
    print(json.dumps([estimate.seconds + estimate.preparing, estimate.peak_bytes / 1e9, 0]))
else:
    with peak_memory(torch.device("cpu")) as peak:
        before = perf_counter()
        result = getattr(explainer, call)(text, **settings)
        seconds = perf_counter() - before
    print(json.dumps([seconds, peak.process / 1e9, len(result.tokens)]))
"""


def measured(setting: tuple[str, str, str, dict[str, Any]], estimated: bool, threads: int) -> list[float]:
    """Seconds, GB and tokens, in a process of its own."""
    asked = json.dumps([*setting, estimated, threads])
    command = [sys.executable, "-c", WORKER, asked]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    values: list[float] = json.loads(lines[-1])
    return values


def main(tiny: measure.Tiny = False, threads: measure.Threads = None, out: measure.Out = None) -> None:
    """Hold estimates against what then happens."""
    device, rows = measure.place("cpu", threads), list[Row]()
    for setting in TINY if tiny else SETTINGS:
        call, model, _, settings = setting
        said = measured(setting, True, torch.get_num_threads())
        did = measured(setting, False, torch.get_num_threads())
        rows.append(
            {
                "what": f"{call}, {model.removeprefix('embedded:')}", "tokens": int(did[2]),
                "settings": ", ".join(f"{name}={value!r}" for name, value in settings.items()),
                "estimated": said[0], "took": did[0], "seconds_ratio": said[0] / did[0],
                "estimated_gb": said[1], "took_gb": did[1], "memory_ratio": said[1] / did[1],
            }
        )  # fmt: skip
        note(f"{rows[-1]['what']}: {said[0]:.1f} s estimated, {did[0]:.1f} s taken")
    caption = "Each in a process of its own, without loading. Memory is the most that the process held."
    measure.report("estimates", out, measure.machine(device), {"tiny": tiny}, rows, COLUMNS, caption)


if __name__ == "__main__":
    measure.run(main)
