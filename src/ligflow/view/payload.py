"""A flow as the bytes that the viewer reads: the flow file itself, with large maps as 8-bit numbers."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int8
from safetensors.torch import save
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method import composition
from ligflow.results.flow_data import DIMS, SPLIT_ERROR, FlowData
from ligflow.results.flow_file import header
from ligflow.results.joint_sources import over_both

EXACT_BYTES = 24 * 2**20  # a map up to this size is kept in float32
LIMIT_BYTES = 256 * 2**20
_UNSHOWN = ("z2z_residual", SPLIT_ERROR)
_COMPOSED = tuple(f"composed.{rule}" for rule in composition.NAMES)


def pack(flow: FlowData, exact_bytes: int = EXACT_BYTES, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """The flow as a safetensors file in memory, in float32.

    A map of more than `exact_bytes` is stored as int8 with a step for each row, `NAME.step`, so that a cell
    is off by at most half a step, 1/254 of its row's largest; the viewer says so in its legend. If heads
    are stored like that, the composed maps are added, since they could not be composed exactly any more.

    Of z2z split by head the parts that the viewer does not show are left out. Raises LigflowError if the file
    would have more than `limit_bytes`.
    """
    flow = over_both(flow)
    flow = replace(flow, tensors={n: t for n, t in flow.tensors.items() if n not in _UNSHOWN})
    large = [n for n in (*DIMS, *_COMPOSED) if n in flow.tensors and _bytes(flow.tensors[n]) > exact_bytes]
    tensors = {name: tensor for name, tensor in flow.tensors.items() if name not in large}
    maps = {name: flow.tensors[name] for name in large}
    if "z2u" in large and "u2z" in flow.routes:
        for rule, name in zip(composition.NAMES, _COMPOSED, strict=True):
            (tensors if _bytes(flow.composed(rule)) <= exact_bytes else maps)[name] = flow.composed(rule)
    size = sum(map(_bytes, tensors.values())) + sum(tensor.numel() for tensor in maps.values())
    if size > limit_bytes:
        raise LigflowError(
            f"A page of this flow would hold {size / 2**20:.0f} MiB, and {limit_bytes / 2**20:.0f} is what a "
            "browser can be asked to open. Explain fewer layers or targets, or leave out route z2u."
        )
    for name, tensor in maps.items():
        tensors[name], tensors[f"{name}.step"] = quantise(tensor)
    return save(dict(_plain(tensors)), metadata=header(flow))


def quantise(
    maps: Float[Tensor, "*row source"],
) -> tuple[Int8[Tensor, "*row source"], Float[Tensor, " *row"]]:
    """Rows as multiples, from -127 to 127, of a step of their own."""
    step = maps.abs().amax(dim=-1) / 127
    return (maps / torch.where(step > 0, step, 1)[..., None]).round().to(torch.int8), step.float()


def _plain(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Numbers as the viewer reads them: float32, whole numbers as they are."""
    for name, tensor in tensors.items():
        yield name, (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _bytes(tensor: Tensor) -> int:
    """Its size in float32."""
    return tensor.numel() * (4 if tensor.is_floating_point() else tensor.element_size())
