"""Layers of four families of different build, recorded in float64."""

from collections.abc import Iterator

import torch

from architectures import ARCHITECTURES, example, shared
from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.routes.workspace import Selection

FAMILIES = ("bert", "llama", "gemma2", "gpt_neox")


def layer_of(name: str, dtype: torch.dtype = torch.float64) -> Iterator[tuple[Explainer, Layer, Selection]]:
    explainer = shared(ARCHITECTURES[name], dtype)
    layer = explainer.prepared.record(example(ARCHITECTURES[name], 6, dtype=dtype))[1]
    visible = torch.arange(6)
    with prepared(layer.module):
        yield explainer, layer, Selection(visible, visible)
