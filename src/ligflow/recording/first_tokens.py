"""A recorded call on its first tokens alone, where these do not see those that follow."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ligflow.layer.arguments import snapshot
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.layer.token_axes import USUAL
from ligflow.recording.tolerances import max_token_error, rounding
from ligflow.recording.unmodified_run import WRONG

_COUNT = 16  # tokens on which a long text's layers are validated


def on_first_tokens(model: nn.Module, layer: Layer) -> Layer | None:
    """The call on the first tokens of a long text, None where they then have another output.

    All axes of its arguments that are as long as the text are cut. That this is right shows in the output:
    it is what the model itself gave to these tokens, which see none of those that are cut off.
    """
    total = len(layer.hidden)
    if total < 2 * _COUNT or layer.mode != "split" or layer.layout != USUAL or layer.forms:
        return None
    if layer.findings.windows or layer.findings.memory:
        return None

    def cut(value: Any) -> Any:
        for axis in range(value.ndim) if isinstance(value, Tensor) else ():
            value = value.narrow(axis, 0, _COUNT) if value.shape[axis] == total else value
        return value

    first = replace(
        layer, arguments=snapshot(layer.arguments, cut), hidden=layer.hidden[:_COUNT],
        output=layer.output[:_COUNT],
    )  # fmt: skip
    try:
        with prepared(model, first.implementation), torch.no_grad():
            again = first.forward(first.hidden[None])[0]
    except WRONG:  # it cannot be cut
        return None
    fits = again.shape == first.output.shape
    return first if fits and max_token_error(again, first.output) <= rounding(again) else None
