"""One example, ready to be explained: its tokens, the rows asked about, and the model's layers on it."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ligflow.errors import LigflowError
from ligflow.explainer.example import Example, Results
from ligflow.explainer.placement import Done, Placement
from ligflow.layer.layer import Layer
from ligflow.routes.attribution import Attribution, on_cpu
from ligflow.routes.explain_layer import explain_together
from ligflow.routes.workspace import Selection as LayerTokens
from ligflow.settings import Settings


def compute(
    places: Placement,
    examples: Sequence[Example],
    settings: Sequence[Settings],
    done: Done | None = None,
) -> list[list[Results]]:
    """For each of the settings, for each example, the attributions of every layer.

    Examples whose layers allow it go through each layer together; the others one by one.
    """

    def of_layer(index: int) -> list[Results]:
        return _of_layer(examples, settings, index)

    by_layer = places.compute(examples[0].layers, of_layer, done)
    return [
        [[of_layer[asked][n] for of_layer in by_layer] for n in range(len(examples))]
        for asked in range(len(settings))
    ]


def _of_layer(examples: Sequence[Example], settings: Sequence[Settings], index: int) -> list[Results]:
    """For each of the settings, for each example, every route of one layer."""
    found: list[Results] = [[] for _ in settings]
    layers = [example.layers[index] for example in examples]
    one_call = all(layer.findings.closed_form is not None and layer.findings.positionwise for layer in layers)
    groups = [range(len(examples))] if one_call else [range(n, n + 1) for n in range(len(examples))]
    for group in groups:
        some = [examples[n] for n in group]
        results = explain_together([e.layers[index] for e in some], settings, [e.place for e in some])
        for asked, of_asked in zip(found, results, strict=True):
            for example, routes in zip(some, of_asked, strict=True):
                asked.append(_visible(example.layers[index], routes, example.place))
    return found


def _visible(layer: Layer, found: dict[str, Attribution], place: LayerTokens) -> dict[str, Attribution]:
    """Sources without padding; where they are heads, all of them. On the CPU, to make room."""
    place, tokens = place.on(layer.hidden.device), len(layer.hidden)
    for route, one in found.items():
        if not torch.isfinite(one.value).all() or not torch.isfinite(one.total).all():
            raise LigflowError(
                f"Layer {layer.index}, {route}: the model gives NaN or infinite values on the path from "
                "its baseline; choose another baseline, or check the weights."
            )
    return {
        route: on_cpu(
            one if route == "u2z" else replace(one, value=one.value[..., place.sources(route, tokens)])
        )
        for route, one in found.items()
    }
