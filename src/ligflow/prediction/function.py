"""A question that is a function of a model's outputs."""

from collections.abc import Callable
from typing import Any

import torch

from ligflow.errors import LigflowError
from ligflow.explainer.head import head_of
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.classes import image_prompt
from ligflow.prediction.own_run import own_run
from ligflow.prediction.prompt import Prompt, pair_prompt, text_prompt
from ligflow.prediction.question import Question
from ligflow.prediction.scores import own_score


def function_question(
    whole: PreparedModel, inputs: Inputs, function: Callable[[Any], Any], truncate: bool
) -> Question:
    """A question that is a function of the outputs for a batch of points, one number or several for each.

    It takes one run of the model. Raises LigflowError where the function gives anything else, or a number
    that is not finite.
    """
    prompt, score = _prompt(whole, inputs, truncate), own_score(function)
    with torch.no_grad():
        values = score(own_run(whole, prompt.inputs, None).outputs)
    if len(values) != 1:
        raise LigflowError(
            f"score gives {len(values)} numbers for a batch of 1 point; give one for each point, or a row: "
            "[point, row]."
        )
    if not bool(torch.isfinite(values).all()):
        raise LigflowError(
            f"score gives {values[0].tolist()} for these inputs; give a function that is finite."
        )
    rows = ("score",) if values.shape[1] == 1 else tuple(f"score {row}" for row in range(values.shape[1]))
    count = len(prompt.tokens.labels) + len(prompt.decoder_tokens.labels if prompt.decoder_tokens else ())
    return Question(
        prompt.inputs, prompt.tokens, None, score, rows, (False,) * count, (False,) * count,
        prompt.decoder_tokens, head_of(whole.model).kind, notes=prompt.notes,
    )  # fmt: skip


def _prompt(whole: PreparedModel, inputs: Inputs, truncate: bool) -> Prompt:
    """The inputs by what the model takes: images, two texts, or one."""
    if whole.model.main_input_name == "pixel_values":
        return image_prompt(whole, inputs)
    if whole.model.config.is_encoder_decoder:
        return pair_prompt(whole, inputs, truncate)
    return text_prompt(whole, inputs, truncate)
