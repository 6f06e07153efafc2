"""Projections at points of a path, and their derivatives along it, by forward-mode AD."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import unpack
from ligflow.layer.interface import Captured
from ligflow.method.attention import ScoreTerms


@dataclass(frozen=True, eq=False)
class CapturedPath:
    """Captured projections at points of a path, and their derivatives along it."""

    at: Captured
    query_step: Float[Tensor, "batch head target dim"]
    key_step: Float[Tensor, "batch group source dim"]
    value_step: Float[Tensor, "batch group source value_dim"]


def captured_path(index: int, dual: Captured) -> CapturedPath:
    """Projections and their tangents, apart.

    Raises UnsupportedModel where mask, position bias or sink have tangents: they depend on the hidden states.
    """
    _refuse_moving_form(index, dual.form)
    query, query_step = unpack(dual.query)
    key, key_step = unpack(dual.key)
    value, value_step = unpack(dual.value)
    return CapturedPath(Captured(query, key, value, dual.form), query_step, key_step, value_step)


def _refuse_moving_form(index: int, form: ScoreTerms) -> None:
    for name, tensor in (("mask or position bias", form.bias), ("attention sink", form.sink)):
        if tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None:
            raise UnsupportedModel(f"Layer {index}: its {name} depends on the hidden states.")
