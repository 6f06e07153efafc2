"""Where the players of u2z start and end: the heads, those of a second attention, and the residual.

Heads end at `u_j` of the real input. They start at 0 (`zero`), at given vectors, or where a z2u starts:
`u_j(0) = ATT_j({z_k(0; j)}_k)`, that of `itb` (`att_itb_a0`) or of the att_baseline (`matched`).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.layer.layer import Layer
from ligflow.method.baselines import Baseline
from ligflow.method.head_baselines import HeadBaseline
from ligflow.paths.after_attention import Players
from ligflow.paths.batch import padded
from ligflow.paths.cross_attention import CrossPath, cross_image
from ligflow.routes.explain_map import ends_at
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
    return replace(players, second_start=settings.mlp_baseline.second_start(start), second_end=end)


def first_players(work: Workspace, baseline: HeadBaseline, att_baseline: Baseline) -> Players:
    """The players of the first attention, and the residual."""
    attention = baseline.attention(att_baseline)
    if attention is not None:
        first, last = u_ends(work, attention)
        sources = work.start(attention)
        return Players(first, last, None if sources.per_target else sources.vectors)
    ends = work.once("u_end", lambda: [u_end(layer) for layer in work.batch.layers])
    starts = [baseline.start(u, each.visible) for u, each in zip(ends, work.selections, strict=True)]
    return Players(_one_below(starts, work.batch.tokens), _one_below(ends, work.batch.tokens))


def u_ends(
    work: Workspace, baseline: Baseline
) -> tuple[Float[Tensor, "row head value_dim"], Float[Tensor, "row head value_dim"]]:
    """`u_j(0) = ATT_j({z_k(0; j)}_k)` and `u_j(1)` of the targets; other rows are 0 and unused."""
    first, last = ends_at(("u", baseline), z2u_from(work, baseline), work, work.budget())
    every_row = work.batch.z.new_zeros(len(work.batch.z), *first.shape[1:])
    return every_row.index_copy(0, work.rows, first), every_row.index_copy(0, work.rows, last)


def u_end(layer: Layer) -> Float[Tensor, "token head value_dim"]:
    """The context vectors of the real input, `u_j = u_j(1)`."""
    with torch.no_grad():
        return layer.attend(layer.hidden[None])[0]


def _one_below(us: Sequence[Tensor], tokens: int) -> Float[Tensor, "row head value_dim"]:
    """The context vectors of all sentences, each filled up to so many tokens."""
    return torch.cat([padded(u.flatten(1), tokens) for u in us]).unflatten(1, us[0].shape[1:])


def _second_u(
    path: CrossPath, node: float, rows: Int[Tensor, " target"]
) -> Float[Tensor, "row head value_dim"]:
    with torch.no_grad():
        at = torch.full((1,), node, dtype=torch.float32, device=rows.device)
        of_targets = cross_image(path, at, rows)[0]
    every_row = of_targets.new_zeros(path.query.shape[2], *of_targets.shape[1:])
    return every_row.index_copy(0, rows, of_targets)
