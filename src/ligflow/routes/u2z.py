"""u2z: all that follows attention, from the heads' context vectors u_j^h to the target's output z'_j.

The paper's `u -> z` [suzuki2026].
"""

import torch
from torch import Tensor

from ligflow.layer.interface import plain
from ligflow.method.baselines import Start, own_path
from ligflow.paths.after_attention import Cotangent, Players, finish, pull_back
from ligflow.paths.batch import LayerBatch, recorded_output
from ligflow.paths.cross_attention import GivenCrossAttention
from ligflow.routes.attribution import Attribution
from ligflow.routes.explain_map import explain_map
from ligflow.routes.path_map import POINTS_HELD, PathMap
from ligflow.routes.players import players_of
from ligflow.routes.workspace import Workspace, key_of_settings, key_of_start
from ligflow.settings import Settings


def explain_u2z(work: Workspace, settings: Settings) -> Attribution:
    """u2z, `({u_j^h}, z_j) -> z'_j`, of all targets as the settings say.

    What follows attention, as a map from the heads' outputs and the residual [suzuki2026].
    """
    baseline = settings.mlp_baseline
    attention = baseline.attention(settings.att_baseline)

    def run() -> Attribution:
        # the z2z whose sources start like those of the attention starts at the same z'
        start = key_of_start(work, settings, attention)
        return explain_map(
            u2z_map(work.batch, players_of(work, settings)), settings, work, "u2z", start=start
        )

    key = key_of_start(work, settings, (baseline, attention))
    return work.once(("u2z", *key_of_settings(settings, "u2z", key)), run)


def u2z_map(batch: LayerBatch, players: Players) -> PathMap:
    """`{u_j^h}_h, z_j -> z'_j`: sources: heads, those of a second attention, the residual."""
    moves = players.residual_start is not None
    residual = Start(batch.z if players.residual_start is None else players.residual_start, False)
    starts = [players.start, *([players.second_start] if players.second_start is not None else [])]
    ends = [players.end, *([players.second_end] if players.second_end is not None else [])]
    steps = [end - start for start, end in zip(starts, ends, strict=True)]
    z_step = batch.z - residual.vectors

    def paths(nodes: Tensor, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        a = nodes.to(z_step)
        us = [
            start[rows] + a[:, None, None, None] * step[rows]
            for start, step in zip(starts, steps, strict=True)
        ]
        return own_path(residual, batch.z, a, rows), us

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            hidden, (u, *second) = paths(nodes, rows)
            cross = GivenCrossAttention(second[0], rows, batch.tokens) if second else plain
            return finish(batch, hidden, u, rows, cross)

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        # integrand_h = (u_j^h - u_j^h(0)) . dL/du_j^h, and the same of z_j for the residual
        hidden, (u, *second) = paths(nodes, rows)
        cross = GivenCrossAttention(second[0].requires_grad_(), rows, batch.tokens) if second else None
        to_hidden, to_us = pull_back(batch, hidden, u, rows, towards, moves, cross)
        heads = [(to_u * step[rows]).sum(-1) for to_u, step in zip(to_us, steps, strict=True)]
        own = torch.zeros_like(heads[0][..., :1])
        if to_hidden is not None:
            own = (to_hidden * z_step[rows]).sum(-1, keepdim=True)
        return torch.cat([*heads, own], dim=-1)[:, :, None]

    size, count = batch.z.element_size(), sum(end.shape[1] for end in ends)
    cost, kept = size * batch.host.findings.cost, size * POINTS_HELD * (count + 1)
    return PathMap(image, pullback, cost, kept, batch.tokens, recorded_output(batch), batch.replayed_tokens)
