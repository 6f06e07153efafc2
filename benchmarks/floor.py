"""The achieved fraction of the floor: what a layer's route takes, over what its unavoidable products take.

    python benchmarks/floor.py [--device cuda]

At every path point each target must pass the weights after attention once forward and once backward:

    floor = T x (mean points of a target) x 4 x weights / (measured rate of a float32 product)

with `weights = D^2 + 2 D D_ff` for z2z (3 D D_ff where the MLP is gated), and the MLP alone for u2z, whose
output projection is linear along the path. Product and route are timed in turns.
"""

from functools import partial

import torch

import measure
import one_layer
import subjects
from ligflow import Explainer, LigflowError
from measure import Row, note, number, text
from one_layer import OneLayer
from subjects import Shape

BASELINES = {"z2z": ("itb", "zero"), "u2z": ("att_itb_a0", "zero")}
EQUAL = "gauss-legendre:8"
GEMMA = "embedded:gemma-3-270m"
TEXTS = (" ".join(subjects.SENTENCE.split()[:16]), subjects.SENTENCE)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "T": number("tokens", "d"),
    "route": text("route"),
    "baseline": text("baseline"),
    "mean points": number("nodes", ".1f"),
    "seconds": number("seconds"),
    "floor s": number("floor_seconds"),
    "Gflop/s": number("gigaflops", ".0f"),
    "fraction": number("fraction", ".2f"),
    "itb / zero": number("itb_over_zero", ".2f"),
    "call / routes": number("over_routes", ".2f"),
}


def main(
    device: measure.Device = "cpu",
    threads: measure.Threads = None,
    repeats: measure.Repeats = 5,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Measure the fraction of the floor on four shapes, and itb against zero on a pre-norm decoder."""
    where = measure.place(device, threads)
    rows = []
    for name, tokens in (("bert-base", 64), ("minilm", 46), ("gpt2", 64), ("llama-like", 64)):
        alone, shape = subject(name, 5 if tiny else tokens, where, tiny)
        for route, baselines in BASELINES.items():
            for baseline in baselines:
                note(f"{name}, {route}, {baseline} ...")
                rows.append({"what": name, **fraction(alone, shape, route, baseline, repeats)})
    rows += equal_points(where, repeats, tiny)
    rows += [whole_call(where, text, repeats) for text in (TEXTS[:1] if tiny else TEXTS)]
    settings = {"quadrature": "adaptive", "tol": 1e-3, "repeats": repeats, "tiny": tiny}
    caption = (
        f"itb / zero: seconds at equal points, {EQUAL}; call / routes: seconds of `explain` over its routes."
    )
    measure.report("floor", out, measure.machine(where), settings, rows, COLUMNS, caption)


def subject(name: str, tokens: int, device: torch.device, tiny: bool = False) -> tuple[OneLayer, Shape]:
    """The first layer of a shape with random weights; MiniLM is the real one."""
    if name == "minilm" and not tiny:
        explainer, shape = subjects.minilm(device)
        return one_layer.record(explainer, subjects.SENTENCE, 0), shape
    shape = subjects.shape(name, tiny)
    return one_layer.record(subjects.build(shape, device), subjects.inputs(tokens), 0), shape


def fraction(alone: OneLayer, shape: Shape, route: str, baseline: str, repeats: int) -> Row:
    """Seconds of the route alone, its floor, and their ratio."""
    device, tokens = alone.layer.hidden.device, len(alone.tokens)
    product, flops = measure.matmul(device, shape.dim, shape.mlp_dim)
    counted = []

    def run() -> None:
        counted.append(alone.attribute(route, baseline).nodes)

    one, seconds = measure.medians([product, run], device, repeats)
    nodes = float(counted[0].float().mean())
    weights = shape.mlp() if route == "u2z" else shape.after_attention()
    floor = tokens * nodes * 4 * weights / (flops / one)
    found = {"tokens": tokens, "route": route, "baseline": baseline, "nodes": nodes, "seconds": seconds}
    return found | {"floor_seconds": floor, "gigaflops": flops / one / 1e9, "fraction": floor / seconds}


def equal_points(device: torch.device, repeats: int, tiny: bool) -> list[Row]:
    """What the baseline that differs from target to target costs, on a pre-norm decoder."""
    try:
        explainer, example = _decoder(device, tiny)
    except LigflowError as error:
        note(f"left out: {error}")
        return []
    rows = []
    for index, layer in enumerate(explainer.prepared.record(example)[: 1 if tiny else 2]):
        note(f"Gemma, layer {index} ...")
        alone = OneLayer(explainer, layer)
        runs = [partial(alone.attribute, "z2z", baseline, EQUAL) for baseline in ("itb", "zero")]
        itb, zero = measure.medians(runs, device, repeats)
        row = {"what": f"Gemma-3-270M, layer {index}", "tokens": len(alone.tokens), "route": "z2z"}
        rows.append(row | {"baseline": "itb", "nodes": 8.0, "seconds": itb, "itb_over_zero": itb / zero})
    return rows


def whole_call(device: torch.device, text: str, repeats: int) -> Row:
    """A whole `explain` over the work of its three routes in all layers, on MiniLM."""
    explainer, _ = subjects.minilm(device)
    layers = [OneLayer(explainer, layer) for layer in explainer.prepared.record(text)]

    def routes() -> None:
        for layer in layers:
            layer.every_route()

    whole, alone = measure.medians([lambda: explainer.explain(text), routes], device, repeats)
    row = {"what": "MiniLM, `explain`", "tokens": len(layers[0].tokens), "seconds": whole}
    return row | {"routes_seconds": alone, "over_routes": whole / alone}


def _decoder(device: torch.device, tiny: bool) -> tuple[Explainer, dict[str, torch.Tensor]]:
    """Gemma-3-270M on 64 tokens of text."""
    if tiny:
        return subjects.build(subjects.shape("llama-like", tiny), device), subjects.inputs(5)
    explainer = Explainer.from_pretrained(GEMMA, device=device)
    ids = explainer.tokenizer(f"{subjects.SENTENCE} {subjects.SENTENCE}")["input_ids"]
    return explainer, {"input_ids": torch.tensor([ids[:64]])}


if __name__ == "__main__":
    measure.run(main)
