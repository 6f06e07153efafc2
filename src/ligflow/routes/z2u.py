"""z2u: attention alone, from the tokens z_k to each head's context vector u_j^h.

The paper's `z -> u` [suzuki2026].
"""

import torch
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.method.baselines import Baseline
from ligflow.paths.after_attention import Cotangent
from ligflow.paths.attention_path import AttentionPath
from ligflow.routes import autograd
from ligflow.routes.attribution import Attribution
from ligflow.routes.corrections import with_correction
from ligflow.routes.double_precision import attribute_precisely, double_workspace, starts_flat
from ligflow.routes.parts import by_source, in_parts
from ligflow.routes.path_map import POINTS_HELD, PathMap, with_own
from ligflow.routes.workspace import Workspace, key_of_settings
from ligflow.settings import Settings


def explain_z2u(work: Workspace, settings: Settings) -> Attribution:
    """z2u, `{z_k} -> u_j^h`, of all targets as the settings say, corrected where their baseline is a ratio.

    Attention as a map from a layer's token vectors to a head's output at one token [suzuki2026].
    """

    build = z2u_parts_from if settings.parts else z2u_from

    def integrated(baseline: Baseline) -> Attribution:
        attribution = attribute_precisely(lambda space: build(space, baseline), baseline, work, settings)
        return by_source(attribution, work.batch.columns(work.rows)) if settings.parts else attribution

    def run(baseline: Baseline) -> Attribution:
        key = ("z2u", *key_of_settings(settings, "z2u", baseline))
        return work.once(key, lambda: integrated(baseline))

    return with_correction(run, settings.att_baseline, work)


def z2u_from(work: Workspace, baseline: Baseline) -> PathMap:
    """`u_j^h(a)` of attention alone from a baseline; by plain autograd where it is one map of all tokens."""
    layer = work.batch.layers[0]
    if layer.mode == "coupled":
        return autograd.z2u(layer, work.start(baseline))
    return z2u_map(work.path(baseline))


def z2u_parts_from(work: Workspace, baseline: Baseline) -> PathMap:
    """The same by value, key and query; raises UnsupportedModel where attention is one map of all tokens."""
    layer = work.batch.layers[0]
    if layer.mode != "split":
        raise UnsupportedModel(
            f"Layer {layer.index} has no parts by value, key and query: {layer.findings.reason}. Leave "
            "parts out, or choose other layers."
        )
    return z2u_parts_map(work.path(baseline))


def z2u_as_integrated(work: Workspace, baseline: Baseline, parts: bool = False) -> PathMap:
    """z2u as it is integrated: on a float64 copy of the layer where it starts flat."""
    build = z2u_parts_from if parts else z2u_from
    return build(double_workspace(work) if starts_flat(work, baseline) else work, baseline)


def z2u_parts_map(path: AttentionPath) -> PathMap:
    """`{z_k} -> u_j^h` by value, key and query."""

    def integrands(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        attention = path.moving(nodes, rows)
        return attention.part_integrands(towards(attention.u))

    return in_parts(z2u_map(path), integrands)


def z2u_map(path: AttentionPath) -> PathMap:
    """`{z_k} -> u_j^h` along a path of attention, one scalar a head; sources are tokens."""

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return path.at(nodes, rows)

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            attention = path.moving(nodes, rows)
            sources, own = attention.source_integrands(towards(attention.u))
            return with_own(sources, own, path.batch.columns(rows))

    tokens, size = path.batch.tokens, path.batch.z.element_size()
    return PathMap(image, pullback, size * path.cost, size * POINTS_HELD * path.heads * tokens)
