from functools import partial

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.layer.captured_path import CapturedPath
from ligflow.layer.interface import Captured
from ligflow.layer.model_state import prepared
from ligflow.method.attention import ScoreTerms
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.edges import edges_of
from ligflow.prediction.given_attention import given_on_path
from ligflow.prediction.graph import graph_of
from ligflow.prediction.kept_edges import kept_edges, layers_with_edges
from ligflow.prediction.nodes import nodes_of
from prediction.tiny import chained, gpt2, ids, llama, runs_of


@pytest.mark.parametrize("make", [llama, gpt2])
def test_edges_are_what_autograd_says_of_every_head_target_and_source(make) -> None:
    tokens = ids(5)
    built, result = chained(make(), tokens)
    call = built.calls[1]
    number = next(n for n, each in enumerate(built.graph.segments) if "u1" in each.images)
    variables = built.graph.variables
    hidden, heads = variables[call.hidden], variables["u1"]
    towards = result.at_images[number]["u1"][0]
    with prepared(call.layer.module, call.layer.implementation):
        given = partial(given_on_path, call, "u1", variables)
        edges = edges_of(given, towards, heads.step, 1e-12)
        split = edges_of(given, towards, heads.step, 1e-12, parts=True, points=31)
        wanted = _by_autograd(built.graph.segments[number].run, call.hidden, hidden, towards)
    whole = edges.sources + torch.diag_embed(edges.own)
    assert torch.allclose(whole, wanted, atol=1e-9 * float(wanted.abs().max()))
    assert torch.allclose(whole.sum(-1), (towards * heads.step).sum(-1).T, atol=1e-9)
    assert edges.parts is None
    assert split.parts is not None
    assert torch.allclose(split.parts.sum((0, -1)), whole.sum(-1), atol=1e-9)
    assert torch.allclose(split.sources, edges.sources, atol=1e-11)  # as without, at as many points or more


@pytest.mark.usefixtures("no_shape_checks")  # the test above has them
@pytest.mark.parametrize("parts", [False, True])
def test_edges_of_a_long_text_are_summed_in_blocks_of_targets(monkeypatch, parts: bool) -> None:
    """Levels are begun anew where their sums do not fit beside each other, and in as many panels."""
    built, result = chained(llama(), ids(7))
    number = next(n for n, each in enumerate(built.graph.segments) if "u1" in each.images)
    towards, variables = result.at_images[number]["u1"][0], built.graph.variables
    given = partial(given_on_path, built.calls[1], "u1", variables)

    def edges(allowance: float):
        with prepared(built.calls[1].layer.module, built.calls[1].layer.implementation):
            return edges_of(given, towards, variables["u1"].step, allowance, parts)

    allowances = (1e-3, 1e-6 if parts else 1e-9, 0.0)  # few points, those of the finest rule, all panels
    whole = [edges(allowance) for allowance in allowances]
    monkeypatch.setattr("ligflow.method.attention._BLOCK", 3 * 4 * 7 * 8 * 24)  # three targets
    monkeypatch.setattr("ligflow.prediction.edges._KEPT", 0)
    for one, other in zip(whole, [edges(allowance) for allowance in allowances], strict=True):
        assert one.points == other.points
        for ours, theirs in ((one.sources, other.sources), (one.own, other.own), (one.parts, other.parts)):
            assert (ours is None and theirs is None) or torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    assert [one.points for one in whole] == [7, 31, 496]


def test_parts_take_the_points_that_they_need() -> None:
    """Their sum is right with few points; by themselves they are not."""

    def at(node: Tensor) -> CapturedPath:
        a = node.reshape(1, 1, 1, 1)
        query, key = torch.cat([a * 0 + 1, 3 * a], -1), torch.tensor([[[[1.0, 0.5], [0.2, 2.0]]]]).double()
        value, still = torch.tensor([[[[1.0], [1.0]]]]).double(), torch.zeros(1, 1, 2, 2).double()
        step = torch.tensor([[[[0.0, 3.0]]]]).double()
        value_step = torch.tensor([[[[1.0], [-1.0]]]]).double()
        form = ScoreTerms(4.0)
        return CapturedPath(Captured(query, key, value + a * value_step, form), step, still, value_step)

    towards, nothing = torch.ones(1, 1, 1).double(), torch.zeros(1, 1, 1).double()
    fine = edges_of(at, towards, nothing, 0.0, parts=True, points=31)
    loose = edges_of(at, towards, fine.parts.sum((0, 3)).reshape(1, 1, 1), 1e-6, parts=True)
    assert loose.points > edges_of(at, towards, fine.parts.sum((0, 3)).reshape(1, 1, 1), 0.3).points
    assert (loose.parts.sum(-1) - fine.parts.sum(-1)).abs().max() < 1e-6


def _by_autograd(run, name: str, hidden, towards: Tensor) -> Float[Tensor, "head target source"]:
    """`m_u[j, h] . ∫ J_jk da Δz_k`, one gradient for every head and target at 64 Gauss-Legendre points."""
    nodes, weights = _gauss(64)
    values = hidden.at(nodes).requires_grad_()
    (u,) = run({name: values}).values()
    tokens, count = towards.shape[:2]
    edges = torch.zeros(count, tokens, tokens, dtype=torch.float64)
    for head in range(count):
        for target in range(tokens):
            scalar = (u[:, target, head] @ towards[target, head] * weights).sum()
            (grad,) = torch.autograd.grad(scalar, values, retain_graph=True)
            edges[head, target] = (grad.sum(0) * hidden.step).sum(-1)
    return edges


def _gauss(count: int) -> tuple[Tensor, Tensor]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def test_edges_are_kept_of_the_layers_of_the_strongest_heads() -> None:
    heads = {0: torch.tensor([[1.0, -1.0]]), 1: torch.tensor([[0.1, 0.0]]), 2: torch.tensor([[9.0, 0.0]])}
    assert layers_with_edges(heads, "strongest", 3) == (0, 1, 2)
    many = {layer: torch.full((1, 2), float(layer)) for layer in range(9)}
    assert layers_with_edges(many, "strongest", 9) == (6, 7, 8)  # of the five strongest heads at a token
    assert layers_with_edges(many, (-1, 0), 9) == (0, 6, 7, 8)  # and those that are named


def test_held_attention_has_edges_that_are_its_values_by_its_weights() -> None:
    runs, _ = runs_of(llama(), ids(5), attention=True)
    built = graph_of(runs)
    change = (built.scores[0] - built.scores[1]).double()
    result = chain(built.graph, change, Accuracy(points=31), runs.model)
    kept = kept_edges(built, result, 0, (0, 1), runs.held, parts=True)
    edges = kept.edges
    heads = nodes_of(built.graph, built.calls, result, 0).heads
    assert not kept.notes
    assert torch.equal(kept.parts[1], torch.stack([edges[1], *torch.zeros(2, *edges[1].shape).double()]))
    assert all(torch.allclose(edges[layer].sum(-1), heads[layer], atol=1e-9) for layer in (0, 1))
    number = next(n for n, each in enumerate(built.graph.segments) if "u1" in each.images)
    hidden, towards = built.graph.variables[built.calls[1].hidden], result.at_images[number]["u1"][0]
    with prepared(built.calls[1].layer.module, built.calls[1].layer.implementation):
        wanted = _by_autograd(built.graph.segments[number].run, built.calls[1].hidden, hidden, towards)
    assert torch.allclose(edges[1], wanted, atol=1e-9 * float(wanted.abs().max()))
