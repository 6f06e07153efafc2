"""A recorded layer replayed: with its own attention it gives its own output, on a path its derivatives."""

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from ligflow.layer.interface import plain
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.record import record
from ligflow.recording.validation import validate


def layer_of(name: str, dtype: torch.dtype = torch.float64) -> Layer:
    model = build(ARCHITECTURES[name], dtype)
    return validate(model, record(model, example(ARCHITECTURES[name], 4))[-1])


@pytest.fixture(scope="module", params=["bert", "llama", "gpt2"])
def layer(request: pytest.FixtureRequest) -> Layer:
    return layer_of(request.param)


def test_its_own_attention_gives_its_own_output(layer: Layer) -> None:
    with prepared(layer.module, layer.implementation), torch.no_grad():
        hidden = layer.hidden[None]
        u = plain(layer.capture(hidden)).transpose(1, 2)
        torch.testing.assert_close(layer.attend(hidden), u, rtol=0, atol=0)
        for again in (layer.finish(hidden, u), layer.forward(hidden)):
            torch.testing.assert_close(again[0], layer.output, rtol=0, atol=1e-12)
        assert float((layer.finish(hidden, 0 * u)[0] - layer.output).abs().max()) > 1e-3


def test_examples_of_a_batch_stay_apart(layer: Layer) -> None:
    pair = torch.stack([layer.hidden, layer.hidden.flip(0)])
    with prepared(layer.module, layer.implementation), torch.no_grad():
        both, alone = layer.attend(pair), torch.cat([layer.attend(one[None]) for one in pair])
        torch.testing.assert_close(both, alone, rtol=0, atol=1e-13)


def test_one_example_at_a_time_gives_the_same(layer: Layer) -> None:
    pair, single = torch.stack([layer.hidden, 2 * layer.hidden]), layer.with_findings(one_by_one=True)
    with prepared(layer.module, layer.implementation), torch.no_grad():
        torch.testing.assert_close(single.forward(pair), layer.forward(pair), rtol=0, atol=1e-13)


def test_derivatives_along_a_path_are_differences(layer: Layer) -> None:
    step, small = layer.hidden.flip(0)[None], 1e-6
    hidden = layer.hidden[None]

    def query(at: float) -> Tensor:
        return layer.capture(hidden + at * step).query

    with prepared(layer.module, layer.implementation):
        path = layer.capture_path(hidden, step)
        with torch.no_grad():
            difference = (query(small) - query(-small)) / (2 * small)
            torch.testing.assert_close(path.at.query, query(0), rtol=0, atol=1e-13)
    torch.testing.assert_close(path.query_step, difference, rtol=1e-6, atol=1e-8)


def test_on_other_hidden_states_it_has_their_output(layer: Layer) -> None:
    with prepared(layer.module, layer.implementation):
        other = layer.on_input(layer.hidden.flip(0))
        torch.testing.assert_close(other.output, layer.forward(layer.hidden.flip(0)[None])[0])
    assert other.findings is layer.findings


def test_a_float64_copy_leaves_the_float32_layer_alone() -> None:
    layer = layer_of("llama", torch.float32)
    double = layer.in_double()
    assert {weight.dtype for weight in layer.module.parameters()} == {torch.float32}
    assert {weight.dtype for weight in double.module.parameters()} == {torch.float64}
    assert set(double.findings.projections) <= set(double.module.modules())
    with prepared(double.module, double.implementation), torch.no_grad():
        again = double.finish(double.hidden[None], double.attend(double.hidden[None]))[0]
    torch.testing.assert_close(again.float(), layer.output, rtol=1e-4, atol=1e-5)
