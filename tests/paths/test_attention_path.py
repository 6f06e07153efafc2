"""Attention along a path, in each of its three ways, against the model's own attention at the same points."""

import pytest
import torch
from torch import Tensor

from brute_force import by_differences
from families import FAMILIES, layer_of
from ligflow.layer.layer import Layer
from ligflow.method import from_names
from ligflow.method.baselines import Start
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.routes.path_map import with_own

ROWS, NODES = torch.tensor([1, 4]), torch.tensor([0.2, 0.6, 1.0], dtype=torch.float64)


def sources_at(layer: Layer, start: Start, node: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Every source at a point of a target's path, and its step."""
    first = start.vectors[target].expand_as(layer.hidden) if start.per_target else start.vectors
    step = layer.hidden - first
    return first + node * step, step


@pytest.mark.parametrize("closed", [True, False], ids=["closed form", "captured"])
@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_u_and_its_integrands_are_those_of_the_models_attention(
    name: str, baseline: str, closed: bool
) -> None:
    for _, layer, place in layer_of(name):
        start = from_names.layer_baseline(baseline).start(layer.hidden, place.visible)
        assert layer.findings.closed_form is not None
        path = attention_path(alone(layer if closed else layer.with_findings(closed_form=None)), start)
        attention = path.moving(NODES, ROWS)
        assert attention.u.shape[2] == path.heads
        torch.testing.assert_close(path.at(NODES, ROWS), attention.u)
        to_u = torch.randn(attention.u.shape, generator=torch.Generator().manual_seed(3)).double()
        sources, own = attention.source_integrands(to_u)
        integrands = with_own(sources, own, ROWS)
        for number, node in enumerate(NODES):
            for row, target in enumerate(ROWS):
                at, step = sources_at(layer, start, node, target)
                torch.testing.assert_close(attention.u[number, row], layer.attend(at[None])[0, target])
                expected = by_differences(
                    lambda copies, own=layer, g=to_u[number, row], j=target: (
                        own.attend(copies)[:, j] * g
                    ).sum(-1),
                    at,
                    step,
                )
                torch.testing.assert_close(integrands[number, row], expected, rtol=1e-5, atol=1e-7)


def test_the_way_follows_from_the_layer_and_the_start() -> None:
    """What a pair keeps tells them apart: no closed form, a start of each target's own, one for all."""
    for _, layer, place in layer_of("llama"):
        tokens, dim = layer.hidden.shape
        costs = {
            (baseline, closed): attention_path(
                alone(layer if closed else layer.with_findings(closed_form=None)),
                from_names.layer_baseline(baseline).start(layer.hidden, place.visible),
            ).cost
            for baseline in ("itb", "zero")
            for closed in (True, False)
        }
        heads = layer.attend(layer.hidden[None]).shape[2]
        assert costs["itb", False] == tokens * dim * 16 + 8 * tokens * heads
        assert costs["zero", False] == tokens * dim + 8 * tokens * heads
        assert costs["itb", True] == 12 * heads * tokens + 4 * dim
        assert costs["zero", True] == 10 * heads * tokens + 20 * dim
