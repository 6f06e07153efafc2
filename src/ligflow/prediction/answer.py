"""Answer: what each token of an answer is made of, and the answer as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.prediction.prediction import Prediction

if TYPE_CHECKING:
    import pandas

    from ligflow.results.span_relevance import SpanRelevance, Spans


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """An answer's tokens, each a prediction of its own given the prompt and the tokens before it.

    `rows` are these predictions, of one input and one reference. The tokens of the answer that a later one
    reads are kept, so that the prompt alone explains each.
    """

    rows: tuple[Prediction, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise LigflowError("An answer has a row for each of its tokens, and there is none.")

    @property
    def tokens(self) -> list[str]:
        """The tokens of the answer."""
        return [str(row.meta.get("question", "")) for row in self.rows]

    @property
    def prompt(self) -> list[str]:
        """The tokens that the answer is explained by: all of the input but the answer's own, which end it."""
        tokens = self.rows[0].tokens
        return list(tokens[: len(tokens) - len(self.rows) + 1])

    @property
    def matrix(self) -> Float[Tensor, "answer prompt"]:
        """What each token of the prompt contributes to each of the answer; a row sums to its change."""
        return torch.stack([row.relevance[: len(self.prompt)] for row in self.rows])

    @property
    def errors(self) -> Float[Tensor, "answer prompt"]:
        """The estimated error of each cell: an estimate, no bound."""
        return torch.stack([row.error[: len(self.prompt)] for row in self.rows])

    @property
    def changes(self) -> Float[Tensor, " answer"]:
        """How far the score of each token is from that in the reference run."""
        return torch.tensor([row.change for row in self.rows], dtype=torch.float64)

    @property
    def certificates(self) -> Float[Tensor, " answer"]:
        """`(Σ relevance - change) / scale` of each token."""
        return torch.tensor([row.certificate for row in self.rows], dtype=torch.float64)

    @cached_property
    def whole(self) -> Prediction:
        """The sum of the rows: what the log-probability of the whole answer is made of."""
        from ligflow.results.prediction_sums import total

        return total(self.rows)

    def by(self, spans: Spans) -> list[SpanRelevance]:
        """Relevance for the whole answer and its error, summed over spans of the prompt (`Prediction.by`)."""
        return self.whole.by(spans)

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each token of the answer and of the prompt: relevance, error, kept."""
        need("tables", "A table")
        from ligflow.results.answer_tables import to_pandas

        return to_pandas(self.rows, len(self.prompt))

    def to_json(self) -> str:
        """All numbers and labels as JSON, a prediction for each token."""
        rows = [json.loads(row.to_json()) for row in self.rows]
        return json.dumps({"tokens": self.tokens, "prompt": self.prompt, "rows": rows}, ensure_ascii=False)

    def save(self, path: str | Path) -> Path:
        """One safetensors file with JSON metadata, written beside `path` and renamed."""
        from ligflow.results.answer_file import save

        return save(self.rows, path)

    @classmethod
    def load(cls, path: str | Path) -> Answer:
        """A saved answer. Raises LigflowError for a damaged or foreign file."""
        from ligflow.results.answer_file import load

        return cls(load(path, Prediction))

    def to_html(self, path: str | Path) -> Path:
        """One page with the answer by its prompt, and views of any of its tokens; needs no network."""
        from ligflow.files import write_text
        from ligflow.view.answer_page import page

        return write_text(path, page([self.rows]))

    def show(self, spans: str | None = None, *, details: bool = False) -> None:
        """Prints what each token rests on, and the whole; in a notebook, the page (as `Prediction.show`)."""
        from rich.console import Console

        from ligflow.view.answer_terminal import report
        from ligflow.view.notebook import show_answer

        if spans is None and not details and show_answer(self.rows):
            return
        with Console(highlight=False) as console:  # all at once: a notebook shows one output
            report(self.whole, self.rows, console, spans=spans, details=details)

    def __repr__(self) -> str:
        worst = float(self.certificates.abs().max())
        return (
            f"{type(self).__name__}({len(self.rows)} tokens of an answer, {len(self.prompt)} of the prompt, "
            f"model {self.rows[0].meta.get('model')!r}, change {self.whole.change:+.4g}, "
            f"worst |certificate| {worst:.1e})"
        )
