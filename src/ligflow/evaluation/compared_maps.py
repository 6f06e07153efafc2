"""The maps of one layer that checks compare: the engine's, and those of brute-force autograd."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ligflow.layer.experts import has_experts
from ligflow.layer.layer import Layer
from ligflow.method.baselines import Baseline, Itb, Zero
from ligflow.method.head_baselines import Matched
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.batch import alone, frozen
from ligflow.routes import autograd
from ligflow.routes.attribution import Attribution
from ligflow.routes.double_precision import double_workspace, starts_flat
from ligflow.routes.e2u import e2u_map
from ligflow.routes.integration import attribute
from ligflow.routes.path_map import PathMap
from ligflow.routes.players import players_of
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.routes.z2z import z2z_from, z2z_map
from ligflow.settings import Settings

NODES = Fixed("gauss-legendre:4")


def engine_and_autograd(
    layer: Layer, baseline: Baseline, tokens: Selection
) -> Iterator[tuple[str, PathMap, PathMap]]:
    """Every route of a split or coupled layer, by the engine and by autograd through its module."""
    if layer.mode == "whole":
        return
    work = Workspace(alone(layer), (tokens,))
    yield from _pairs_with_memory(work, baseline) if layer.findings.memory else _whole(work, baseline)
    if layer.mode == "split":
        work_of_z2u = double_workspace(work) if starts_flat(work, baseline) else work
        start = work_of_z2u.path(baseline).start
        oracle = autograd.z2u_in_double if starts_flat(work, baseline) else autograd.z2u
        yield "z2u", z2u_from(work_of_z2u, baseline), oracle(layer, start)
    players = players_of(work, Settings(mlp_baseline=Matched(), att_baseline=baseline))
    yield "u2z", u2z_map(work.batch, players), autograd.u2z(layer, players)


def _whole(work: Workspace, baseline: Baseline) -> Iterator[tuple[str, PathMap, PathMap]]:
    (layer,), (tokens,) = work.batch.layers, work.selections
    if layer.mode == "split":  # where the engine is autograd itself
        start = baseline.start(layer.hidden, tokens.visible)
        yield "z2z", z2z_from(work, baseline), autograd.z2z(layer, start)


def _pairs_with_memory(work: Workspace, baseline: Baseline) -> Iterator[tuple[str, PathMap, PathMap]]:
    """Routes in which the encoder's tokens move, from 0: so that nothing starts flat."""
    (layer,), (tokens,) = work.batch.layers, work.selections
    cross = work.cross(Zero())
    if cross is None:
        return
    start = baseline.start(layer.hidden, tokens.visible)
    yield "z2z", z2z_map(work.path(baseline), cross), autograd.z2z(layer, start, cross.start)
    yield "e2u", e2u_map(cross), autograd.e2u(layer, cross.start)


def largest_gap(
    engine: PathMap, oracle: PathMap, tokens: Selection, limit: float, dtype: torch.dtype
) -> float:
    """The largest `|ours - theirs| / scale` of a cell; ten machine epsilons of the layer's values pass."""
    ours = attribute(engine, tokens.targets, L2(), NODES)
    theirs = attribute(oracle, tokens.targets, L2(), NODES)
    floor = theirs.floor * (torch.finfo(dtype).eps / torch.finfo(theirs.floor.dtype).eps)
    scale = theirs.scale.clamp(min=floor / 100 / limit)
    return float(((ours.value - theirs.value).abs().amax(-1) / scale).max())


def errors_of_cells(ours: Attribution, exact: Attribution) -> Tensor:
    """Errors of cells, `|ours - exact| / scale` of the row, where both rules say that they hold."""
    both = ours.met & exact.met
    return ((ours.value - exact.value).abs() / ours.scale[..., None])[both]


def default_maps(layer: Layer, tokens: Selection, hold: bool = False) -> dict[str, PathMap]:
    """The routes of a layer under default settings; with `hold` its experts are those of the real input."""
    start, sentence = Itb().start(layer.hidden, tokens.visible), alone(layer)
    if hold and has_experts(layer):
        sentence = frozen(sentence)
    if layer.mode == "whole":
        return {"z2z": autograd.z2z(layer, start, held=sentence.held)}
    work = Workspace(sentence, (tokens,))
    cross = work.cross(Zero())
    found = {"z2u": z2u_from(work, Itb()), "z2z": z2z_from(work, Itb(), cross)}
    found["u2z"] = u2z_map(work.batch, players_of(work, Settings()))
    return found if cross is None else found | {"e2u": e2u_map(cross)}


def place_of_jump(route: PathMap, target: Tensor, least: float) -> str:
    """Where the image jumps by more than `least` on its path: its largest step stays, however short."""
    first, last = 0.0, 1.0
    while last - first > 1e-6:
        nodes = torch.linspace(first, last, 9, dtype=torch.float64, device=target.device)
        image = route.image(nodes.to(torch.float32), target[None]).flatten(1)
        steps = (image[1:] - image[:-1]).norm(dim=-1)
        number = int(steps.argmax())
        first, last, left = float(nodes[number]), float(nodes[number + 1]), float(steps[number])
    return f"; it jumps at {last:.3f} of the path of token {int(target)}" if left > least else ""
