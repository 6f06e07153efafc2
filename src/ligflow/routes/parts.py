"""z2u and e2u by value, key and query: every source four times on the path, with the keys' common move.

The four sum to the same total, so that its certificate is theirs.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.paths.after_attention import Cotangent
from ligflow.routes.attribution import Attribution
from ligflow.routes.path_map import PathMap, with_own

PartIntegrands = Callable[
    [Float[Tensor, " node"], Int[Tensor, " row"], Cotangent], Float[Tensor, "all node row head source"]
]


def in_parts(whole: PathMap, integrands: PartIntegrands) -> PathMap:
    """A map of heads whose sources stand four times: value, key, query, and the keys' common move."""

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            return integrands(nodes, rows, towards).movedim(0, -2).flatten(-2)

    return replace(
        whole, pullback=pullback, pair_bytes=2 * whole.pair_bytes, target_bytes=4 * whole.target_bytes
    )


def by_source(attribution: Attribution, columns: Int[Tensor, " row"] | None) -> Attribution:
    """The sources of a map in parts: value and key of each, and on the target's own source its query.

    `columns` are the targets' own sources; None where targets are no sources, and their queries stay.
    """
    value, key, query, common = attribution.value.unflatten(-1, (4, -1)).unbind(-2)
    sources = value + key + common
    if columns is not None:
        sources = with_own(sources[None], query.sum(-1)[None], columns)[0]
    return replace(attribution, value=sources, parts=torch.stack([value, key, query], dim=-2))
