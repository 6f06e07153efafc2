"""Where the players of u2z start and end: the heads, those of a second attention, and the residual."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.layer.layer import Layer
from ligflow.method.baselines import Baseline
from ligflow.paths.after_attention import Players
from ligflow.paths.batch import LayerBatch, padded
from ligflow.paths.cross_attention import CrossPath, cross_image
from ligflow.routes.corrections import uncorrected
from ligflow.routes.integration import image_at
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.settings import Settings


def players_of(work: Workspace, settings: Settings) -> Players:
    """The players of every token: heads, those of a second attention, and the residual.

    The residual moves only under `matched` from a start that all targets share. Raises LigflowError for a
    tensor that holds no context vectors.
    """
    players = first_players(work, settings.mlp_baseline, settings.att_baseline)
    cross = work.cross(settings.encoder_baseline)
    if cross is None:
        return players
    start, end = (_second_u(cross, node, work.rows) for node in (0.0, 1.0))
    if isinstance(settings.mlp_baseline, str) and settings.mlp_baseline == "zero":
        start = torch.zeros_like(start)
    return replace(players, second_start=start, second_end=end)


def first_players(work: Workspace, baseline: Baseline, att_baseline: Baseline) -> Players:
    """The players of the first attention, and the residual."""
    if isinstance(baseline, str) and baseline != "zero":
        start = uncorrected(att_baseline) if baseline == "matched" else "itb"
        first, last = (u_at(work, start, node) for node in (0.0, 1.0))
        sources = work.start(start)
        return Players(first, last, None if sources.per_target else sources.vectors)
    end = work.once("u_end", lambda: _u_ends(work.batch))
    start = _custom_u(work, baseline, end) if isinstance(baseline, Tensor) else torch.zeros_like(end)
    return Players(start, end)


def is_matched(baseline: Baseline) -> bool:
    """Whether u2z starts where the z2u of the same flow does."""
    return isinstance(baseline, str) and baseline == "matched"


def u_at(work: Workspace, baseline: Baseline, node: float) -> Float[Tensor, "row head value_dim"]:
    """`u_j(a)` of the targets, e.g. `u_j(0) = ATT_j({z_k(0; j)}_k)`; other rows are 0 and unused."""
    of_targets = image_at(z2u_from(work, baseline), node, work.rows).to(work.batch.z)
    every_row = of_targets.new_zeros(len(work.batch.z), *of_targets.shape[1:])
    return every_row.index_copy(0, work.rows, of_targets)


def u_end(layer: Layer) -> Float[Tensor, "token head value_dim"]:
    """The context vectors of the real input, `u_j = u_j(1)`."""
    with torch.no_grad():
        return layer.attend(layer.hidden[None])[0]


def _u_ends(batch: LayerBatch) -> Float[Tensor, "row head value_dim"]:
    rows = [padded(u_end(layer).flatten(1), batch.tokens) for layer in batch.layers]
    return torch.cat(rows).unflatten(1, u_end(batch.layers[0]).shape[1:])


def _second_u(
    path: CrossPath, node: float, rows: Int[Tensor, " target"]
) -> Float[Tensor, "row head value_dim"]:
    with torch.no_grad():
        at = torch.full((1,), node, dtype=torch.float32, device=rows.device)
        of_targets = cross_image(path, at, rows)[0]
    every_row = of_targets.new_zeros(path.query.shape[2], *of_targets.shape[1:])
    return every_row.index_copy(0, rows, of_targets)


def _custom_u(work: Workspace, baseline: Tensor, end: Tensor) -> Float[Tensor, "row head value_dim"]:
    heads, dim = end.shape[1:]
    start, length = torch.zeros_like(end), work.batch.tokens
    for number, selection in enumerate(work.selections):
        shapes = ((len(selection.visible), heads, dim), (heads, dim))
        if tuple(baseline.shape) not in shapes or not torch.isfinite(baseline).all():
            raise LigflowError(
                f"mlp_baseline is a tensor of shape {tuple(baseline.shape)}; it holds attention outputs u, "
                f"so it must be finite and of shape {shapes[0]} or {shapes[1]} (tokens, heads, head size)."
            )
        start[selection.visible + number * length] = baseline.to(end)
    return start
