import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.layer.model_state import prepared
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.edges import edges_of
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
        edges = edges_of(call.layer, hidden, towards, heads, 1e-12)
        wanted = _by_autograd(built.graph.segments[number].run, call.hidden, hidden, towards)
    assert torch.allclose(edges.edges, wanted, atol=1e-9 * float(wanted.abs().max()))
    assert torch.allclose(edges.edges.sum(-1), (towards * heads.step).sum(-1).T, atol=1e-9)


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
    assert layers_with_edges(heads, (-1, 0), 3) == (2, 0)


def test_held_attention_has_edges_that_are_its_values_by_its_weights() -> None:
    runs, _ = runs_of(llama(), ids(5), attention=True)
    built = graph_of(runs)
    change = (built.scores[0] - built.scores[1]).double()
    result = chain(built.graph, change, Accuracy(points=31), runs.model)
    edges, notes = kept_edges(built, result, 0, (0, 1))
    heads = nodes_of(built.graph, built.calls, result, 0).heads
    assert not notes
    assert all(torch.allclose(edges[layer].sum(-1), heads[layer], atol=1e-9) for layer in (0, 1))
    number = next(n for n, each in enumerate(built.graph.segments) if "u1" in each.images)
    hidden, towards = built.graph.variables[built.calls[1].hidden], result.at_images[number]["u1"][0]
    with prepared(built.calls[1].layer.module, built.calls[1].layer.implementation):
        wanted = _by_autograd(built.graph.segments[number].run, built.calls[1].hidden, hidden, towards)
    assert torch.allclose(edges[1], wanted, atol=1e-9 * float(wanted.abs().max()))
