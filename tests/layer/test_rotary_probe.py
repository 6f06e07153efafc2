"""What positions do to keys is found by probing: the rotation that the model's own code computes."""

from dataclasses import replace

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.layer.projections import ClosedForm
from ligflow.layer.rotary_probe import random_like, random_noise, rotation_of
from ligflow.method.rotary import Rotation
from ligflow.recording.record import record
from ligflow.recording.validation import validate


def layer_of(name: str) -> Layer:
    model = build(ARCHITECTURES[name], torch.float64)
    return validate(model, record(model, example(ARCHITECTURES[name], 5))[0])


def rotation(layer: Layer, known: bool = True) -> Rotation | None:
    form = layer.findings.closed_form
    assert form is not None
    with prepared(layer.module, layer.implementation):
        return rotation_of(layer, form if known else ClosedForm(form.forms, form.probed))


def test_it_is_that_of_the_models_own_tables() -> None:
    layer = layer_of("llama")
    found = rotation(layer, known=False)
    assert found is not None
    cos, sin = layer.arguments["position_embeddings"]
    half = cos.shape[-1] // 2
    torch.testing.assert_close(found.cos, cos[0], rtol=0, atol=1e-9)
    assert found.partner.tolist() == [*range(half, 2 * half), *range(half)]
    signs = torch.tensor([-1.0] * half + [1.0] * half, dtype=torch.float64)
    torch.testing.assert_close(found.sin, signs * sin[0], rtol=0, atol=1e-9)


def test_without_positions_in_the_keys_there_is_none() -> None:
    assert rotation(layer_of("gpt2")) is None


def test_it_is_kept_for_a_number_of_tokens_and_made_anew_for_other_tables() -> None:
    layer = layer_of("llama")
    first = rotation(layer)
    assert rotation(layer) is first
    cos, sin = layer.arguments["position_embeddings"]
    tables = {"position_embeddings": (cos.flip(1), sin.flip(1))}
    moved = replace(layer, arguments=layer.arguments | tables)
    second = rotation(moved)
    assert first is not None
    assert second is not None
    # from the first token's position, which is now the last one
    torch.testing.assert_close(second.cos, first.cos, rtol=0, atol=1e-9)
    torch.testing.assert_close(second.sin, -first.sin, rtol=0, atol=1e-9)


def test_probes_are_the_same_every_time_and_as_large_as_the_tokens() -> None:
    assert torch.equal(random_noise((2, 3), 4), random_noise((2, 3), 4))
    assert not torch.equal(random_noise((2, 3), 4), random_noise((2, 3), 5))
    hidden = torch.tensor([[1.0], [100.0]]).expand(2, 4000)
    assert random_like(hidden).square().mean(-1).sqrt().tolist() == pytest.approx([1, 100], rel=0.05)
