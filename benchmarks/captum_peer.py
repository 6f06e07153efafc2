"""ligflow against plain integrated gradients with Captum: seconds and completeness errors, `itb`.

    python benchmarks/captum_peer.py [--layer 0] [--targets 8]

Captum is used as its API wants it, one scalar at a time: a target of z2z through the unmodified layer, a
target and head of z2u through its unmodified attention module. The path points of a scalar, by
Gauss-Legendre, go in batches of a tuned size.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import torch
import typer
from captum.attr import IntegratedGradients
from torch import Tensor

import measure
import one_layer
import subjects
from ligflow import Explainer
from measure import Row, note, number, spread, text
from one_layer import OneLayer

Function = Callable[[Tensor], Tensor]
COLUMNS: measure.Columns = {
    "what": text("what"),
    "points": number("points", "d"),
    "batch": number("batch", "d"),
    "Captum s": number("captum_seconds"),
    "ligflow s": number("ligflow_seconds"),
    "route alone s": number("ligflow_route_seconds"),
    "times faster": number("faster", ".1f"),
    "Captum error, median / max": spread("captum_error"),
    "ligflow error, median / max": spread("ligflow_error"),
}


def main(
    layer: Annotated[int, typer.Option(help="The layer of MiniLM.")] = 0,
    targets: Annotated[
        int | None, typer.Option(help="Targets given to Captum, the rest extrapolated; default: all.")
    ] = None,
    threads: measure.Threads = None,
    repeats: measure.Repeats = 3,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Compare with Captum, on the embedded MiniLM and one sentence."""
    device = measure.place("cpu", threads)
    explainer, example = _subject(device, tiny)
    alone = one_layer.record(explainer, example, layer)
    explainer.model.requires_grad_(False)
    count = len(alone.tokens)
    some = torch.linspace(0, count - 1, min(targets or count, count)).long().tolist()
    rows = []
    for route in ("z2z", "z2u"):
        ours = alone.measured(example, route, repeats)
        for points in (16, 32):
            note(f"Captum {route}, {points} points ...")
            rows.append(ours | by_captum(alone, route, points, some))
    for row in rows:
        row["faster"] = row["captum_seconds"] / row["ligflow_seconds"]
    settings = {"layer": layer, "tokens": count, "repeats": repeats, "targets": some, "tol": 1e-3}
    caption = "ligflow s: the whole explain call, the model's run and its checks included."
    measure.report("captum_peer", out, measure.machine(device), settings, rows, COLUMNS, caption)


def _subject(device: torch.device, tiny: bool) -> tuple[Explainer, str]:
    if tiny:
        return subjects.build(subjects.shape("minilm", tiny), device), subjects.sentences(1)[0]
    return subjects.minilm(device)[0], subjects.SENTENCE


def by_captum(alone: OneLayer, route: str, points: int, targets: Sequence[int]) -> Row:
    """The scalars of the targets one by one. Seconds: the median target's, times all targets."""
    device, scalars = alone.layer.hidden.device, 1 if route == "z2z" else _heads(alone)
    batch = tune(alone, route, points)
    sums = torch.zeros(len(targets), scalars)

    def run(row: int) -> None:
        for scalar in range(scalars):
            sums[row, scalar] = attribute(alone, route, targets[row], scalar, points, batch).sum()

    times = [measure.timed(partial(run, row), device) for row in range(len(targets))]
    seconds = statistics.median(times) * len(alone.tokens)
    totals, scales = alone.ends(route)
    error = measure.completeness(sums, totals[targets], scales[targets])
    what = route if len(targets) == len(totals) else f"{route} (extrapolated from {len(targets)} targets)"
    found = {"what": what, "route": route, "points": points, "batch": batch}
    return found | {"captum_seconds": seconds, "captum_error": error}


def tune(alone: OneLayer, route: str, points: int) -> int:
    """The fastest number of path points in a batch, on the first target."""
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size <= points]

    runs = [partial(attribute, alone, route, 0, 0, points, size) for size in sizes]
    times = measure.medians(runs, alone.layer.hidden.device, repeats=3)
    return sizes[times.index(min(times))]


def attribute(alone: OneLayer, route: str, target: int, scalar: int, points: int, batch: int) -> Tensor:
    """The target's integrated gradients by Captum, one number a source."""
    function = image(alone, route, target, scalar)
    inputs = alone.layer.hidden[None]
    baseline = inputs[:, target : target + 1].expand_as(inputs)
    with torch.no_grad():
        first = function(baseline)
    moved = IntegratedGradients(lambda hidden: (function(hidden) - first).norm(dim=-1))
    found = moved.attribute(
        inputs, baseline, n_steps=points, method="gausslegendre", internal_batch_size=batch
    )
    return found[0].sum(-1).detach()


def image(alone: OneLayer, route: str, target: int, scalar: int) -> Function:
    """`z -> z'_j`, or `z -> u_j^h`, of a BERT layer."""
    if route == "z2z":
        return lambda hidden: alone.layer.forward(hidden)[:, target]
    module: Any = alone.layer.module
    attention, mask = module.attention.self, alone.layer.arguments.get("attention_mask")
    return lambda hidden: attention(hidden, mask)[0][:, target].unflatten(-1, (_heads(alone), -1))[:, scalar]


def _heads(alone: OneLayer) -> int:
    return int(alone.explainer.model.config.num_attention_heads)


if __name__ == "__main__":
    measure.run(main)
