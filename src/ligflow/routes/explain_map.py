"""One map of a workspace, integrated as settings say: directions fitted to the targets, jumps measured."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.layer.experts import count_of_choices
from ligflow.method.scalarization import Direction, Scalarization
from ligflow.routes.attribution import Attribution
from ligflow.routes.integration import attribute, image_at
from ligflow.routes.jumps import jumps
from ligflow.routes.path_map import PathMap
from ligflow.routes.workspace import Selection, Workspace
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
    kind = _fitted(settings.scalarization_of(route), path_map, work, route)
    budget = settings.memory_budget
    first = None
    if start is not None:
        first = work.once(("first", start), lambda: image_at(path_map, 0.0, work.rows, budget))
    targets, owner = work.rows, work.owner
    if rows is not None:
        kind = Direction(kind.vector[rows]) if isinstance(kind, Direction) and kind.vector.ndim == 3 else kind
        targets, owner = targets[rows], owner[rows]
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
    budget: int | None,
) -> Attribution:
    """Where tokens choose experts along their paths, how far F jumps; rounding is no jump."""
    if path_map.own_tokens is None or work.batch.held:
        return attribution
    calls = work.once("choices", lambda: count_of_choices(work.batch.host))
    if not calls:
        return attribution
    size = jumps(path_map, targets, calls, budget).to(attribution.scale)
    jump = torch.where(size > attribution.floor, size, 0) / attribution.scale
    return replace(attribution, jump=jump)


def _fitted(kind: Scalarization, path_map: PathMap, work: Workspace, route: str) -> Scalarization:
    """A direction for the chosen targets: `[dim]`, or one a token (for z2u: one a head, or both)."""
    if not isinstance(kind, Direction):
        return kind
    end = torch.ones(1, dtype=torch.float32, device=work.rows.device)
    scalars, dim = path_map.image(end, work.rows[:1]).shape[2:]
    vectors = [_fitted_vector(kind.vector, selection, route, scalars, dim) for selection in work.selections]
    if all(vector.ndim < 3 for vector in vectors):
        return kind
    return Direction(torch.cat(vectors))


def _fitted_vector(vector: Tensor, tokens: Selection, route: str, scalars: int, dim: int) -> Tensor:
    """The vector as it is, if one serves all tokens; else a row for each target."""
    visible = len(tokens.visible)
    shapes = [(dim,), (visible, dim)] if route != "z2u" else [(dim,), (scalars, dim), (visible, scalars, dim)]
    if tuple(vector.shape) not in shapes:
        raise LigflowError(
            f"The direction for {route} has shape {tuple(vector.shape)}; it must be one of {shapes}. Give "
            "one a route with scalarization={'z2z': direction(v), 'u2z': direction(v)}."
        )
    if len(vector) != visible or vector.ndim != len(shapes[-1]):
        return vector
    rows = torch.searchsorted(tokens.visible, tokens.targets)
    return vector.to(tokens.targets.device)[rows].reshape(len(rows), -1, dim)
