"""A decoder's second attention by value and key of the encoder's tokens, beside what the layer captures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoder_decoders import explainer_of, inputs_of
from ligflow import Flow, LigflowError
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.results.joint_sources import over_both

POINTS = 48


def _layer(name: str) -> Layer:
    """The first layer of a decoder, with its memory."""
    return explainer_of(name, torch.float64).prepared.record(inputs_of(name, 5, 0, torch.float64))[0]


def _by_hand(layer: Layer, width: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Value and centred key parts of `|u(a) - u(0)|`, `[head, target, memory]`."""
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(POINTS))
    step = layer.encoded
    around = torch.cat([torch.zeros(1), (nodes + 1) / 2, (nodes + 1) / 2 - width, (nodes + 1) / 2 + width])
    with torch.no_grad(), prepared(layer.module, layer.implementation):
        captured = layer.capture_second(around.double()[:, None, None] * step)
    bias = 0.0 if captured.form.bias is None else captured.form.bias[:1]
    queries = captured.query[:1]

    def weigh(key: Tensor) -> Tensor:
        return (captured.form.scaling * queries @ key.mT + bias).softmax(-1)

    first, at, low, high = _pieces(captured.key)
    value_first, value, value_low, value_high = _pieces(captured.value)
    u0, p = weigh(first) @ value_first, weigh(at)
    u = p @ value
    pull = torch.nn.functional.normalize(u - u0, dim=-1)
    read = p * (pull @ (value_high - value_low).mT) / (2 * width)
    change = (weigh(high) - weigh(low)) / (2 * width)  # of the weights, by all keys: no shift is in it
    worth = pull @ value.mT
    found = (worth - (p * worth).sum(-1, keepdim=True)) * change
    return tuple((part * weights[:, None, None, None] / 2).sum(0) for part in (read, found))


def _pieces(stacked: Tensor) -> tuple[Tensor, ...]:
    return stacked.split([1, POINTS, POINTS, POINTS])


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_second_attention_has_its_parts(name: str) -> None:
    inputs, explainer = inputs_of(name, 5, 0, torch.float64), explainer_of(name, torch.float64)
    flow = explainer.explain(inputs, "z2u", layers=0, parts=True, encoder_baseline="zero", tol=1e-6)
    read, found = _by_hand(_layer(name))
    scale = flow.total("e2u").abs().max()
    assert (flow.cross_parts.value[0] - read).abs().max() < 1e-5 * scale
    assert (flow.cross_parts.key[0] - found).abs().max() < 1e-5 * scale
    assert min(float(read.abs().max()), float(found.abs().max())) > 0.01 * scale
    assert not flow.cross_parts.query.any()


def test_parts_of_both_attentions_are_saved_joined_and_hold_no_padding(tmp_path: Path) -> None:
    inputs = inputs_of("bart", 4, 2, torch.float32)
    flow = explainer_of("bart").explain(inputs, "z2u", parts=True)
    again = Flow.load(flow.save(tmp_path / "both.safetensors"))
    for name, part in vars(flow.cross_parts).items():
        assert torch.equal(part, getattr(again.cross_parts, name))
        assert part.shape[-1] == len(flow.memory) == 5
    sums = sum(part.sum(-1) for part in vars(flow.cross_parts).values())
    torch.testing.assert_close(sums, flow.e2u.sum(-1))
    sums = sum(part.sum(-1) for part in vars(flow.parts).values())
    torch.testing.assert_close(sums, flow.z2u.sum(-1))
    both = over_both(flow)
    assert torch.equal(both.parts.key[:, flow.heads :, :, 4:], flow.cross_parts.key)
    assert not both.parts.key[:, : flow.heads, :, 4:].any()
    frame = flow.to_pandas()
    rows = frame[(frame.route == "z2u_key") & (frame["head"] == flow.heads + 1) & (frame.target == 3)]
    assert rows[rows.source == 6].value.iloc[0] == float(flow.cross_parts.key[0, 1, 3, 2])


def test_a_flow_without_a_second_attention_says_so() -> None:
    flow = explainer_of("bart").explain(inputs_of("bart", 3, 0, torch.float32), "z2u", layers=0)
    with pytest.raises(LigflowError, match=r"no parts of e2u.*parts=True"):
        flow.cross_parts.key.sum()
