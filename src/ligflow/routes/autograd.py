"""Plain autograd through the unmodified layer: z2z of layers that cannot be split, and the oracle.

Every (node, target) pair is its own copy of the whole sentence, so nothing is shared and nothing is
assumed: slow, and the definition itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ligflow.layer.experts import Chosen, holding
from ligflow.layer.float64 import keep_double
from ligflow.layer.interface import plain
from ligflow.layer.layer import Layer
from ligflow.method.baselines import Start, own_path
from ligflow.paths.after_attention import Cotangent, Players
from ligflow.routes.path_map import PathMap

_KEPT = 4096  # bytes for each of a target's sources


def z2z(
    layer: Layer, start: Start, memory_start: Tensor | None = None, held: Sequence[Chosen] = ()
) -> PathMap:
    """`{z_k} -> z'_j` through the layer as it is; with a start of its memory `{z_k}, {e_m} -> z'_j`.

    `held` are the experts that tokens keep on their paths (see `ligflow.layer.experts`).
    """

    def own_tokens(nodes: int, targets: Tensor) -> Tensor:
        own = targets.repeat(nodes)
        return torch.arange(len(own), device=own.device) * len(layer.hidden) + own

    def run(hidden: Tensor, targets: Tensor, of: Layer = layer) -> Tensor:
        with holding(held, torch.arange(len(layer.hidden), device=hidden.device).repeat(len(hidden))):
            return _own_rows(of.forward(hidden), targets)[:, None]

    if memory_start is None:
        return replace(_map(layer, start, run), own_tokens=own_tokens)
    width, (tokens, dim) = layer.hidden.shape[1], memory_start.shape

    def run_both(sources: Tensor, targets: Tensor) -> Tensor:
        hidden, memory = sources[:, :-tokens, :width], sources[:, -tokens:, :dim]
        return run(hidden, targets, layer.with_encoded(memory))

    return replace(_map(layer, start, run_both, memory_start), own_tokens=own_tokens)


def e2u(layer: Layer, memory_start: Float[Tensor, "memory dim"]) -> PathMap:
    """`{e_m} -> u_j^h` of the second attention, the layer's own tokens being as they are."""

    def run(memory: Tensor, targets: Tensor) -> Tensor:
        return _own_rows(plain(layer.capture_second(memory)).transpose(1, 2), targets)

    return _map(layer, Start(memory_start, per_target=False), run, end=layer.encoded)


def z2u(layer: Layer, start: Start) -> PathMap:
    """`{z_k} -> u_j^h`: gradients of each head's scalar through projections and softmax."""

    def run(hidden: Tensor, targets: Tensor) -> Tensor:
        return _own_rows(layer.attend(hidden), targets)

    return _map(layer, start, run)


