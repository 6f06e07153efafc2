"""Starts that are carried through the layers: a layer starts at what the one before makes of its start.

    z_0(0) as the baseline says,     z_{l+1}(0) = F_l(z_l(0))

so that the change which layer l shares out, `F_l(z_l) - F_l(z_l(0))`, is the change `z_{l+1} - z_{l+1}(0)`
whose effect the layer above shares out. The layers' other arguments are those of the real input.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.explainer.example import Example
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Baseline, Vectors
from ligflow.recording.tolerances import max_token_error, tolerance
from ligflow.settings import Settings


def at_layers(example: Example, settings: Sequence[Settings]) -> list[list[Settings]]:
    """The settings at each layer of an example: with carried starts, with the start that arrives there."""
    starts: dict[Baseline, list[Tensor]] = {}
    for variant in settings:
        for baseline in carried_baselines(variant):
            if baseline not in starts:
                starts[baseline] = carried_starts(example, baseline)
    return [
        [
            _at(variant, {of: _arrived(of, every, number) for of, every in starts.items()})
            for variant in settings
        ]
        for number in range(len(example.layers))
    ]


def carried_baselines(settings: Settings) -> list[Baseline]:
    """The baselines of the routes whose starts are carried, none where they are not."""
    heads = any(route in settings.routes for route in ("z2u", "u2z"))
    both = [settings.att_baseline] * heads + [settings.layer_baseline] * ("z2z" in settings.routes)
    return both if settings.carried else []


def _arrived(baseline: Baseline, starts: Sequence[Tensor], number: int) -> Baseline:
    """The baseline itself at the first layer, which may know more of its start than the vectors."""
    return Vectors(starts[number]) if number else baseline


def _at(settings: Settings, starts: dict[Baseline, Baseline]) -> Settings:
    if not settings.carried:
        return settings
    return replace(
        settings,
        att_baseline=starts.get(settings.att_baseline, settings.att_baseline),
        layer_baseline=starts.get(settings.layer_baseline, settings.layer_baseline),
        carried=False,
    )


def carried_starts(example: Example, baseline: Baseline) -> list[Float[Tensor, "token dim"]]:
    """Where the tokens that are shown start, layer by layer.

    Raises LigflowError unless the layers follow each other, UnsupportedModel where a model changes hidden
    states between layers.
    """
    layers, visible = example.layers, example.selection.visible
    numbers = [layer.index for layer in layers]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise LigflowError(
            f"Starts are carried from layer to layer, and these layers do not follow each other: "
            f"{', '.join(map(str, numbers))}. Explain all of {min(numbers)} to {max(numbers)}."
        )
    starts: list[Tensor] = []
    arriving: list[Tensor] = []

    def through(number: int) -> None:
        layer = layers[number]
        here = visible.to(layer.hidden.device)
        if not number:
            arriving[:] = [baseline.start(layer.hidden, here).vectors]
        elif max_token_error(layers[number - 1].output.to(layer.hidden), layer.hidden) > tolerance(
            layer.hidden
        ):
            raise UnsupportedModel(
                f"Starts cannot be carried to layer {layer.index}: between it and the layer before, the "
                "model changes the hidden states."
            )
        start = arriving[0].to(layer.hidden)
        starts.append(start[here])
        with prepared(example.placement.model, layer.implementation), torch.no_grad():
            arriving[:] = [layer.forward(start[None])[0]]

    example.placement.in_turn(layers, through)
    return starts
