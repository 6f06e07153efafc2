"""Where float32 would lose a direction: maps that are integrated on a float64 copy of the layer.

The scalar `L = ||F(a) - F(0)||` has the direction of what F has moved by as its gradient. Where that is as
small as float32's rounding of F its direction is noise: near a flat start, and where a head comes back to its
start. The functions here are handed the function that builds the map, and build it on the copy.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.layer.float64 import keep_double
from ligflow.method.baselines import Baseline
from ligflow.paths.batch import together
from ligflow.routes.attribution import Attribution, in_single, merged
from ligflow.routes.explain_map import ends_at, explain_map
from ligflow.routes.integration import Ends, floor_of, images_at
from ligflow.routes.path_map import PathMap
from ligflow.routes.workspace import Workspace
from ligflow.settings import Settings

Build = Callable[[Workspace], PathMap]

_BETWEEN = (0.25, 0.5, 0.75)  # points of a path


def has_wider(work: Workspace) -> bool:
    """Whether the layer is float32 on a device that has float64."""
    z = work.batch.z
    return z.dtype == torch.float32 and z.device.type != "mps"


def starts_flat(work: Workspace, baseline: Baseline) -> bool:
    """Whether the direction of `u(a) - u(0)` would drown in float32 rounding near the start.

    From the mean of the sources u leaves with slope 0 (what they add cancels) and grows like a^2.
    """
    return baseline.starts_flat and has_wider(work)


def double_workspace(work: Workspace) -> Workspace:
    """The same on a float64 copy of the layer, in which nothing starts flat."""

    def build() -> Workspace:
        first, *others = work.batch.layers
        first = first.in_double()
        layers = [first, *(layer.in_double(first.module) for layer in others)]
        return Workspace(together(layers), work.selections, free=work.free)

    with keep_double():
        return work.once("double", build)


def attribute_in_double(
    build: Build,
    settings: Settings,
    work: Workspace,
    route: str,
    rows: Int[Tensor, " row"] | None = None,
    floor: Float[Tensor, "row scalar"] | None = None,
) -> Attribution:
    """A route on a float64 copy of the layer, for some of the work's targets or all."""
    with keep_double():
        path_map = build(double_workspace(work))
        return explain_map(path_map, settings, work, route, rows=rows, floor=floor)


def attribute_precisely(build: Build, baseline: Baseline, work: Workspace, settings: Settings) -> Attribution:
    """z2u in float32, and in float64 the targets whose direction would drown."""
    if not has_wider(work):
        return explain_map(build(work), settings, work, "z2u")
    if starts_flat(work, baseline):
        return in_single(attribute_in_double(build, settings, work, "z2u"))
    route, budget, start = build(work), work.budget(settings.memory_budget), ("u", baseline)
    back, floor = _coming_back(route, work, ends_at(start, route, work, budget), budget)
    parts, order = [], []
    for double in (False, True):
        rows = (back == double).nonzero()[:, 0]
        if not len(rows):
            continue
        order.append(rows)
        if double:
            parts.append(attribute_in_double(build, settings, work, "z2u", rows, floor[rows]))
        else:
            parts.append(explain_map(route, settings, work, "z2u", start, rows, floor[rows]))
    return in_single(merged(parts, torch.cat(order).argsort()))


def _coming_back(
    route: PathMap, work: Workspace, ends: Ends, budget: int
) -> tuple[Bool[Tensor, " row"], Float[Tensor, "row scalar"]]:
    """Targets with a head that leaves its start and comes back, whose direction then drowns in rounding.

    An example is a token that at both ends attends to nothing but itself. With it, the size under which
    a total is rounding.
    """
    first, last = ends
    floor = floor_of(last, work.owner)
    back = (last - first).norm(dim=-1) < floor
    away = (images_at(route, _BETWEEN, work.rows, budget) - first).norm(dim=-1).amax(dim=0) > floor
    return (back & away).any(dim=-1), floor
