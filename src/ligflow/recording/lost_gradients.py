"""Parts of a layer through which no gradient comes back, though what they give follows what they take."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ligflow.errors import UnsupportedModel
from ligflow.layer.layer import Layer

_SCALED = 1.5
_MOVED = 1e-3


def part_without_gradient(layer: Layer) -> str:
    """The first part of a layer that loses the gradient, '' if none does.

    Kernels for packed weights may have none. The residual around them has one, so that autograd raises no
    error and gives zeros.
    """
    lost: list[str] = []
    handles = [
        part.register_forward_hook(_noting(name, lost), with_kwargs=True)
        for name, part in layer.module.named_modules()
    ]
    try:
        with torch.enable_grad():
            layer.forward(layer.hidden.detach()[None].requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    return lost[0] if lost else ""


def _noting(name: str, lost: list[str]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not torch.is_grad_enabled():  # switched off by the model, e.g. where it only ranks
            return
        taken = args[0] if args else None
        if not isinstance(taken, Tensor) or not isinstance(output, Tensor) or not taken.requires_grad:
            return
        if output.is_floating_point() and not output.requires_grad and _follows(module, args, kwargs):
            lost.append(f"{name} ({type(module).__name__})")

    return hook


def _follows(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a larger input gives another output; one that is read for its shape, or ranked, does not."""
    with torch.no_grad():
        taken, *others = args
        own, other = (module(factor * taken.detach(), *others, **kwargs) for factor in (1, _SCALED))
    return bool((other - own).norm() > _MOVED * own.norm())


def refuse_no_gradient(layer: Layer) -> None:
    """A layer must let its output be differentiated: nothing that is needed for it may be overwritten."""
    hidden = layer.hidden.detach()[None].requires_grad_()
    try:
        with torch.enable_grad():
            torch.autograd.grad(layer.forward(hidden).sum(), hidden)
    except RuntimeError as error:
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__}) cannot be differentiated: "
            f"{str(error).splitlines()[0]}"
        ) from error


def refuse_lost_gradient(layer: Layer) -> None:
    """A layer with a part that has no gradient would have maps that leave out what goes through it."""
    lost = part_without_gradient(layer)
    if lost:
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__}) cannot be explained: no "
            f"gradient comes back through {lost}. If a quantisation packs its weights, load it without."
        )
