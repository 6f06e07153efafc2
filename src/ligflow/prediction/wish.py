"""What a user asks, as it was given."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wish:
    """An answer, or the model's own (None), beside another, at a position, by a score."""

    answer: object = None
    contrast: object = None
    position: Any = None
    score: str = "logprob"
