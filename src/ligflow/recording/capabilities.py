"""What makes a layer fast: what may be left out, packed or computed in closed form, each checked."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.layer import Layer
from ligflow.layer.projections import ClosedForm
from ligflow.layer.rotary_probe import rotation_of
from ligflow.recording.recognition import projections_of, recognise
from ligflow.recording.tolerances import gap, max_token_error, rounding, tolerance

_FEWEST = 4  # tokens: with fewer, one of another number might pass for a broadcast


@dataclass(frozen=True, eq=False)
class _Trial:
    """Two examples on which capabilities are tried, computed once."""

    hidden: Float[Tensor, "example token dim"]
    u: Float[Tensor, "example token head value_dim"]
    output: Float[Tensor, "example token dim"]


def equipped(layer: Layer) -> Layer:
    """The layer with what may be left out, packed or computed in closed form, each checked."""
    findings = {"cost": _cost(layer), "repeats": _repeats(layer)}
    trial = _trial(layer)
    if layer.mode == "coupled":
        return layer.with_findings(**findings, positionwise=_is_positionwise(layer, trial))
    projections = projections_of(layer)
    if not _unused(layer, projections, trial):
        projections = {}
    positionwise = not layer.findings.memory and _is_positionwise(layer, trial)
    layer = layer.with_findings(**findings, positionwise=positionwise, projections=projections)
    layer = layer.with_findings(any_length=positionwise and _takes_any_length(layer, trial))
    if layer.findings.shared_keys:
        return layer.with_findings(no_closed_form="its keys and values are made by another layer")
    form = _recognised(layer, projections)
    if isinstance(form, str):
        return layer.with_findings(no_closed_form=form)
    return layer.with_findings(closed_form=form)


def _recognised(layer: Layer, projections: Mapping[nn.Module, int]) -> ClosedForm | str:
    """The closed form, or why there is none: a part that cannot be called on other vectors is one reason."""
    try:
        return recognise(layer, projections)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        said = str(error).partition("\n")[0]
        return f"its projections cannot be tried on other vectors ({type(error).__name__}: {said})"


def is_rotated(layer: Layer) -> bool:
    """Whether positions do to the layer's keys what its closed form says, where it has one."""
    try:
        if layer.findings.closed_form is not None:
            rotation_of(layer, layer.findings.closed_form)
    except ValueError:
        return False
    return True


def _repeats(layer: Layer) -> bool:
    again = layer.finish(layer.hidden[None], layer.attend(layer.hidden[None]))[0]
    return gap(again, layer.output) <= tolerance(again) / 300


def _unused(layer: Layer, projections: Mapping[nn.Module, int], trial: _Trial) -> bool:
    """Whether nothing but attention takes these projections."""
    hidden, u = trial.hidden, trial.u
    try:
        without = layer.with_findings(projections=projections).finish(hidden, u)
    except (RuntimeError, ValueError, TypeError):
        return False
    return max_token_error(without, trial.output) <= rounding(u)


def _is_positionwise(layer: Layer, trial: _Trial) -> bool:
    """Whether tokens may change places after attention, and stand beside any others.

    Alike ones too: experts may have a capacity, which many tokens with one expert exceed.
    """
    hidden, u, own = trial.hidden, trial.u, trial.output
    turned = layer.finish(hidden.flip(1), u.flip(1)).flip(1)
    alike = layer.finish(hidden[:, :1].expand_as(hidden), u[:, :1].expand_as(u))
    return max(max_token_error(turned, own), max_token_error(alike, own[:, :1].expand_as(own))) <= rounding(u)


def _takes_any_length(layer: Layer, trial: _Trial) -> bool:
    """Whether what follows attention runs on fewer tokens than the layer was recorded with."""
    tokens, found = len(layer.hidden), layer.findings
    if tokens < _FEWEST or found.windows or found.tiled or found.one_by_one:
        return False
    hidden, u, own = trial.hidden, trial.u, trial.output
    try:
        parts = [layer.finish(hidden[:, :count], u[:, :count]) for count in (2, tokens - 1)]
    except (RuntimeError, ValueError, TypeError, IndexError):  # e.g. as many rotary embeddings as tokens
        return False
    return all(
        part.shape[1] < tokens and max_token_error(part, own[:, : part.shape[1]]) <= rounding(u)
        for part in parts
    )


def _trial(layer: Layer) -> _Trial:
    """Hidden states, attention outputs that do not follow from them, and what the layer makes of both."""
    other = layer.hidden.roll(1, 0) - layer.hidden / 2 + uneven(layer.hidden)
    hidden = torch.stack([layer.hidden, other])
    u = layer.attend(hidden).flip(0)
    return _Trial(hidden, u, layer.finish(hidden, u))


def uneven(hidden: Float[Tensor, "token dim"]) -> Float[Tensor, "token dim"]:
    """A change of each token in a direction of its own, as large as it is, also where all are alike."""
    places = torch.arange(1, hidden.numel() + 1, device="cpu", dtype=torch.float64)
    size = hidden.abs() + hidden.abs().mean(-1, keepdim=True)
    return torch.cos(places.square()).view_as(hidden).to(hidden) * torch.where(size > 0, size, 1) / 2


def _cost(layer: Layer) -> int:
    """Numbers that a token keeps for the way back after attention, and as many again on the way."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return (
            tensor.detach()
        )  # an output that its own step keeps would hold itself, and the weights, for ever

    weights = {p.untyped_storage().data_ptr() for p in layer.module.parameters()}
    u = layer.attend(layer.hidden[None]).requires_grad_()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer.finish(layer.hidden[None], u)
    held = sum(size for place, size in kept.items() if place not in weights)
    return 2 * held // u.element_size() // len(layer.hidden) + 20 * layer.hidden.shape[1]
