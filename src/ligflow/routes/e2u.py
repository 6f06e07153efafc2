"""e2u: a decoder's second attention, from the encoder's tokens e_m to each head's context vector u_j^h."""

import torch
from torch import Tensor

from ligflow.method.baselines import Baseline
from ligflow.paths.after_attention import Cotangent
from ligflow.paths.cross_attention import CrossPath, cross_image, cross_part_integrands, cross_pullback
from ligflow.routes.attribution import Attribution, in_single
from ligflow.routes.double_precision import attribute_in_double, has_wider
from ligflow.routes.explain_map import explain_map
from ligflow.routes.parts import by_source, in_parts
from ligflow.routes.path_map import POINTS_HELD, PathMap
from ligflow.routes.workspace import Workspace, key_of_settings
from ligflow.settings import Settings


def explain_e2u(work: Workspace, settings: Settings) -> Attribution:
    """e2u, `{e_m} -> u_j^h`: the second attention, in float64 where there is one.

    From the mean of its memory u starts flat, which float32 does not resolve.
    """
    baseline = settings.encoder_baseline
    build = e2u_parts_from if settings.parts else e2u_from

    def integrated() -> Attribution:
        if not has_wider(work):
            return explain_map(build(work, baseline), settings, work, "z2u")
        return in_single(attribute_in_double(lambda space: build(space, baseline), settings, work, "z2u"))

    def run() -> Attribution:
        return by_source(integrated(), None) if settings.parts else integrated()

    return work.once(("e2u", *key_of_settings(settings, "z2u", baseline)), run)


def e2u_from(work: Workspace, baseline: Baseline) -> PathMap:
    """`u_j^h(a)` of the second attention from a baseline of its memory."""
    path = work.cross(baseline)
    assert path is not None  # only layers with a memory are asked
    return e2u_map(path)


def e2u_parts_from(work: Workspace, baseline: Baseline) -> PathMap:
    """The same by value and key of the encoder's tokens; the targets' queries stay, and have no part."""
    path = work.cross(baseline)
    assert path is not None
    return e2u_parts_map(path)


def e2u_parts_map(path: CrossPath) -> PathMap:
    """`{e_m} -> u_j^h` by value, key and query."""

    def integrands(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        return cross_part_integrands(path, nodes, rows, towards)

    return in_parts(e2u_map(path), integrands)


def e2u_map(path: CrossPath) -> PathMap:
    """`{e_m} -> u_j^h` along the memory's path, its queries held; sources are the encoder's tokens."""

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return cross_image(path, nodes.to(path.start), rows)

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        with torch.no_grad():
            return cross_pullback(path, nodes, rows, towards)

    heads, size = path.query.shape[1], path.start.element_size()
    cost = heads * (12 * path.tokens + 8 * path.query.shape[3])
    return PathMap(image, pullback, size * cost, size * POINTS_HELD * heads * path.tokens)
