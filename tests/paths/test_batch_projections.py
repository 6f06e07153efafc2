"""Projections of several sentences in closed form, filled up to one length, against plain capture."""

from collections.abc import Iterator

import pytest
import torch

from architectures import ARCHITECTURES, example, shared
from ligflow import LigflowError
from ligflow.layer.interface import Captured
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.attention import ScoreTerms
from ligflow.paths.batch import together
from ligflow.paths.batch_projections import _scaling, project, turned_keys


def two_sentences(name: str) -> Iterator[list[Layer]]:
    explainer = shared(ARCHITECTURES[name], torch.float64)
    layers = [explainer.prepared.record(example(ARCHITECTURES[name], length))[0] for length in (3, 5)]
    with prepared(layers[0].module, layers[0].implementation):
        yield layers


@pytest.mark.parametrize("name", ["bert", "llama", "gemma3_text"])
def test_projections_are_those_that_reach_attention(name: str) -> None:
    """`X = O + N / |ψ|` of each token, and a bias that blocks what fills up the shorter sentence."""
    for layers in two_sentences(name):
        batch = together(layers)
        projected = project(batch, batch.z[None])
        blocked = projected.form.bias
        assert blocked is not None
        for number, layer in enumerate(layers):
            tokens = len(layer.hidden)
            captured = layer.capture(layer.hidden[None])
            torch.testing.assert_close(projected.query[number, :, :tokens], captured.query[0])
            for part in ("key", "value"):
                form = projected.norm_affine[part]
                value = form.numerator
                if form.feature is not None:
                    value = value / form.feature.norm(dim=-1, keepdim=True)
                if form.offset is not None:
                    value = (
                        value + form.offset[:, None] if form.offset.ndim < value.ndim else value + form.offset
                    )
                own = value[number, 0][:, :tokens]
                torch.testing.assert_close(own, getattr(captured, part)[0])
            assert (blocked[number, :, :, tokens:] == torch.finfo(torch.float64).min).all()


def test_a_key_is_turned_to_any_position() -> None:
    """`cos_k base_j + sin_k other_j` is the key of token j put at position k, as the model makes it."""
    for layers in two_sentences("llama"):
        batch = together(layers)
        keys = project(batch, batch.z[None]).norm_affine["key"]
        assert keys.feature is not None  # behind a norm, so that a key is its numerator over it
        numerator = keys.numerator[:, 0]
        turned = turned_keys(batch, numerator)
        assert turned is not None
        (_, layer), token = layers, 3
        copies = layer.hidden[token].expand(1, len(layer.hidden), -1)
        expected = layer.capture(copies).key[0] * keys.feature[1, 0, :, token].norm(dim=-1)[:, None, None]
        ours = (
            turned.cos[1] * turned.base[1, :, token, None] + turned.sin[1] * turned.other[1, :, token, None]
        )
        torch.testing.assert_close(ours, expected)


def test_keys_that_know_no_positions_are_not_turned() -> None:
    for layers in two_sentences("bert"):
        batch = together(layers)
        keys = project(batch, batch.z[None]).norm_affine["key"].numerator[:, 0]
        assert turned_keys(batch, keys) is None


def test_sentences_with_scores_of_different_scales_are_not_taken_together() -> None:
    def scaled(scaling: float, keys: int = 2) -> Captured:
        key = torch.zeros(1, 1, keys, 4)
        return Captured(key, key, key, ScoreTerms(scaling))

    assert _scaling([scaled(0.5), scaled(0.5), scaled(0.3, keys=1)]) == 0.5
    with pytest.raises(LigflowError, match=r"by 0\.25 to 0\.5; explain them one at a time"):
        _scaling([scaled(0.5), scaled(0.25)])
