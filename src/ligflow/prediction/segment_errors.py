"""How far off the averaged Jacobian of a segment is, by what it should sum to and by coarser rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents
from ligflow.prediction.segment import Segment


@dataclass(frozen=True, eq=False)
class Sum:
    """What the sources of a segment must sum to, `m ΔF` by row and token, and the size of its rounding."""

    tokens: list[tuple[Variable, Float[Tensor, "row _"]]]  # streams have tokens of their own
    rounding: Float[Tensor, " row"]

    def only(self, rows: Tensor) -> "Sum":
        """That of some rows."""
        return Sum([(variable, tokens[rows]) for variable, tokens in self.tokens], self.rounding[rows])

    @property
    def total(self) -> Float[Tensor, " row"]:
        """The sum over tokens."""
        total: Tensor = sum(tokens.sum(-1) for _, tokens in self.tokens)  # type: ignore[assignment]
        return total

    def by_token(self, width: int) -> Float[Tensor, "row token"]:
        """By token of all streams."""
        return on_one_axis(
            [tokens for _, tokens in self.tokens], [variable for variable, _ in self.tokens], width
        )


def sum_of(segment: Segment, variables: Mapping[str, Variable], above: Cotangents) -> Sum:
    """`m ΔF` of the images of a segment."""
    sought, rounding = [], torch.zeros(())
    for name in segment.images:
        if name in above:
            variable = variables[name]
            products = above[name].double() * variable.step.double()
            tokens = variable.by_token(products)
            sought.append((variable, tokens if variable.axis >= 0 else tokens[:, None]))
            rounding = (
                rounding + products.abs().flatten(1).sum(-1).cpu() * torch.finfo(variable.real.dtype).eps
            )
    return Sum(sought, rounding)


def relevance_by_token(sources: Mapping[str, Variable], cotangents: Cotangents) -> Float[Tensor, "row token"]:
    """`g Δv` by row and token, all tokens of all streams on one axis."""
    parts = [
        variable.by_token(cotangents[name].double() * variable.step.double())
        for name, variable in sources.items()
    ]
    width = max(variable.offset + variable.count for variable in sources.values())
    return on_one_axis(parts, list(sources.values()), width)


def terms_rounding(sources: Mapping[str, Variable], cotangents: Cotangents) -> Float[Tensor, "row token"]:
    """The size of a rounding of all terms that a token's relevance is the sum of, `eps Σ |g_i Δv_i|`."""
    parts = [
        variable.by_token((cotangents[name].double() * variable.step.double()).abs())
        * torch.finfo(variable.real.dtype).eps
        for name, variable in sources.items()
    ]
    width = max(variable.offset + variable.count for variable in sources.values())
    return on_one_axis(parts, list(sources.values()), width)


def on_one_axis(parts: Sequence[Tensor], variables: Sequence[Variable], width: int) -> Tensor:
    """Numbers by token of several variables, added up on the axis of all tokens."""
    total = parts[0].new_zeros(len(parts[0]), width)
    for part, variable in zip(parts, variables, strict=True):
        if variable.axis < 0:
            total[:, 0] += part[:, 0]
        else:
            total[:, variable.offset : variable.offset + part.shape[-1]] += part
    return total


def extrapolated(
    before: Float[Tensor, " row"], change: Float[Tensor, " row"], careful: bool = True
) -> Float[Tensor, " row"]:
    """The error that is left after two changes between levels, `d₁` and `d₂`: `d₂ (d₂ / d₁)²`.

    The rules are exact to degree 1, 5, 11, 23: where errors fall as a power of the degree, the next step
    gains 1.5 to twice the digits of the last one. To be `careful` 1.5 times is taken, and no less than a
    fiftieth of `d₂`.
    """
    power, least = (1.5, 0.02) if careful else (2, 0.001)
    gain = (change / before.clamp(min=1e-300)).clamp(max=1) ** power
    return change * gain.clamp(min=least, max=1)
