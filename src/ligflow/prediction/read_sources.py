"""The sources of a segment that it computes with, among those that it might read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.segment import Segment


def with_read_sources(
    segment: Segment, optional: Collection[str], variables: Mapping[str, Variable]
) -> Segment:
    """The segment without those of the `optional` sources to which none of its images leads back."""
    if not set(segment.sources) & set(optional):
        return segment
    read = gradients(segment.run, segment.sources, variables)
    return replace(
        segment, sources=tuple(name for name in segment.sources if name in read or name not in optional)
    )


def gradients(
    run: Callable[[Values], Values], sources: Sequence[str], variables: Mapping[str, Variable]
) -> dict[str, Tensor]:
    """Of the images' squares in the real run, by the source; none of those to which no image leads back."""
    with torch.enable_grad():
        values = {name: variables[name].real[None].clone().requires_grad_() for name in sources}
        squares = [image.double().square().sum() for image in run(values).values() if image.requires_grad]
        found = torch.autograd.grad(squares, list(values.values()), allow_unused=True)
    return {name: grad for name, grad in zip(values, found, strict=True) if grad is not None}
