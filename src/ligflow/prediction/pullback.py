"""Cotangents carried back through a segment at points of a path: `J(v° + a Δv)ᵀ m`."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment

Cotangents = Mapping[str, Float[Tensor, "row ..."]]
_ROWS = 1024  # tokens of all points that go through a segment at once


def pulled_back(
    segment: Segment, sources: Mapping[str, Variable], above: Cotangents, carried: Cotangents, nodes: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The cotangents of the sources at each of some points `[point, row, ...]`, and those carried."""
    with torch.enable_grad():
        values = {name: variable.at(nodes).detach().requires_grad_() for name, variable in sources.items()}
        images = segment.run(values)
        names = [name for name in segment.images if name in above]
        outputs = [images[name] for name in names]
        for output in outputs:
            check_finite(segment, output)
    inputs = list(values.values())
    if any(variable.rows for variable in sources.values()):
        return _of_examples(values, names, outputs, above, carried)
    towards = [{name: above[name][row] for name in names} for row in range(len(above[names[0]]))]
    errors = [_with_zeros(carried, above, names, row) for row in range(_rows(carried))]
    pulled = [
        _gradients(
            outputs, inputs, [row[name].expand_as(of) for name, of in zip(names, outputs, strict=True)]
        )
        for row in [*towards, *errors]
    ]
    stacked = {name: torch.stack([of[i] for of in pulled], dim=1) for i, name in enumerate(values)}
    own = {name: tensor[:, : len(towards)] for name, tensor in stacked.items()}
    return own, {name: tensor[0, len(towards) :] for name, tensor in stacked.items()} if errors else {}


def check_finite(segment: Segment, output: Tensor) -> None:
    """Raises LigflowError where what a segment gives is not finite."""
    if not torch.isfinite(output.detach().sum()) and not torch.isfinite(output).all():
        raise LigflowError(
            f"{segment.name}: the model gives NaN or infinite values on the path between the two "
            "runs; choose another reference, or check the weights."
        )


def _of_examples(
    values: Mapping[str, Tensor],
    names: list[str],
    outputs: list[Tensor],
    above: Cotangents,
    carried: Cotangents,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The same for examples with a row each: one gradient serves them all."""
    rows = len(above[names[0]])

    def pulled(cotangents: Cotangents) -> dict[str, Tensor]:
        towards = [
            cotangents[name].expand(len(output) // rows, *cotangents[name].shape).reshape(output.shape)
            for name, output in zip(names, outputs, strict=True)
        ]
        gradients = _gradients(outputs, list(values.values()), towards)
        return {name: grad.unflatten(0, (-1, rows)) for name, grad in zip(values, gradients, strict=True)}

    own = pulled(above)
    if not carried:
        return own, {}
    errors = {name: carried.get(name, torch.zeros_like(above[name])) for name in names}
    return own, {name: tensor[0] for name, tensor in pulled(errors).items()}


def _gradients(outputs: list[Tensor], inputs: list[Tensor], towards: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(outputs, inputs, towards, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(inputs, gradients, strict=True)]


def _with_zeros(carried: Cotangents, above: Cotangents, names: list[str], row: int) -> dict[str, Tensor]:
    return {
        name: carried[name][row] if name in carried else torch.zeros_like(above[name][0]) for name in names
    }


def _rows(carried: Cotangents) -> int:
    return len(next(iter(carried.values()))) if carried else 0


def points_at_once(sources: Mapping[str, Variable]) -> int:
    """How many points of a path go through a segment together."""
    sizes = [variable.count * (len(variable.real) if variable.rows else 1) for variable in sources.values()]
    return max(1, _ROWS // max(sizes))
