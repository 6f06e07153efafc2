"""z2z: the whole layer, from the tokens z_k (and the encoder's e_m) to the target's output z'_j.

The paper's `z -> z` [suzuki2026].
"""

from dataclasses import replace

import torch
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.layer.interface import plain
from ligflow.layer.mlp import mlp_modules
from ligflow.method.baselines import Baseline, own_path
from ligflow.paths.after_attention import Cotangent, finish, pull_back, pull_back_by_mlp
from ligflow.paths.attention_path import AttentionOnPath, AttentionPath
from ligflow.paths.batch import recorded_output
from ligflow.paths.cross_attention import CrossPath, MovingCrossAttention
from ligflow.routes import autograd
from ligflow.routes.attribution import Attribution, in_single
from ligflow.routes.by_head import HeadAxes
from ligflow.routes.corrections import with_correction
from ligflow.routes.double_precision import attribute_in_double, starts_flat
from ligflow.routes.explain_map import explain_map
from ligflow.routes.path_map import POINTS_HELD, PathMap, with_own
from ligflow.routes.workspace import Workspace, key_of_settings, key_of_start
from ligflow.settings import Settings


def explain_z2z(work: Workspace, settings: Settings) -> Attribution:
    """z2z, `{z_k} -> z'_j`, of all targets as the settings say, corrected where their baseline is a ratio.

    The whole layer as one map of its token vectors [suzuki2026].
    """

    def run(baseline: Baseline) -> Attribution:
        key = key_of_start(work, settings, baseline), *key_of_settings(settings, "z2z", baseline)
        return work.once(("z2z", *key), lambda: _attribute(baseline, settings, work))

    return with_correction(run, settings.layer_baseline, work)


def _attribute(baseline: Baseline, settings: Settings, work: Workspace) -> Attribution:
    layer, encoder = work.batch.layers[0], settings.encoder_baseline
    build = z2z_by_head_from if settings.split else z2z_from
    if layer.mode == "whole" and not settings.split:
        return explain_map(_by_autograd(work, baseline, encoder), settings, work, "z2z")
    if layer.findings.memory and starts_flat(work, encoder):
        # what the memory adds to a target starts flat where it starts at its mean
        attribution = attribute_in_double(
            lambda space: build(space, baseline, space.cross(encoder)), settings, work, "z2z"
        )
        return in_single(attribution)
    start = key_of_start(work, settings, baseline)
    route = build(work, baseline, work.cross(encoder))
    return explain_map(route, settings, work, "z2z", start=start)


def _by_autograd(work: Workspace, baseline: Baseline, encoder_baseline: Baseline) -> PathMap:
    """The whole layer as it is, from baselines of its tokens and of its memory."""
    layer, selection = work.batch.layers[0], work.selections[0]
    start, memory = baseline.start(layer.hidden, selection.visible), None
    if selection.memory is not None:
        memory = encoder_baseline.start(layer.encoded, selection.memory).vectors
    return autograd.z2z(layer, start, memory, work.batch.held)


def z2z_from(work: Workspace, baseline: Baseline, cross: CrossPath | None = None) -> PathMap:
    """`z'_j(a)` of the whole layer; by plain autograd where its attention is one map of all tokens."""
    layer = work.batch.layers[0]
    if layer.mode == "coupled":
        return autograd.z2z(layer, work.start(baseline), held=work.batch.held)
    return z2z_map(work.path(baseline), cross)


def z2z_by_head_from(work: Workspace, baseline: Baseline, cross: CrossPath | None = None) -> PathMap:
    """The same by head, through the MLP and beside it.

    Raises UnsupportedModel where attention is one map of all tokens or cannot be taken out of the layer.
    """
    layer = work.batch.layers[0]
    if layer.mode != "split":
        raise UnsupportedModel(
            f"Layer {layer.index} has no z2z by head, which is plain autograd there: "
            f"{layer.findings.reason}. Leave split out, or choose other layers."
        )
    return z2z_by_head_map(work.path(baseline), cross)


