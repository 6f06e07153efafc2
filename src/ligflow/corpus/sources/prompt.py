"""A prompt of a corpus: what a model is asked, with the answer and what else is asked of it."""

from dataclasses import dataclass

from ligflow.inputs.passages import Passage, Passages


@dataclass(frozen=True)
class Prompt:
    """`number` is its position in the whole corpus, from 0; `place` says where it stands, to be found again.

    `answer`, `contrast` and `reference` are those of `Explainer.explain_prediction`; None where the corpus
    has none. With `passages` the text is a question, whose answer is to be found in them. `group` is a name
    that prompts share which are to be compared with others, such as a task.
    """

    number: int
    text: str
    place: str
    answer: str | None = None
    contrast: str | None = None
    reference: str | None = None
    passages: tuple[Passage, ...] | None = None
    group: str | None = None

    @property
    def inputs(self) -> str | Passages:
        """What an Explainer takes."""
        return self.text if self.passages is None else Passages(self.text, self.passages)

    @property
    def content(self) -> tuple[object, ...]:
        """All that decides about its numbers: what it holds but its place."""
        passages = None if self.passages is None else [(each.title, each.text) for each in self.passages]
        return self.number, self.text, self.answer, self.contrast, self.reference, passages, self.group
