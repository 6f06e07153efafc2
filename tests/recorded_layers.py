"""Layers of the tested families, recorded and ready to be replayed."""

from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from architectures import ARCHITECTURES, Architecture, example, shared
from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.attention import attention_weights
from ligflow.routes.workspace import Selection

SIZES = ((1, 0), (2, 0), (9, 0), (9, 3))


CASES = [
    (name, tokens, padding)
    for name, architecture in ARCHITECTURES.items()
    for tokens, padding in (SIZES if architecture.inputs == "text" else ((9, 0),))
]


def recorded(
    architecture: Architecture, dtype: torch.dtype, tokens: int, padding: int
) -> Iterator[tuple[Explainer, Layer, Selection]]:
    explainer = shared(architecture, dtype)
    for layer in explainer.prepared.record(example(architecture, tokens, padding, dtype)):
        visible = torch.arange(len(layer.hidden) - padding)
        with prepared(layer.module, layer.implementation):
            yield explainer, layer, Selection(visible, visible)


def recorded_alone(name: str, tokens: int = 6) -> Generator[tuple[Layer, Selection]]:
    """The layers of a model on one text, in float64, each with its targets."""
    for _, layer, place in recorded(ARCHITECTURES[name], torch.float64, tokens, 0):
        yield layer, place


def shares(layer: Layer) -> tuple[Tensor, Tensor]:
    """Attention weights [head, target, source] and values [head, source, dim]."""
    seen = layer.capture(layer.hidden[None])
    p = attention_weights(seen.query, seen.key, seen.form).p[0]
    return p, seen.value[0].repeat_interleave(len(p) // seen.value.shape[1], dim=0)
