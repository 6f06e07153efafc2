"""The projections of all sentences of a batch in closed form, filled up to one length."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ligflow.errors import LigflowError
from ligflow.layer.closed_form import norm_affine_projections
from ligflow.layer.interface import Captured
from ligflow.layer.layer import Layer
from ligflow.layer.rotary_probe import rotation_of
from ligflow.method.attention import ScoreTerms
from ligflow.method.norm_affine import NormAffine
from ligflow.method.rotary import Rotation
from ligflow.paths.batch import LayerBatch

_ALIKE = 1e-5  # of a scale, between sentences


@dataclass(frozen=True, eq=False)
class Projected:
    """Query, key and value at n vectors a token in closed form; the queries of the last of them; the form.

    The bias of the form blocks what fills up a short sentence.
    """

    norm_affine: dict[str, NormAffine]
    query: Float[Tensor, "sentence head token dim"]
    form: ScoreTerms


@dataclass(frozen=True, eq=False)
class Turned:
    """What position k makes of the key of token j: `cos_k base_j + sin_k other_j`."""

    base: Float[Tensor, "sentence group token dim"]
    other: Float[Tensor, "sentence group token dim"]
    cos: Float[Tensor, "sentence token dim"]
    sin: Float[Tensor, "sentence token dim"]


def project(batch: LayerBatch, vectors: Float[Tensor, "n row dim"]) -> Projected:
    """Query, key and value of every token as `X(a) = O + N(a) / |psi(a)|`, by one capture a sentence.

    The real vectors are the last. Raises LigflowError for sentences whose scores the layer scales apart.
    """
    by_sentence = []
    for layer, own in zip(batch.layers, vectors.split(batch.tokens, dim=1), strict=True):
        assert layer.findings.closed_form is not None
        by_sentence.append(
            norm_affine_projections(layer, layer.findings.closed_form, own[:, : len(layer.hidden)])
        )
    last = len(vectors) - 1
    dtype, tokens = vectors.dtype, batch.tokens
    return Projected(
        {
            part: _together([forms[part] for _, forms in by_sentence], tokens, dtype)
            for part in by_sentence[0][1]
        },
        _stacked([captured.query[last] for captured, _ in by_sentence], tokens, dtype),
        _form([captured for captured, _ in by_sentence], tokens, dtype),
    )


def turned_keys(batch: LayerBatch, keys: Float[Tensor, "sentence group token dim"]) -> Turned | None:
    """Keys taken back to position 0, `R_k^-1 K_k`, and the turns R; None where positions leave keys alone."""
    turns = [_turn(layer) for layer in batch.layers]
    if all(turn is None for turn in turns):
        return None
    parts = []
    for layer, turn, key in zip(batch.layers, turns, keys, strict=True):
        own = key[:, : len(layer.hidden)]
        ones = torch.ones_like(own[0])
        turn = turn or Rotation(ones, torch.zeros_like(ones), torch.arange(own.shape[-1], device=own.device))
        turn = Rotation(turn.cos.to(own), turn.sin.to(own), turn.partner)
        base = turn.back(own)
        parts.append((base, base[..., turn.partner], turn.cos, turn.sin))
    return Turned(*(_stacked(part, batch.tokens, keys.dtype) for part in zip(*parts, strict=True)))


def _turn(layer: Layer) -> Rotation | None:
    assert layer.findings.closed_form is not None
    return rotation_of(layer, layer.findings.closed_form)


def _together(parts: Sequence[NormAffine], tokens: int, dtype: torch.dtype) -> NormAffine:
    """Tokens that fill up have the number 0 and a feature that is not."""
    numerator = _stacked([part.numerator for part in parts], tokens, dtype)
    features = [part.feature for part in parts if part.feature is not None]
    offsets = [part.offset for part in parts if part.offset is not None]
    return NormAffine(
        numerator,
        _stacked(features, tokens, dtype, 1.0) if features else None,
        _stacked(offsets, tokens, dtype) if offsets else None,
    )


def _stacked(parts: Sequence[Tensor], tokens: int, dtype: torch.dtype, fill: float = 0.0) -> Tensor:
    return torch.stack([pad(part, (0, 0, 0, tokens - part.shape[-2]), value=fill) for part in parts]).to(
        dtype
    )


def _form(by_sentence: Sequence[Captured], tokens: int, dtype: torch.dtype) -> ScoreTerms:
    first = by_sentence[0].form
    sink = None if first.sink is None else first.sink.to(dtype)
    lengths = {captured.query.shape[2] for captured in by_sentence}
    if len(lengths) == 1 and all(captured.form.bias is None for captured in by_sentence):
        return ScoreTerms(_scaling(by_sentence), None, first.softcap, sink)
    bias = torch.stack([_bias(captured, tokens, dtype) for captured in by_sentence])
    return ScoreTerms(_scaling(by_sentence), bias, first.softcap, sink)


def _scaling(by_sentence: Sequence[Captured]) -> float:
    """The scale that all sentences share; that of a sentence with one key says nothing."""
    known = [captured.form.scaling for captured in by_sentence if captured.key.shape[2] > 1]
    known = known or [by_sentence[0].form.scaling]
    if max(known) - min(known) > _ALIKE * max(map(abs, known)):
        raise LigflowError(
            f"The layer scales the scores of these sentences by {min(known):.4g} to {max(known):.4g}; "
            "explain them one at a time."
        )
    return known[0]


def _bias(captured: Captured, tokens: int, dtype: torch.dtype) -> Float[Tensor, "head token token"]:
    own = captured.query.shape[2]
    if captured.form.bias is None:
        bias = captured.query.new_zeros(1, own, own)
    else:
        bias = captured.form.bias[0].expand(-1, own, own)
    # what the model blocks stays blocked in a wider type
    bias = torch.where(bias <= torch.finfo(bias.dtype).min / 2, torch.finfo(dtype).min, bias.to(dtype))
    more = tokens - own
    return pad(bias, (0, more, 0, more), value=torch.finfo(dtype).min)
