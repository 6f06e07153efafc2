"""The strongest paths through a layered graph whose edges are matrices. Exact, by dynamic programming."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow import names
from ligflow.errors import LigflowError

SIGNS = tuple(names.SIGNS.values())


@dataclass(frozen=True)
class TokenPath:
    """Nodes from the top down, and the product of the edges between them."""

    nodes: tuple[int, ...]
    weight: float


@dataclass(frozen=True, eq=False)
class _Best:
    """For every node the k best products of one sign, 0 where there are fewer, and where each came from."""

    weights: Float[Tensor, "node k"]
    above: Int[Tensor, "node k"]
    place: Int[Tensor, "node k"]
    negative: Int[Tensor, "node k"]


def strongest(
    steps: Sequence[Float[Tensor, "above below"]],
    start: int,
    count: int,
    sign: str = "absolute",
    *,
    fewer: bool = False,
) -> list[TokenPath]:
    """The `count` paths from `start` with the largest |product|, or the largest product of a sign.

    Each step keeps the `count` best positive and negative products of every node: a path is among the best
    only if its upper part is among those of its own sign, so nothing is lost. Raises LigflowError if there
    are fewer paths of that sign, unless `fewer` will do, or none of the names of `sign` is given.
    """
    if sign not in SIGNS:
        raise LigflowError(f"Unknown sign {sign!r}; choose from {', '.join(SIGNS)}.")
    if count < 1:
        raise LigflowError(f"{count} paths were asked for; give a whole number from 1.")
    levels = _levels(steps, start, count)
    paths = [path for which in (0, 1) for path in _read(levels, which)]
    wanted = {"positive": 1.0, "negative": -1.0}.get(sign)
    kept = [path for path in paths if wanted is None or path.weight * wanted > 0]
    kept.sort(key=lambda path: (-abs(path.weight), path.nodes))
    if len(kept) < count and not fewer:
        kind = "" if sign == "absolute" else f" {sign}"
        raise LigflowError(f"{count}{kind} paths were asked for, and there are {len(kept)}.")
    return kept[:count]


def _levels(steps: Sequence[Tensor], start: int, count: int) -> list[tuple[_Best, _Best]]:
    """The best positive and negative products at every depth."""
    size = steps[0].shape[0] if steps else start + 1
    first = torch.zeros(size, count, dtype=torch.float64, device="cpu")
    first[start, 0] = 1
    none = torch.zeros(size, count, dtype=torch.int64, device="cpu")
    levels = [(_Best(first, none, none, none), _Best(torch.zeros_like(first), none, none, none))]
    for step in steps:
        levels.append((_next(step.double(), levels[-1], 1.0), _next(step.double(), levels[-1], -1.0)))
    return levels


def _next(step: Tensor, above: tuple[_Best, _Best], sign: float) -> _Best:
    """Positive products are of two positive or two negative parts, negative ones of one of each."""
    size, count = above[0].weights.shape
    both = torch.stack([above[0].weights, above[1].weights])  # [sign, node, k]
    products = torch.einsum("ji,sjk->isjk", step, both).flatten(1) * sign
    best, at = products.clamp_min(0).topk(min(count, products.shape[1]), dim=1)
    best, at = _padded(best, count), _padded(at, count)
    return _Best(best * sign, at // count % size, at % count, at // (size * count))


def _padded(values: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, count - values.shape[1]))


def _read(levels: list[tuple[_Best, _Best]], which: int) -> list[TokenPath]:
    """All kept paths of a sign at the lowest level, followed back to the start."""
    weights = levels[-1][which].weights
    paths = []
    for node, k in weights.nonzero().tolist():
        nodes, at, sign = [node], (node, k), which
        for level in reversed(levels[1:]):
            best = level[sign]
            above, place, sign = (int(part[at]) for part in (best.above, best.place, best.negative))
            nodes.append(above)
            at = (above, place)
        paths.append(TokenPath(tuple(reversed(nodes)), float(weights[node, k])))
    return paths
