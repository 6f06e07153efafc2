"""Plain autograd through the unmodified layer: z2z of layers that cannot be split, and the oracle.

Every (node, target) pair is its own copy of the whole sentence, so nothing is shared and nothing is
assumed: slow, and the definition itself.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.after_attention import Cotangent
from ligflow.attribution import Map
from ligflow.baselines import Start, own_path
from ligflow.double import keep_double
from ligflow.replay import Layer

_KEPT = 4096  # bytes for each of a target's sources


def z2z(layer: Layer, start: Start) -> Map:
    """`{z_k} -> z'_j` through the layer as it is."""

    def run(hidden: Tensor, targets: Tensor) -> Tensor:
        return _own_rows(layer.forward(hidden), targets)[:, None]

    return _map(layer, start, run)


def z2u(layer: Layer, start: Start) -> Map:
    """`{z_k} -> u_j^h`: gradients of each head's scalar through projections and softmax."""

    def run(hidden: Tensor, targets: Tensor) -> Tensor:
        return _own_rows(layer.attend(hidden), targets)

    return _map(layer, start, run)


def z2u_in_double(layer: Layer, start: Start) -> Map:
    """The same from a float64 start on a copy of the layer, where float32 loses the direction of u."""
    route = z2u(layer.in_double(), start)

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with keep_double():
            return route.image(nodes, targets)

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        with keep_double():
            return route.pull(nodes, targets, towards)

    return Map(image, pull, route.cost, route.kept)


def u2z(
    layer: Layer,
    u_start: Float[Tensor, "token head value_dim"],
    u_end: Float[Tensor, "token head value_dim"],
    residual_start: Float[Tensor, "token dim"] | None = None,
) -> Map:
    """`{u_j^h}_h, z_j -> z'_j`: only the target's own heads and residual move, others stay real."""
    residual_start = layer.hidden if residual_start is None else residual_start
    residual = Start(residual_start, per_target=False)

    def paths(nodes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        u = u_start[targets] + nodes[:, None, None, None] * (u_end - u_start)[targets]
        return own_path(residual, layer.hidden, nodes, targets), u

    def run(own: Tensor, u: Tensor, targets: Tensor) -> Tensor:
        copies = len(own) * len(targets)
        rows = torch.arange(copies, device=targets.device), targets.repeat(len(own))
        whole = layer.hidden.repeat(copies, 1, 1).index_put(rows, own.flatten(0, 1))
        heads = u_end.repeat(copies, 1, 1, 1).index_put(rows, u.flatten(0, 1))
        return layer.finish(whole, heads)[rows].unflatten(0, (len(own), -1))[:, :, None]

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            return run(*paths(nodes, targets), targets)

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        own, u = (part.requires_grad_() for part in paths(nodes, targets))
        with torch.enable_grad():
            value = run(own, u, targets)
        to_own, to_u = torch.autograd.grad(value, [own, u], towards(value.detach()), materialize_grads=True)
        heads = (to_u * (u_end - u_start)[targets]).sum(-1)
        mine = (to_own * (layer.hidden - residual_start)[targets]).sum(-1, keepdim=True)
        return torch.cat([heads, mine], dim=-1)[:, :, None]

    return Map(image, pull, _copy_cost(layer), _KEPT * (u_end.shape[1] + 1))


def _map(layer: Layer, start: Start, run: Callable[[Tensor, Tensor], Tensor]) -> Map:
    """The map of `run(hidden [copy, T, D], target of each copy) -> [copy, scalar, dim]`."""

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        hidden, _ = _copies(layer, start, nodes, targets)
        with torch.no_grad():
            return run(hidden, targets.repeat(len(nodes))).unflatten(0, (len(nodes), -1))

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        hidden, step = _copies(layer, start, nodes, targets)
        hidden.requires_grad_()
        with torch.enable_grad():
            value = run(hidden, targets.repeat(len(nodes)))
        pulls = towards(value.detach().unflatten(0, (len(nodes), -1))).flatten(0, 1)
        scalars = []
        for scalar in range(value.shape[1]):
            (grad,) = torch.autograd.grad(value[:, scalar], hidden, pulls[:, scalar], retain_graph=True)
            scalars.append((grad * step).sum(-1))
        return torch.stack(scalars, dim=1).unflatten(0, (len(nodes), -1))

    return Map(image, pull, _copy_cost(layer), _KEPT * len(layer.hidden))


def _copies(layer: Layer, start: Start, nodes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """One path a (node, target) pair, node-major, and its step."""
    first = (
        start.vectors[targets][:, None] if start.per_target else start.vectors.expand(len(targets), -1, -1)
    )
    step = layer.hidden - first
    paths = first + nodes.to(step)[:, None, None, None] * step
    return paths.flatten(0, 1), step.repeat(len(nodes), 1, 1)


def _own_rows(tensor: Tensor, targets: Tensor) -> Tensor:
    return tensor[torch.arange(len(tensor), device=tensor.device), targets]


def _copy_cost(layer: Layer) -> int:
    return 60 * layer.hidden.numel() * layer.hidden.element_size()
