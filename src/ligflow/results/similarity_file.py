"""Similarities on disk: one safetensors file with both sides and the pairs of tokens. Data, never code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from safetensors.torch import save_file
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.files import atomically
from ligflow.results.flow_header import SIMILARITY, Finite, Part, Text, needed, wrong_field
from ligflow.results.prediction_data import AnyPrediction, PredictionData
from ligflow.results.prediction_file import FORMAT, contents, labels_of, prediction_of, tensors_of

SIDES, PAIRS = ("text", "other"), ("pairs", "pairs_error")


@dataclass(frozen=True, eq=False)
class TokenPairs:
    """What a token of each text contribute together, its estimated error, and what all pairs sum to."""

    pairs: Float[Tensor, "text other"]
    error: Float[Tensor, "text other"]
    change: float


class SimilarityHeader(Part):
    """The labels of a similarity's file; those of its sides are checked by themselves."""

    format: Annotated[int, Field(ge=1)]
    value: Finite
    pooling: Text
    text: dict[Text, Any]
    other: dict[Text, Any]
    pairs_change: Finite | None = None

    @model_validator(mode="after")
    def _fits(self) -> "SimilarityHeader":
        needed(bool(self.text and self.other), "text and other", "be two predictions")
        return self


def save(
    path: str | Path,
    value: float,
    pooling: str,
    sides: tuple[PredictionData, PredictionData],
    pairs: TokenPairs | None,
) -> Path:
    """Writes a similarity under a temporary name in the same folder, then renames it."""
    tensors = {
        f"{name}/{own}": tensor
        for name, side in zip(SIDES, sides, strict=True)
        for own, tensor in tensors_of(side).items()
    }
    labels = {"format": FORMAT, "value": value, "pooling": pooling}
    labels |= {name: labels_of(side) for name, side in zip(SIDES, sides, strict=True)}
    if pairs is not None:
        both = zip(PAIRS, (pairs.pairs, pairs.error), strict=True)
        tensors |= {name: tensor.detach().cpu().clone().contiguous() for name, tensor in both}
        labels["pairs_change"] = pairs.change
    header = {SIMILARITY: json.dumps(labels, ensure_ascii=False)}
    return atomically(path, lambda scratch: save_file(tensors, scratch, header))


def load(
    path: str | Path, kind: type[AnyPrediction]
) -> tuple[float, str, tuple[AnyPrediction, AnyPrediction], TokenPairs | None]:
    """Reads a similarity: its value, pooling, both sides as predictions of class `kind`, and pairs.

    Raises LigflowError if the file is missing, truncated, foreign, of another kind, or from a newer format;
    it names the field or tensor that is wrong.
    """
    path = Path(path)
    labels, tensors = contents(path, SIMILARITY)
    if wrong := wrong_field(SimilarityHeader, labels):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}.")
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in SIDES}
    for name, tensor in tensors.items():
        side, slash, own = name.partition("/")
        if slash and side in parts:
            parts[side][own] = tensor
        elif name not in PAIRS:
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} is none of a similarity's.")
    first, second = (prediction_of(labels[name], parts[name], kind, path) for name in SIDES)
    pairs = _pairs(tensors, labels.get("pairs_change"), (len(first.tokens), len(second.tokens)), path)
    return float(labels["value"]), labels["pooling"], (first, second), pairs


def _pairs(
    tensors: Mapping[str, Tensor], change: float | None, shape: tuple[int, int], path: Path
) -> TokenPairs | None:
    held = [name for name in PAIRS if name in tensors]
    if change is None and not held:
        return None
    if change is None or len(held) < len(PAIRS):
        raise LigflowError(f"{str(path)!r} is damaged: pairs, pairs_error and pairs_change belong together.")
    for name in PAIRS:
        tensor = tensors[name]
        real = tensor.dtype in (torch.float32, torch.float64)
        if tensor.shape != shape or not real or not bool(torch.isfinite(tensor).all()):
            raise LigflowError(
                f"{str(path)!r} is damaged: tensor {name!r} should be {shape[0]} by {shape[1]} finite "
                "numbers."
            )
    return TokenPairs(tensors["pairs"], tensors["pairs_error"], float(change))
