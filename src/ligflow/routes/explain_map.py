"""One map of a workspace, integrated as settings say: directions fitted to the targets, jumps measured."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.routes.attribution import Attribution
from ligflow.routes.integration import Ends, attribute, ends_of
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

    Maps with the same `start` begin at one F and end at one, which are computed once. Raises LigflowError for
    a direction that does not fit.
    """
    end, row = torch.ones(1, dtype=torch.float32, device=work.rows.device), work.rows[:1]
    kind = settings.scalarization_of(route)
    kind = kind.fitted(work.selections, route, lambda: path_map.image(end, row).shape[2:])
    budget = work.budget(settings.memory_budget)
    ends = None if start is None else ends_at(start, path_map, work, budget)
    targets, owner = work.rows, work.owner
    if rows is not None:
        kind, targets, owner = kind.of_rows(rows), targets[rows], owner[rows]
        ends = ends and (ends[0][rows], ends[1][rows])
    attribution = attribute(
        path_map,
        targets,
        kind,
        settings.quadrature,
        settings.tol,
        settings.max_nodes,
        budget,
        owner,
        ends,
        floor,
    )
    return _with_jumps(attribution, path_map, targets, work, budget)


def ends_at(start: Any, path_map: PathMap, work: Workspace, budget: int) -> Ends:
    """F of all targets at both ends of a path, computed once for all maps with the same `start`."""
    return work.once(("ends", start), lambda: ends_of(path_map, work.rows, budget))


def _with_jumps(
    attribution: Attribution,
    path_map: PathMap,
    targets: Int[Tensor, " target"],
    work: Workspace,
    budget: int,
) -> Attribution:
    """Where tokens choose experts along their paths, how far F jumps; rounding is no jump."""
    calls = work.batch.host.findings.choices
    if path_map.own_tokens is None or work.batch.held or not calls:
        return attribution
    size = jumps(path_map, targets, calls, budget)
    if size is None:
        return replace(attribution, unlocated=torch.ones_like(attribution.met))
    size = size.to(attribution.scale)
    jump = torch.where(size > attribution.floor, size, 0) / attribution.scale
    return replace(attribution, jump=jump)