def z2z_map(path: AttentionPath, cross: CrossPath | None = None) -> PathMap:
    """`{z_k} -> z'_j` along a path of attention, the layer split there; sources are tokens.

    With a second attention, `{z_k}, {e_m} -> z'_j`: sources are tokens, then those of the encoder.
    """
    batch, start = path.batch, path.start

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            own = own_path(start, batch.z, nodes.to(batch.z), rows)
            second = plain if cross is None else MovingCrossAttention(cross, nodes.to(batch.z))
            return finish(batch, own, path.at(nodes, rows), rows, second)

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        # Source k moves z'_j through its key and value; the target's own stream also through its query and
        # the residual. With g_u = dL/du_j from one backward pass behind attention,
        #     integrand_k = sum_h integrand_k^h(g_u)    and at k = j also  sum_h own^h(g_u) + dL/dz_j . step_j
        with torch.no_grad():
            attention = path.moving(nodes, rows)
        own = own_path(start, batch.z, nodes, rows)
        second = None if cross is None else MovingCrossAttention(cross, nodes)
        to_hidden, (to_u, *to_second) = pull_back(
            batch, own, attention.u, rows, towards, not start.per_target, second
        )
        with torch.no_grad():
            sources, through_query = attention.source_integrands(to_u)
            sources = sources.sum(dim=2)
            diagonal = None if through_query is None else through_query.sum(dim=2)
            if to_hidden is not None:
                residual = (to_hidden * (batch.z - start.vectors)[rows]).sum(-1)
                diagonal = residual if diagonal is None else diagonal + residual
            sources = with_own(sources, diagonal, batch.columns(rows))
            if second is not None:
                sources = torch.cat([sources, second.source_integrands(*to_second)[:, rows]], dim=-1)
            return sources[:, :, None]

    size, tokens = batch.z.element_size(), batch.tokens
    cost, more = size * (path.cost + batch.host.findings.cost), 0 if cross is None else cross.tokens
    kept = size * POINTS_HELD * (tokens + more)
    return PathMap(image, pullback, cost, kept, tokens, recorded_output(batch), batch.replayed_tokens)


def z2z_by_head_map(path: AttentionPath, cross: CrossPath | None = None) -> PathMap:
    """`{z_k} -> z'_j` by head, through the MLP and beside it: `z2z_map` with its sums kept apart."""
    batch, start, whole = path.batch, path.start, z2z_map(path, cross)
    mlp = mlp_modules(batch.host)
    second_heads, memory = (0, 0) if cross is None else (cross.query.shape[1], cross.tokens)
    axes = HeadAxes(path.heads, batch.tokens, second_heads, memory, looks=not start.per_target)

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            attention = path.moving(nodes, rows)
        own = own_path(start, batch.z, nodes, rows)
        second = None if cross is None else MovingCrossAttention(cross, nodes)
        both = pull_back_by_mlp(batch, own, attention.u, rows, towards, not start.per_target, mlp, second)
        with torch.no_grad():
            tokens = torch.stack([of_tokens(attention, rows, to_hidden, us[0]) for to_hidden, us in both], 2)
            parts = [tokens.flatten(2)]
            if second is not None:
                memory = torch.stack([second.head_integrands(us[1])[:, :, rows] for _, us in both], 1)
                parts.append(memory.movedim(3, 1).flatten(2))
            return torch.cat(parts, dim=-1)[:, :, None]

    def of_tokens(attention: AttentionOnPath, rows: Tensor, to_hidden: Tensor | None, to_u: Tensor) -> Tensor:
        """The heads' parts of one way through the layer, and what passes attention, by source."""
        sources, through_query = attention.source_integrands(to_u)
        sources = with_own(sources, through_query, batch.columns(rows))
        residual = torch.zeros_like(sources[:, :, :1])
        if to_hidden is None:
            return torch.cat([sources, residual], dim=2)
        passed = (to_hidden * (batch.z - start.vectors)[rows]).sum(-1)
        return torch.cat([sources, with_own(residual, passed[..., None], batch.columns(rows))], dim=2)

    size = batch.z.element_size()
    return replace(
        whole,
        pullback=pullback,
        pair_bytes=2 * whole.pair_bytes + 3 * size * axes.size,
        target_bytes=size * POINTS_HELD * axes.size,
        axes=axes,
    )
