"""The attributions of every layer, for one example or several together."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.devices.blocks import default_budget
from ligflow.devices.free_memory import free_on_cpu
from ligflow.errors import LigflowError
from ligflow.explainer.carried_starts import at_layers
from ligflow.explainer.example import Example, Results
from ligflow.explainer.placement import Done
from ligflow.inputs.tokens import text_config
from ligflow.layer.layer import Layer
from ligflow.progress import size_in_words
from ligflow.routes.attribution import Attribution, on_cpu, with_sources
from ligflow.routes.corrections import model_attention
from ligflow.routes.explain_layer import explain_together
from ligflow.routes.workspace import Selection
from ligflow.settings import Settings


def compute(
    examples: Sequence[Example], settings: Sequence[Settings], report: Done | None = None
) -> list[list[Results]]:
    """For each of the settings, for each example, the attributions of every layer.

    Examples whose layers allow it go through each layer together; the others one by one. Raises LigflowError
    where the maps that are asked for do not fit into the memory that is free.
    """
    _check_room(examples, settings)
    carried = any(variant.carried for variant in settings)
    at = [at_layers(example, settings) if carried else None for example in examples]

    free = cache(default_budget)  # what was free when the first of the layers began

    def of_layer(index: int) -> list[Results]:
        return _of_layer(examples, [settings if own is None else own[index] for own in at], index, free)

    by_layer = examples[0].placement.compute(examples[0].layers, of_layer, report)
    return [
        [[attributions[number][n] for attributions in by_layer] for n in range(len(examples))]
        for number in range(len(settings))
    ]


def _of_layer(
    examples: Sequence[Example],
    settings: Sequence[Sequence[Settings]],
    index: int,
    free: Callable[[torch.device], int],
) -> list[Results]:
    """For each of the settings, for each example, every route of one layer; `settings` are those of each."""
    results: list[Results] = [[] for _ in settings[0]]
    layers = [example.layers[index] for example in examples]
    one_call = all(layer.findings.closed_form is not None and layer.findings.positionwise for layer in layers)
    one_call = one_call and all(own is settings[0] for own in settings)
    numbers = range(len(examples))
    for group in [numbers] if one_call else [range(number, number + 1) for number in numbers]:
        together = [examples[number] for number in group]
        selections = [example.selection for example in together]
        attributions = explain_together(
            [example.layers[index] for example in together], settings[group[0]], selections, free
        )
        for result, by_example in zip(results, attributions, strict=True):
            for example, by_route in zip(together, by_example, strict=True):
                result.append(_visible(example.layers[index], by_route, example.selection))
    return results


def _visible(layer: Layer, by_route: dict[str, Attribution], selection: Selection) -> dict[str, Attribution]:
    """Sources without padding; where they are heads, all of them. On the CPU, to make room."""
    selection, tokens = selection.on(layer.hidden.device), len(layer.hidden)

    def visible(route: str, attribution: Attribution) -> Attribution:
        if not torch.isfinite(attribution.value).all() or not torch.isfinite(attribution.total).all():
            raise LigflowError(
                f"Layer {layer.index}, {route}: the model gives NaN or infinite values on the path from "
                "its baseline; choose another baseline, or check the weights."
            )
        if route == "u2z":
            return attribution
        shown = selection.sources(route, tokens)
        hidden = _of_padding(attribution, shown)
        return with_sources(attribution, shown, hidden=hidden)

    return {route: on_cpu(visible(route, attribution)) for route, attribution in by_route.items()}


def _of_padding(
    attribution: Attribution, shown: Int[Tensor, " source"]
) -> Float[Tensor, "target scalar"] | None:
    """What sources that are padding add to the rows; None where that is rounding, as behind a mask."""
    hides = torch.ones(attribution.value.shape[-1], dtype=torch.bool, device=attribution.value.device)
    hides[shown] = False
    padding = attribution.value[..., hides]
    return padding.sum(-1) if bool((padding.abs().sum(-1) > attribution.floor).any()) else None


def attention_of(example: Example) -> Float[Tensor, "layer head target source"]:
    """The attention weights that the layers themselves have on the tokens shown, on the CPU."""

    def of_layer(number: int) -> Tensor:
        layer = example.layers[number]
        selection = example.selection.on(layer.hidden.device)
        weights = model_attention(layer, selection.targets)
        return weights[..., selection.visible].transpose(0, 1).cpu()

    return torch.stack(example.placement.compute(example.layers, of_layer, None))


def work_in_words(example: Example, routes: Iterable[str], config: Any) -> str:
    """What is to be done, `9 tokens x 6 layers, maps of 0.1 MB`."""
    layers, sources, size = len(example.layers), len(example.tokens.labels), _bytes(example, routes, config)
    return f"{sources} tokens x {layers} layers, maps of {size_in_words(size)}"


def _bytes(
    example: Example, routes: Iterable[str], config: Any, parts: bool = False, split: bool = False
) -> int:
    """What the maps of an example take, those by value, key and query and those by head too."""
    layers, targets, sources = len(example.layers), len(example.targets), len(example.tokens.labels)
    heads = (config and getattr(text_config(config), "num_attention_heads", None)) or 1
    heads = max(heads) if isinstance(heads, (list, tuple)) else heads  # one number for each stage
    by_route = {"z2u": heads * (4 if parts else 1), "z2z": 1 + (2 * heads if split else 0)}
    maps = sum(by_route.get(route, 0) for route in routes)
    return layers * targets * sources * maps * example.layers[0].hidden.element_size()


def _check_room(examples: Sequence[Example], settings: Sequence[Settings]) -> None:
    """Raises LigflowError for maps that do not fit, which are held twice as they are joined."""
    config = getattr(examples[0].placement.model, "config", None)
    needed = sum(
        _bytes(example, variant.routes, config, variant.parts, variant.split)
        for example in examples
        for variant in settings
    )
    if 2 * needed > (free := free_on_cpu()):
        longest = max(len(example.tokens.labels) for example in examples)
        raise LigflowError(
            f"The maps take {size_in_words(needed)} at {longest} tokens, twice that while they are joined; "
            f"{size_in_words(free)} of the memory are free. Ask for fewer targets (targets=[-1]), layers "
            "(layers=[0]) or routes (routes=('z2z',))."
        )
