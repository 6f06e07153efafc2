"""What positions do to the queries and keys of a layer, found by probing."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ligflow.layer.arguments import flat_tensors
from ligflow.layer.interface import Captured
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import replaced_outputs
from ligflow.layer.projections import ClosedForm
from ligflow.method.rotary import Rotation, fit_rotation

_PROBES = 8


def rotation_of(layer: Layer, closed_form: ClosedForm) -> Rotation | None:
    """What positions do to this layer's keys; None if nothing.

    Raises ValueError where it is no rotation of pairs of entries.
    """
    tokens, tables = len(layer.hidden), _tables(layer)
    known, rotation = closed_form.rotations.get(tokens, ([], None))
    if tokens not in closed_form.rotations or not _same(known, tables):
        rotation = _probe(layer, closed_form.probed)
        closed_form.rotations[tokens] = (tables, rotation)
    return rotation


def random_like(hidden: Tensor) -> Tensor:
    """Random token vectors of the same size as those of the layer."""
    noise = random_noise(hidden.shape, 0).to(hidden)
    return noise * hidden.square().mean(dim=-1, keepdim=True).sqrt()


def _probe(layer: Layer, probed: Mapping[nn.Module, int]) -> Rotation | None:
    """Random outputs of the probed modules, the same at every position, show what positions do to them."""
    captured = _probed(layer, probed)
    if not _same_everywhere(captured.value):
        raise ValueError("its values depend on their position")
    key = captured.key
    if not probed or _same_everywhere(key):
        return None
    rotation = fit_rotation(key.flatten(0, 1))
    if rotation is None:
        raise ValueError("positions change its keys by more than a rotation of pairs of entries")
    return Rotation(rotation.cos.to(key), rotation.sin.to(key), rotation.partner)


def _probed(layer: Layer, probed: Mapping[nn.Module, int]) -> Captured:
    outputs = {
        module: _random_outputs(width, number, layer.hidden)
        for number, (module, width) in enumerate(probed.items())
    }
    with torch.no_grad(), replaced_outputs(outputs):
        return layer.capture(torch.zeros_like(layer.hidden).expand(_PROBES, -1, -1))


def _random_outputs(width: int, seed: int, like: Tensor) -> Tensor:
    return random_noise((_PROBES, 1, width), seed).to(like)


def random_noise(shape: Sequence[int], seed: int) -> Tensor:
    """Normal random numbers in float64, the same on every device, whatever the default device is."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu")


def _same_everywhere(placed: Tensor) -> bool:
    return bool(torch.allclose(placed, placed[:, :, :1], rtol=1e-6, atol=1e-6))


def _tables(layer: Layer) -> list[Tensor]:
    """The arguments that may hold positions: all tensors but masks."""
    return [tensor for tensor in flat_tensors(layer.arguments) if tensor.ndim < 4]


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(some, others, strict=True)
    )
