"""Which segments are affine, so that one point of a path is enough.

That a sum comes out at one point does not say so: along a path the parts of a slope may miss it by amounts
that cancel, and the cotangent of a segment that is not affine is then wrong though its sum is right.
"""

import weakref
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ligflow.layer.rotary_probe import random_noise
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment
from ligflow.recording.tolerances import rounding

_known: "weakref.WeakKeyDictionary[nn.Module, dict[tuple[str, str], bool]]" = weakref.WeakKeyDictionary()


def is_affine(segment: Segment, sources: Mapping[str, Variable]) -> bool:
    """Whether a segment's slope is the same at two random points, looked at once for each layer and kind."""
    if segment.module is None:
        return False
    known = _known.setdefault(segment.module, {})
    key = segment.kind, segment.held
    if key not in known:
        known[key] = _same_slope(segment, sources)
    return known[key]


def _same_slope(segment: Segment, sources: Mapping[str, Variable]) -> bool:
    with torch.enable_grad():
        probes = {
            name: _probes(variable.of(0), number) for number, (name, variable) in enumerate(sources.items())
        }
        images = segment.run(probes)
        towards = [random_noise(image[:1].shape, 7).to(image).expand_as(image) for image in images.values()]
        slopes = torch.autograd.grad(list(images.values()), list(probes.values()), towards, allow_unused=True)
    return all(
        slope is not None and bool((slope[0] - slope[1]).norm() <= 30 * rounding(slope) * slope.norm())
        for slope in slopes
    )


def _probes(variable: Variable, seed: int) -> Tensor:
    """Two random points, of the size that the source has in the real run."""
    noise = random_noise((2, *variable.real.shape), seed).to(variable.real)
    return (noise * variable.real.square().mean().sqrt()).requires_grad_()
