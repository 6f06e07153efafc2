"""Every route of one layer ([suzuki2026]): settings in, attributions out."""

from collections.abc import Callable, Sequence

import torch

from ligflow.devices.blocks import default_budget
from ligflow.errors import LigflowError
from ligflow.layer.layer import Layer
from ligflow.paths.batch import frozen, together
from ligflow.routes.attribution import Attribution, of_each, with_sources
from ligflow.routes.e2u import explain_e2u
from ligflow.routes.players import players_of
from ligflow.routes.u2z import explain_u2z, u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import explain_z2u, z2u_as_integrated
from ligflow.routes.z2z import explain_z2z, z2z_by_head_from, z2z_from
from ligflow.settings import Settings

_EXPLAIN = {"z2u": explain_z2u, "u2z": explain_u2z, "z2z": explain_z2z}


def explain_layer(layer: Layer, settings: Settings, tokens: Selection) -> dict[str, Attribution]:
    """Every route of the settings, as attributions over all sources of the layer (padding included).

    Raises LigflowError for settings that the layer cannot serve.
    """
    return explain_together([layer], [settings], [tokens])[0][0]


def explain_together(
    layers: Sequence[Layer],
    settings: Sequence[Settings],
    tokens: Sequence[Selection],
    free: Callable[[torch.device], int] = default_budget,
) -> list[list[dict[str, Attribution]]]:
    """One layer on several sentences: for each of the settings, for each sentence, every route.

    What settings have in common is computed once; `free` says how many bytes blocks of work may take. Raises
    LigflowError for settings that the layer cannot serve.
    """
    batch = together(layers)
    selections = tuple(selection.on(layers[0].hidden.device) for selection in tokens)
    works = {
        experts: Workspace(frozen(batch) if experts == "frozen" else batch, selections, free=free)
        for experts in dict.fromkeys(variant.experts for variant in settings)
    }
    return [_by_sentence(works[variant.experts], variant) for variant in settings]


def _by_sentence(work: Workspace, settings: Settings) -> list[dict[str, Attribution]]:
    _check_encoder_baseline(work, settings)
    _check_budget(work, settings)
    routes = {route: _EXPLAIN[route](work, settings) for route in settings.routes}
    if "z2u" in routes and work.batch.layers[0].findings.memory and work.selections[0].memory is not None:
        routes["e2u"] = explain_e2u(work, settings)
    return [_of_sentence(routes, work, number) for number in range(len(work.selections))]


def _of_sentence(routes: dict[str, Attribution], work: Workspace, number: int) -> dict[str, Attribution]:
    if len(work.selections) == 1:
        return routes
    rows, tokens = work.owner == number, len(work.batch.layers[number].hidden)
    own = {route: of_each(every, lambda part: part[rows]) for route, every in routes.items()}
    return {
        route: rows_ if route == "u2z" else with_sources(rows_, slice(tokens)) for route, rows_ in own.items()
    }


def _check_encoder_baseline(work: Workspace, settings: Settings) -> None:
    """Raises LigflowError for a start of the encoder's tokens where they are no sources."""
    chosen = settings.encoder_baseline != Settings.encoder_baseline
    if chosen and any(selection.memory is None for selection in work.selections):
        raise LigflowError(
            f"encoder_baseline does nothing in layer {work.batch.layers[0].index}: the tokens of an "
            "encoder are no sources here. Leave it out, or explain a decoder: Explainer(model, stack=...)."
        )


def _check_budget(work: Workspace, settings: Settings) -> None:
    """Raises LigflowError, with the least that works, for a budget under one target at one point."""
    budget, layer = settings.memory_budget, work.batch.layers[0]
    if budget is None or layer.mode == "whole":
        return
    maps = {
        "z2u": lambda: z2u_as_integrated(work, settings.att_baseline.path, settings.parts),
        "u2z": lambda: u2z_map(work.batch, players_of(work, settings)),
        "z2z": lambda: (z2z_by_head_from if settings.split else z2z_from)(work, settings.layer_baseline.path),
    }
    least = max(maps[route]().least_budget for route in settings.routes)
    if budget < least:
        raise LigflowError(
            f"memory_budget is {budget} bytes, and one target at one point of its path takes {least} in "
            f"layer {layer.index}. Give at least that, or explain a shorter text."
        )
