"""Runs the published package in its own environment: published_worker.py JOB.json RESULT.json.

`lig.explain` is called as its users call it, except that loading the model is not timed.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lig import explain
from lig.adapters.encoder import EncoderAdapter
from utils.calculations.ig.attention.attention_models import AttentionModel

ITB = "self_input_token"
SHORT = "A short text."


def main(job: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(job["threads"])
    adapter = EncoderAdapter.from_pretrained(job["model"], device="cpu")
    EncoderAdapter.from_pretrained = classmethod(lambda *_args, **_kwargs: adapter)
    run = z2z if job["route"] == "z2z" else z2u
    return {"torch": torch.__version__, **run(job, adapter)}


def call(job: dict[str, Any], text: str, granularity: str, **more: Any) -> tuple[float, dict[str, Any]]:
    """Seconds, and the layer's part of the result."""
    settings = {"model": job["model"], "device": "cpu", "layers": [job["layer"]], "granularity": granularity}
    begin = time.perf_counter()
    result = explain(text, baseline_layer=ITB, baseline_att=ITB, **settings, **more)
    return time.perf_counter() - begin, result["layers"][str(job["layer"])]


def z2z(job: dict[str, Any], _adapter: Any) -> dict[str, Any]:
    call(job, SHORT, "layer")
    runs = [call(job, job["text"], "layer") for _ in range(job["repeats"])]
    matrix = np.array(runs[0][1]["z2z"]["matrix"])  # source, target
    return {"seconds": [seconds for seconds, _ in runs], "sums": matrix.sum(0)[:, None].tolist()}


def z2u(job: dict[str, Any], adapter: Any) -> dict[str, Any]:
    """Target by target: the first ones compile."""
    seconds, sums = [], []
    for target in job["targets"]:
        spent, layer = call(job, job["text"], "att", target_tokens=[target])
        heads = layer["targets"][str(target)]["z2u"]["heads"].values()
        seconds.append(spent)
        sums.append([sum(head["contributions"]) for head in heads])
    return {"seconds": seconds, "sums": sums, "own_totals": own_totals(job, adapter)}


def own_totals(job: dict[str, Any], adapter: Any) -> list[list[float]]:
    """How far the function that the package integrates for z2u moves, by its own code."""
    inputs = adapter.tokenize(job["text"])
    z = adapter.forward_hidden_states(inputs)[job["layer"]]
    mask, types = inputs["attention_mask"], torch.zeros_like(inputs["input_ids"])
    totals = []
    for target in job["targets"]:
        start = z[:, target : target + 1].expand_as(z)
        row = []
        for head in range(adapter.num_attention_heads):
            function = AttentionModel(adapter.model, job["layer"], target, head)
            with torch.no_grad():
                first, last = (function._compute_attention_output_vector(x, mask, types) for x in (start, z))
            row.append(float((last - first).norm()))
        totals.append(row)
    return totals


if __name__ == "__main__":
    job_path, result_path = map(Path, sys.argv[1:])
    result_path.write_text(json.dumps(main(json.loads(job_path.read_text()))))
