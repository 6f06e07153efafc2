"""A run of the whole model as it is, for what it says itself."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.layer.model_state import prepared
from ligflow.prediction.two_runs import Run, run_noting
from ligflow.recording.model_runs import noting_calls


def own_run(
    whole: PreparedModel,
    inputs: Mapping[str, Tensor],
    positions: Sequence[int] | None,
    hidden_states: bool = False,
) -> Run:
    """The model's run on its inputs, its vocabulary head read at some positions (None: all).

    With `hidden_states` the outputs hold those of each layer too, where the model gives them. The calls of
    its layers are kept with the copy of the model, for layers that are recorded on the same inputs.

    Raises LigflowError where the model cannot run on them.
    """
    copy = whole.now()
    model = cast(PreTrainedModel, copy.placement.model)
    more: dict[str, Any] = {"output_hidden_states": True} if hidden_states else {}
    with exact_mode(whole.home), copy.running_on(inputs), prepared(model, None), noting_calls(model) as calls:
        run = run_noting(model, {**inputs, **more}, (), None, positions)
    copy.loaded.keep(inputs, calls)
    return run


def finite_logits(whole: PreparedModel, outputs: Any) -> Tensor:
    """The logits of a run. Raises LigflowError where there are none, or where they are not finite."""
    logits = getattr(outputs, "logits", None)
    kind = type(whole.model).__name__
    if not isinstance(logits, Tensor):
        raise LigflowError(
            f"{kind} gives no logits; ask about a function of its outputs: score=lambda outputs: ..."
        )
    return finite(whole, logits)


def finite(whole: PreparedModel, logits: Tensor) -> Tensor:
    """The logits themselves, of which some may be ruled out. Raises LigflowError for NaN and infinity."""
    if bool(torch.isnan(logits).any()) or bool(torch.isposinf(logits).any()):
        raise LigflowError(
            f"{type(whole.model).__name__} gives numbers that are not finite on these inputs, so no "
            "prediction of it can be explained; load it in float32, and look at its weights."
        )
    return logits
