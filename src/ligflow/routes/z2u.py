"""z2u: attention alone, from the tokens z_k to each head's context vector u_j^h."""

import torch
from torch import Tensor

from ligflow.method.baselines import Baseline
from ligflow.paths.after_attention import Cotangent
from ligflow.paths.attention_path import AttentionPath
from ligflow.routes import autograd
from ligflow.routes.attribution import Attribution
from ligflow.routes.corrections import with_correction
from ligflow.routes.double_precision import attribute_precisely, double_workspace, starts_flat
from ligflow.routes.path_map import POINTS_HELD, PathMap, with_own
from ligflow.routes.workspace import Workspace, key_of_settings
from ligflow.settings import Settings


def explain_z2u(work: Workspace, settings: Settings) -> Attribution:
    """z2u, `{z_k} -> u_j^h`, of all targets as the settings say, corrected where their baseline is a ratio.

    Attention as a map from a layer's token vectors to a head's output at one token [suzuki2026].
    """

    def run(baseline: Baseline) -> Attribution:
        return work.once(
            ("z2u", *key_of_settings(settings, "z2u", baseline)),
            lambda: attribute_precisely(lambda space: z2u_from(space, baseline), baseline, work, settings),
        )

    return with_correction(run, settings.att_baseline, work)


def z2u_from(work: Workspace, baseline: Baseline) -> PathMap:
    """`u_j^h(a)` of attention alone from a baseline; by plain autograd where it is one map of all tokens."""
    layer = work.batch.layers[0]
    if layer.mode == "coupled":
        return autograd.z2u(layer, work.start(baseline))
    return z2u_map(work.path(baseline))


def z2u_as_integrated(work: Workspace, baseline: Baseline) -> PathMap:
    """z2u as it is integrated: on a float64 copy of the layer where it starts flat."""
    return z2u_from(double_workspace(work) if starts_flat(work, baseline) else work, baseline)


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
