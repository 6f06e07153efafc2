"""One map of a workspace, integrated as settings say: directions fitted to the targets, jumps measured."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.layer.experts import count_of_choices
from ligflow.routes.attribution import Attribution
from ligflow.routes.integration import attribute, image_at
from ligflow.routes.jumps import jumps
from ligflow.routes.path_map import PathMap
from ligflow.routes.workspace import Workspace
from ligflow.settings import Settings


def explain_map(
    path_map: PathMap,
    settings: Settings,
    work: Workspace,
    route: str,
    start: Any = None,
    rows: Int[Tensor, " row"] | None = None,
    floor: Float[Tensor, "row scalar"] | None = None,
) -> Attribution:
    """The attributions of a route's map, for some of the work's targets or all.

    Maps with the same `start` begin at one z', which is computed once. Raises LigflowError for a direction
    that does not fit.
    """
    end, row = torch.ones(1, dtype=torch.float32, device=work.rows.device), work.rows[:1]
    kind = settings.scalarization_of(route)
    kind = kind.fitted(work.selections, route, lambda: path_map.image(end, row).shape[2:])
    budget = work.budget(settings.memory_budget)
    first = None
    if start is not None:
        first = work.once(("first", start), lambda: image_at(path_map, 0.0, work.rows, budget))
    targets, owner = work.rows, work.owner
    if rows is not None:
        kind, targets, owner = kind.of_rows(rows), targets[rows], owner[rows]
    attribution = attribute(
        path_map,
        targets,
        kind,
        settings.quadrature,
        settings.tol,
        settings.max_nodes,
        budget,
        owner,
        first,
        floor,
    )
    return _with_jumps(attribution, path_map, targets, work, budget)


def _with_jumps(
    attribution: Attribution,
    path_map: PathMap,
    targets: Int[Tensor, " target"],
    work: Workspace,
    budget: int,
) -> Attribution:
    """Where tokens choose experts along their paths, how far F jumps; rounding is no jump."""
    if path_map.own_tokens is None or work.batch.held:
        return attribution
    calls = work.once("choices", lambda: count_of_choices(work.batch.host))
    if not calls:
        return attribution
    size = jumps(path_map, targets, calls, budget)
    if size is None:
        return replace(attribution, unlocated=torch.ones_like(attribution.met))
    size = size.to(attribution.scale)
    jump = torch.where(size > attribution.floor, size, 0) / attribution.scale
    return replace(attribution, jump=jump)