def z2u_in_double(layer: Layer, start: Start) -> PathMap:
    """`{z_k} -> u_j^h` from a float64 start on a copy of the layer, where float32 loses its direction."""
    route = z2u(layer.in_double(), start)

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with keep_double():
            return route.image(nodes, targets)

    def pullback(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        with keep_double():
            return route.pullback(nodes, targets, towards)

    return PathMap(image, pullback, route.pair_bytes, route.target_bytes)


def u2z(layer: Layer, players: Players) -> PathMap:
    """`{u_j^h}_h, z_j -> z'_j`: only the target's own heads and residual move, others stay real."""
    residual = Start(layer.hidden if players.residual_start is None else players.residual_start, False)
    moved = [(players.start, players.end)]
    if players.second_start is not None and players.second_end is not None:
        moved.append((players.second_start, players.second_end))

    def paths(nodes: Tensor, targets: Tensor) -> list[Tensor]:
        a = nodes[:, None, None, None]
        us = [start[targets] + a * (end - start)[targets] for start, end in moved]
        return [own_path(residual, layer.hidden, nodes, targets), *us]

    def run(targets: Tensor, own: Tensor, *us: Tensor) -> Tensor:
        copies = len(own) * len(targets)
        rows = torch.arange(copies, device=targets.device), targets.repeat(len(own))
        whole = layer.hidden.repeat(copies, 1, 1).index_put(rows, own.flatten(0, 1))
        heads = [
            end.repeat(copies, 1, 1, 1).index_put(rows, u.flatten(0, 1))
            for u, (_, end) in zip(us, moved, strict=True)
        ]
        second = [] if len(heads) == 1 else [lambda _: heads[1].transpose(1, 2)]
        done = layer.finish(whole, heads[0], *second)
        return done[rows].unflatten(0, (len(own), -1))[:, :, None]

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            return run(targets, *paths(nodes, targets))

    def pullback(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        leaves = [part.requires_grad_() for part in paths(nodes, targets)]
        with torch.enable_grad():
            value = run(targets, *leaves)
        to_own, *to_us = torch.autograd.grad(value, leaves, towards(value.detach()), materialize_grads=True)
        heads = [
            (to_u * (end - start)[targets]).sum(-1) for to_u, (start, end) in zip(to_us, moved, strict=True)
        ]
        mine = (to_own * (layer.hidden - residual.vectors)[targets]).sum(-1, keepdim=True)
        return torch.cat([*heads, mine], dim=-1)[:, :, None]

    return PathMap(image, pullback, _copy_cost(layer), _KEPT * (sum(end.shape[1] for _, end in moved) + 1))


def _map(
    layer: Layer,
    start: Start,
    run: Callable[[Tensor, Tensor], Tensor],
    memory_start: Float[Tensor, "memory dim"] | None = None,
    end: Tensor | None = None,
) -> PathMap:
    """The map of `run(sources [copy, T, D], target of each copy) -> [copy, scalar, dim]`.

    Paths go to `end`, by default the layer's input, and with a start of its memory to that too.
    """
    end = layer.hidden if end is None else end
    memory = None if memory_start is None else (memory_start, layer.encoded)

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        sources, _ = _copies(start, end, nodes, targets, memory)
        with torch.no_grad():
            return run(sources, targets.repeat(len(nodes))).unflatten(0, (len(nodes), -1))

    def pullback(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        sources, step = _copies(start, end, nodes, targets, memory)
        sources.requires_grad_()
        with torch.enable_grad():
            value = run(sources, targets.repeat(len(nodes)))
        pulls = towards(value.detach().unflatten(0, (len(nodes), -1))).flatten(0, 1)
        scalars = []
        for scalar in range(value.shape[1]):
            (grad,) = torch.autograd.grad(value[:, scalar], sources, pulls[:, scalar], retain_graph=True)
            scalars.append((grad * step).sum(-1))
        return torch.stack(scalars, dim=1).unflatten(0, (len(nodes), -1))

    return PathMap(image, pullback, _copy_cost(layer), _KEPT * len(layer.hidden))


def _copies(
    start: Start, end: Tensor, nodes: Tensor, targets: Tensor, memory: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """One path a (node, target) pair, node-major, and its step; the memory's tokens after the layer's."""
    first = (
        start.vectors[targets][:, None] if start.per_target else start.vectors.expand(len(targets), -1, -1)
    )
    first, last = first.expand(-1, len(end), -1), end.expand(len(targets), -1, -1)
    if memory is not None:
        first, last = _one_below(first, memory[0]), _one_below(last, memory[1])
    step = last - first
    paths = first + nodes.to(step)[:, None, None, None] * step
    return paths.flatten(0, 1), step.repeat(len(nodes), 1, 1)


def _one_below(own: Float[Tensor, "copy token dim"], memory: Float[Tensor, "memory memory_dim"]) -> Tensor:
    """Both sets of sources in one tensor, as wide as the wider of the two."""
    width = max(own.shape[-1], memory.shape[-1])
    memory = memory.expand(len(own), -1, -1)
    return torch.cat([pad(part, (0, width - part.shape[-1])) for part in (own, memory)], dim=1)


def _own_rows(tensor: Tensor, targets: Tensor) -> Tensor:
    return tensor[torch.arange(len(tensor), device=tensor.device), targets]


def _copy_cost(layer: Layer) -> int:
    return 60 * layer.hidden.numel() * layer.hidden.element_size()
