"""What is asked of a model: its inputs, and a score of its outputs that is to be explained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ligflow.inputs.tokens import Tokens

Score = Callable[[Any], Float[Tensor, "point row"]]


@dataclass(frozen=True)
class Output:
    """What a model may say: how it is shown, its probability, and the `answer` that asks about it.

    An answer is the id of a token, the number of a class, or a text.
    """

    text: str
    probability: float
    answer: str | int


Likeliest = Callable[[Any, int, int], tuple[Output, ...]]  # of outputs, how many, for a row


def no_likeliest(_outputs: Any, _count: int, _row: int) -> tuple[Output, ...]:
    """Nothing, for outputs that are no probabilities."""
    return ()


@dataclass(frozen=True, eq=False)
class Question:
    """A score of a model's outputs on one example.

    `inputs` are those of one example (batch 1), with the answer's tokens before the last, which are `taught`.
    `tokens` names them; of an encoder-decoder those that the encoder reads, and `decoder_tokens` the others.
    The vocabulary head is read at `positions` (None: everywhere, or there is none), of a decoder behind an
    encoder among the decoder's: outputs then hold logits of these alone. `score` takes the outputs of a batch
    of points, and `rows` says what each of its columns is.

    `taught` and `asked` go over all tokens, an encoder's first: the answer's own, and those that the question
    itself is made of (a mask). `likeliest` gives the likeliest outputs for display, with probabilities.
    """

    inputs: Mapping[str, Tensor]
    tokens: Tokens
    positions: tuple[int, ...] | None
    score: Score
    rows: tuple[str, ...]
    taught: tuple[bool, ...]
    asked: tuple[bool, ...] = ()
    decoder_tokens: Tokens | None = None
    kind: str = "causal"
    likeliest: Likeliest = no_likeliest
    notes: tuple[str, ...] = ()

    @property
    def of_image(self) -> bool:
        """Whether the tokens are patches of an image."""
        return "pixel_values" in self.inputs and "input_ids" not in self.inputs

    @property
    def labels(self) -> tuple[str, ...]:
        """What all tokens are called, an encoder's first."""
        return (*self.tokens.labels, *(self.decoder_tokens.labels if self.decoder_tokens else ()))

    @property
    def special(self) -> tuple[bool, ...]:
        """Which of all tokens are special, an encoder's first."""
        return (*self.tokens.special, *(self.decoder_tokens.special if self.decoder_tokens else ()))


def top_of(question: Question, outputs: Any, count: int = 5, row: int = 0) -> tuple[tuple[str, float], ...]:
    """The likeliest outputs of a run, with their probabilities, where a row is read.

    Of a row that is several tokens it is where the first one is read.
    """
    return tuple((each.text, each.probability) for each in question.likeliest(outputs, count, row))
