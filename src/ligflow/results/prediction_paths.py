"""The strongest ways that relevance takes through the heads, from the answer down to the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ligflow.errors import LigflowError
from ligflow.inputs.labels import trimmed
from ligflow.method.attention_parts import PARTS
from ligflow.results.prediction_data import PredictionData
from ligflow.results.strongest_paths import strongest


@dataclass(frozen=True)
class PathStep:
    """From `target` after a layer to `source` before it: through a head, or by what it carries itself."""

    layer: int
    head: int | None
    target: int
    source: int


@dataclass(frozen=True)
class RelevancePath:
    """One way from the answer down; `weight` is its share of the change of the score, `words` says it."""

    weight: float
    steps: tuple[PathStep, ...]
    words: str

    def __str__(self) -> str:
        return f"{100 * self.weight:+.1f}%  {self.words}"


def paths(prediction: PredictionData, count: int) -> list[RelevancePath]:
    """The `count` strongest ways through the layers whose edges are stored, fewer where there are no more.

    A way begins with a token's share of the change after the last of these layers; each layer then shares
    it out by `T[j, k] / Σ_k |T[j, k]|`, where `T[j, k]` is what all heads carry from k to j, and for
    `k = j` what the token carries itself besides. This is how relevance is spread, not a product of
    Jacobians.

    Raises LigflowError unless edges of layers that follow each other are stored.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise LigflowError(f"{count} paths were asked for; give a whole number from 1.")
    layers = layers_with_edges(prediction)
    steps = [_start(prediction, layers[-1])]
    steps += [normalize(carried(prediction, layer), p=1.0, dim=-1) for layer in reversed(layers)]
    best = strongest(steps, 0, count, fewer=True)
    return [_path(prediction, layers, path.nodes[1:], path.weight) for path in best]


def layers_with_edges(prediction: PredictionData) -> list[int]:
    """The layers whose edges are stored. Raises LigflowError where there are none, or some between lack."""
    layers = sorted(prediction.stored_edges)
    if not layers:
        raise LigflowError(
            "No edges are stored, and paths go along them: explain_prediction(..., edges=range(layers))."
        )
    if lacking := sorted({*range(layers[0], layers[-1])} - {*layers}):
        raise LigflowError(
            f"Edges are stored of layers {', '.join(map(str, layers))}, and a path needs those between: "
            f"explain_prediction(..., edges=range({layers[0]}, {layers[-1] + 1})); "
            f"layer {lacking[0]} lacks."
        )
    return layers


def after(prediction: PredictionData, layer: int) -> Float[Tensor, " token"]:
    """Relevance of the tokens after a layer."""
    return prediction.by_depth[prediction.cuts.index(f"layer {layer}") + 1].double()


def carried(prediction: PredictionData, layer: int) -> Float[Tensor, "target source"]:
    """`T[j, k]`: what reaches j after a layer from k before it, through all heads and by j itself."""
    return prediction.edges(layer).double().sum(0) + torch.diag(own(prediction, layer))


def parts_at(prediction: PredictionData, layer: int, head: int, target: int, source: int) -> dict[str, float]:
    """Value, key and query of one edge, by name; none where they are not stored."""
    if layer not in prediction.parts:
        return {}
    return dict(zip(PARTS, prediction.parts[layer][:, head, target, source].tolist(), strict=True))


def own(prediction: PredictionData, layer: int) -> Float[Tensor, " token"]:
    """What each token has after a layer and not from its heads: carried by itself, with its MLP."""
    every = [part[layer].sum(0) for part in (prediction.heads, prediction.cross_heads) if layer in part]
    return after(prediction, layer) - sum(every, torch.zeros((), device="cpu"))


def _start(prediction: PredictionData, layer: int) -> Float[Tensor, "token token"]:
    """The answer, as a row of shares of the change."""
    relevance = after(prediction, layer)
    step = relevance.new_zeros(len(relevance), len(relevance))
    step[0] = relevance / (prediction.change or 1.0)
    return step


def _path(
    prediction: PredictionData, layers: Sequence[int], nodes: Sequence[int], weight: float
) -> RelevancePath:
    pairs = pairwise(nodes)
    steps = tuple(
        PathStep(layer, _head(prediction, layer, *pair), *pair)
        for layer, pair in zip(reversed(layers), pairs, strict=True)
    )
    return RelevancePath(weight, steps, _words(prediction, steps))


def _head(prediction: PredictionData, layer: int, target: int, source: int) -> int | None:
    """The head that carries most; none where a token stays."""
    if target == source:
        return None
    return int(prediction.edges(layer)[:, target, source].abs().argmax())


def _words(prediction: PredictionData, steps: Sequence[PathStep]) -> str:
    """`‘is’ ← layer 20, head 3 ← ‘France’`; layers through which a token goes alone are left out.

    Where parts are stored, each head's are said: `head 3 (value +1.2, key +0.5, query +0.3)`.
    """

    def label(place: int) -> str:
        return f"‘{trimmed(prediction.tokens[place])}’"

    def split(step: PathStep) -> str:
        parts = parts_at(prediction, step.layer, step.head or 0, step.target, step.source)
        said = ", ".join(f"{name} {value:+.2g}" for name, value in parts.items())
        return f" ({said})" if said else ""

    moves = [step for step in steps if step.head is not None]
    through = [
        f" ← layer {step.layer}, head {step.head}{split(step)} ← {label(step.source)}" for step in moves
    ]
    return label(steps[0].target) + "".join(through)
