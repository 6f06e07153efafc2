"""What a layer's attention function is given, anywhere on the path between the two runs.

Queries, keys and values are caught where the function gets them, so that fused, latent, normed and rotated
projections are what the model makes of them, and so are keys and values of an encoder or of a layer below.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ligflow.errors import UnsupportedModel
from ligflow.layer.captured_path import CapturedPath, captured_path
from ligflow.layer.interface import Captured, forward_mode
from ligflow.prediction.cuts import Call, segments_of
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.segment import Segment


class _Given(Exception):
    """Ends a layer at one of its attentions."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured


def attention_segment(call: Call, image: str) -> Segment:
    """The segment of a layer that ends at what the heads of an attention give."""
    return next(segment for segment in segments_of(call) if image in segment.images)


def given(call: Call, image: str, values: Values) -> Captured:
    """What the attention that gives `image` is given, for a batch of points."""

    def catch(captured: Captured) -> Tensor:
        raise _Given(captured)

    try:
        attention_segment(replace(call, attend=catch, attend_second=catch), image).run(values)
    except _Given as caught:
        return caught.captured
    raise UnsupportedModel(f"Layer {call.layer.index} ({call.layer.name}) did not reach its attention.")


def given_on_path(call: Call, image: str, variables: Mapping[str, Variable], node: Tensor) -> CapturedPath:
    """The same at a point of the path, with derivatives along it: all that moves, moves together.

    Raises UnsupportedModel where mask, position bias or sink move.
    """
    with forward_mode, torch.no_grad(), forward_ad.dual_level():
        values = {
            name: forward_ad.make_dual(variables[name].at(node[None]), variables[name].step[None])
            for name in attention_segment(call, image).sources
        }
        return captured_path(call.layer.index, given(call, image, values))
