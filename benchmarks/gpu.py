"""What a GPU is for: a whole BERT-base, a corpus of newswire length, and a layer of the shape of Llama-8B.

    python benchmarks/gpu.py [--device cuda] [--sentences 1700]

All weights are random, made on the device. On a CPU it is run with --tiny, to see that it runs.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import typer

import floor
import measure
import subjects
from ligflow import Explainer
from measure import Row, note, number, text

# All that the 24 combinations of baselines need: two starts a route; the ratios are made from both.
PAIRS: tuple[Row, ...] = (
    {"att_baseline": "itb", "mlp_baseline": "att_itb_a0", "layer_baseline": "itb"},
    {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "zero"},
)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "sentences": number("sentences", "d"),
    "T": number("tokens", ".1f"),
    "seconds": number("seconds"),
    "sentences/s": number("rate", ".1f"),
    "peak MiB": number("peak", ".0f"),
    "mean points z2z": number("nodes", ".1f"),
    "fraction of the floor": number("fraction", ".2f"),
}


def main(
    device: measure.Device = "cuda",
    sentences: Annotated[int, typer.Option(help="Sentences of the corpus.")] = 1700,
    repeats: measure.Repeats = 5,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure on a GPU."""
    where = measure.place(device)
    if where.type == "cpu" and not tiny:
        raise SystemExit(
            "On a CPU this takes hours: give a GPU with --device, or --tiny to see that it runs."
        )
    rows = [
        one_sentence(where, repeats, tiny),
        corpus(where, 3 if tiny else sentences, tiny),
        large_layer(where, repeats, tiny),
    ]
    settings = {"quadrature": "adaptive", "tol": 1e-3, "repeats": repeats, "tiny": tiny}
    caption = "Fraction of the floor: see floor.py."
    measure.report("gpu", out, measure.machine(where), settings, rows, COLUMNS, caption)


def one_sentence(device: torch.device, repeats: int, tiny: bool) -> Row:
    note("BERT-base, one sentence ...")
    tokens, layers = (5, 2) if tiny else (41, 12)
    explainer, example = _bert(device, layers, tiny), subjects.inputs(tokens)
    measure.start_memory(device)
    nodes = float(explainer.explain(example).nodes("z2z").float().mean())
    (seconds,) = measure.medians([lambda: explainer.explain(example)], device, repeats)
    row = {
        "what": f"BERT-base, {layers} layers, three routes",
        "sentences": 1,
        "tokens": tokens,
        "nodes": nodes,
    }
    return row | {"seconds": seconds, "rate": 1 / seconds, "peak": measure.peak_memory(device)}


def corpus(device: torch.device, count: int, tiny: bool) -> Row:
    """Timed once, after a warm-up on its first sentences."""
    note(f"{count} sentences ...")
    layers = 2 if tiny else 12
    explainer, texts = _bert(device, layers, tiny), subjects.sentences(count)
    explain_all(explainer, texts[:8])
    measure.start_memory(device)
    tokens: list[int] = []
    seconds = measure.timed(lambda: tokens.extend(explain_all(explainer, texts)), device)
    what = f"BERT-base, {layers} layers, three routes, baselines of all 24 pairs"
    row = {"what": what, "sentences": count, "tokens": sum(tokens) / len(tokens), "seconds": seconds}
    together = hasattr(explainer, "explain_many")
    return row | {"rate": count / seconds, "together": together, "peak": measure.peak_memory(device)}


def explain_all(explainer: Explainer, texts: Sequence[str]) -> list[int]:
    """Every text from both starts, together where ligflow can; returns their tokens, keeps no flow."""
    lengths = []
    together = getattr(explainer, "explain_many", None)
    for baselines in PAIRS:
        one_by_one = (explainer.explain(example, **baselines) for example in texts)
        flows = one_by_one if together is None else together(list(texts), **baselines)
        lengths += [len(flow.tokens) for flow in flows]
    return lengths


def large_layer(device: torch.device, repeats: int, tiny: bool) -> Row:
    note("a layer of the shape of Llama-8B ...")
    alone, shape = floor.subject("llama-8b", 5 if tiny else 256, device, tiny)
    measure.start_memory(device)
    found = floor.fraction(alone, shape, "z2z", "itb", repeats)
    return {"what": "Llama-8B shape, one layer, z2z", **found, "peak": measure.peak_memory(device)}


def _bert(device: torch.device, layers: int, tiny: bool) -> Explainer:
    return subjects.build(subjects.shape("bert-base", tiny), device, layers)


if __name__ == "__main__":
    measure.run(main)
