"""The oracle of the tests: every route by plain autograd, and a rule fine enough to be called exact."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from captum.attr import IntegratedGradients

from ligflow.layer.layer import Layer
from ligflow.method import from_names
from ligflow.method.head_baselines import Matched
from ligflow.method.quadrature_rules import Rule
from ligflow.paths.batch import alone
from ligflow.routes import autograd
from ligflow.routes.double_precision import double_workspace, starts_flat
from ligflow.routes.path_map import PathMap
from ligflow.routes.players import first_players
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_map
from ligflow.routes.z2z import z2z_map


def fine_rule(to_origin: bool, kinks: bool) -> Rule:
    """Gauss-Legendre on many panels: decades down to 1e-24 for norms at a zero baseline, and short
    ones for activations with kinks (ReLU), whose integrands jump.
    """
    count = 4 if kinks else 14
    inner = np.linspace(0.03, 1, 400 if kinks else 6)
    outer = np.linspace(0, 0.03, 13 if kinks else 2)
    if to_origin:
        outer = 0.03 * 10.0 ** np.linspace(-24, 0, 24 * (40 if kinks else 1) + 1)
    parts = [_composite(count, np.unique([0, *outer])), _composite(count, inner)]
    return Rule(torch.cat([part.nodes for part in parts]), torch.cat([part.weights for part in parts]))


def _composite(count: int, edges: np.ndarray) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    low, width = edges[:-1, None], np.diff(edges)[:, None]
    return Rule(
        torch.from_numpy((low + width * (nodes + 1) / 2).ravel()),
        torch.from_numpy((width * weights / 2).ravel()),
    )


def pairs(layer: Layer, name: str, tokens: Selection) -> Iterator[tuple[str, PathMap, PathMap]]:
    """Each route as (name, engine, oracle)."""
    baseline = from_names.layer_baseline(name)
    start = baseline.start(layer.hidden, tokens.visible)
    work = Workspace(alone(layer), (tokens,))
    path = work.path(baseline)
    attention = (double_workspace(work) if starts_flat(work, baseline) else work).path(baseline)
    oracle = autograd.z2u_in_double if starts_flat(work, baseline) else autograd.z2u
    yield "z2u", z2u_map(attention), oracle(layer, attention.start)
    yield "z2z", z2z_map(path), autograd.z2z(layer, start)
    starts = first_players(work, Matched(), baseline)
    yield "u2z", u2z_map(work.batch, starts), autograd.u2z(layer, starts)


def integrate(route: PathMap, tokens: Selection, rule: Rule) -> torch.Tensor:
    """L2 attributions `[target, scalar, source]` by a fixed rule, written out."""
    everyone = tokens.targets
    first = route.image(torch.zeros(1, dtype=torch.float64), everyone)[0]

    def towards(value: torch.Tensor) -> torch.Tensor:
        moved = value - first
        return moved / moved.norm(dim=-1, keepdim=True).clamp(min=1e-300)

    parts = []
    for nodes, weights in zip(rule.nodes.split(256), rule.weights.split(256), strict=True):
        parts.append(torch.einsum("s,stgk->tgk", weights, route.pullback(nodes, everyone, towards)))
    return torch.stack(parts).sum(0)


def by_captum(layer: Layer, baseline: torch.Tensor, target: int, steps: int = 32) -> torch.Tensor:
    """Captum's own integrated gradients of `||F_j(z) - F_j(baseline)||`.

    F_j(baseline) is computed as Captum will compute it, so that at a = 0 the norm is 0 and not
    rounding, whose direction would be random.
    """
    first = layer.forward(baseline[None].clone().requires_grad_())[:, target].detach()
    norm = IntegratedGradients(lambda hidden: (layer.forward(hidden)[:, target] - first).norm(dim=-1))
    found = norm.attribute(
        layer.hidden[None], baseline[None], n_steps=steps, method="riemann_trapezoid", internal_batch_size=1
    )
    return found[0].sum(-1).detach()


def by_differences(
    scalars: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, step: torch.Tensor
) -> torch.Tensor:
    """`dL/dt_k` `[scalar, source]` as source k alone moves to `at_k + t step_k`, by central differences.

    `scalars` takes copies of all sources `[copy, source, dim]` and gives `[copy, scalar]`.
    """
    moved = 1e-5 * torch.eye(len(at), dtype=at.dtype)[:, :, None] * step
    with torch.no_grad():
        return ((scalars(at + moved) - scalars(at - moved)) / 2e-5).T
