"""The vocabulary head at the tokens that it is read at: what the last layer gave for others does not matter.

It is run on the vectors of these tokens alone, by the model's own forward with inputs as short, and held
against what it gave in both runs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.layer.layer import Layer
from ligflow.layer.token_axes import USUAL
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.scores import OfLogits
from ligflow.prediction.segment import FewTokens
from ligflow.prediction.two_runs import Run, resumed
from ligflow.recording.tolerances import max_token_error, rounding
from ligflow.recording.unmodified_run import WRONG


def tokens_of_head(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    layers: Sequence[Layer],
    both: tuple[Run, Run],
    positions: Sequence[int] | None,
    score: Callable[[Any], Tensor],
    last: Variable,
) -> FewTokens | None:
    """The tokens of what the `last` layer gave that a score of logits reads, of the real run and the other.

    None where the score reads more than logits, and where the model does not run without the other tokens, or
    gives other logits: all tokens go through the head then, which takes longer and says the same.
    """
    if positions is None or not isinstance(score, OfLogits) or layers[-1].layout != USUAL:
        return None
    count, number = 1 if score.rows else len(positions), len(layers) - 1
    places = torch.tensor(positions).reshape(-1, count)
    short = {
        name: tensor[:, :count] if tensor.ndim > 1 and tensor.shape[1] == last.count else tensor
        for name, tensor in inputs.items()
    }

    def logits(vectors: Tensor) -> Tensor:
        given: Tensor = resumed(model, short, layers, both[0], {number: vectors}, None, len(layers)).logits
        return given

    try:
        with torch.no_grad():
            ours = logits(torch.cat([last.real[places], last.reference[places]]))
    except WRONG:
        return None
    theirs = torch.cat([run.outputs.logits for run in both]).reshape(len(ours), count, -1)
    alike = ours.shape == theirs.shape and max_token_error(ours, theirs) <= rounding(theirs)
    return FewTokens(places, model, logits, score.rows or (score.of,)) if alike else None
