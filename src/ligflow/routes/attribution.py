"""The attributions of one route of one layer, with what certifies them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.routes.by_head import HeadParts


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributions of one route of one layer.

    `total` is `L_j(1) - L_j(0)`, `scale` what errors are relative to, `error` the estimated L1 error
    of a row over `scale`, `origin` what L has reached at a = 1e-6 over `scale`, `floor` the size under
    which a total is rounding, `flipped` the rows whose signs a ratio correction turned, `jump` how far F
    jumps where a target's experts change, over `scale`, `unlocated` the targets of which that is not known,
    `hidden` what sources add that are not among `value`, `parts` those of z2u by value, key and query,
    `heads` those of z2z by head.
    """

    value: Float[Tensor, "target scalar source"]
    total: Float[Tensor, "target scalar"]
    scale: Float[Tensor, "target scalar"]
    error: Float[Tensor, "target scalar"]
    origin: Float[Tensor, "target scalar"]
    met: Bool[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    floor: Float[Tensor, "target scalar"]
    flipped: Bool[Tensor, "target scalar"] | None = None
    jump: Float[Tensor, "target scalar"] | None = None
    hidden: Float[Tensor, "target scalar"] | None = None
    unlocated: Bool[Tensor, "target scalar"] | None = None
    parts: Float[Tensor, "target scalar part source"] | None = None
    heads: HeadParts | None = None


def of_each(attribution: Attribution, change: Callable[[Tensor], Tensor]) -> Attribution:
    """The attribution with every tensor changed."""
    parts: dict[str, Any] = {
        name: change(part) if isinstance(part, Tensor) else part for name, part in vars(attribution).items()
    }
    if attribution.heads is not None:
        parts["heads"] = attribution.heads.of_each(change)
    return Attribution(**parts)


def on_cpu(attribution: Attribution) -> Attribution:
    """The same with its tensors on the CPU."""
    return of_each(attribution, Tensor.cpu)


def in_single(attribution: Attribution) -> Attribution:
    """The same in float32."""
    return of_each(attribution, lambda part: part.float() if part.is_floating_point() else part)


def with_sources(
    attribution: Attribution, sources: Int[Tensor, " shown"] | slice, **changes: Any
) -> Attribution:
    """Some of the sources, in parts too."""
    parts = None if attribution.parts is None else attribution.parts[..., sources]
    heads = None if attribution.heads is None else attribution.heads.with_sources(sources)
    return replace(attribution, value=attribution.value[..., sources], parts=parts, heads=heads, **changes)


def merged(parts: Sequence[Attribution], order: Int[Tensor, " target"]) -> Attribution:
    """The targets of all parts, one after the other and then in `order`."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {
        name: None if first is None else torch.cat([vars(part)[name] for part in parts])[order]
        for name, first in vars(parts[0]).items()
    }
    return Attribution(**columns)
