"""At which word a head reads most differently in two models, and what it reads there more and less.

Examples, with no test: a word is named because it is the strongest of its sentence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ligflow.corpus.analysis.row_distances import row_distances, signed_shares
from ligflow.corpus.sources.sentence import Sentence
from ligflow.flow import Flow


@dataclass(frozen=True)
class WordChange:
    """The row of one head, in one sentence, that two models share out most differently.

    `distance` is that of the rows of the word `target`. `more` is the word whose signed share in the row is
    larger in B by `more_by`, `less` the one whose share is smaller by `less_by` (below 0); words stand with
    their positions.
    """

    sentence: int
    place: str
    layer: int
    head: int
    target: str
    target_position: int
    distance: float
    more: str
    more_position: int
    more_by: float
    less: str
    less_position: int
    less_by: float


def word_changes(a: Flow, b: Flow, sentence: Sentence) -> list[WordChange]:
    """For each head of two models the row of `z2u` that differs most; none of heads that differ nowhere."""
    distances = row_distances(a.z2u, b.z2u)
    moved = signed_shares(b.z2u) - signed_shares(a.z2u)
    changes = []
    for row, layer in enumerate(a.layers):
        for head in range(a.heads):
            distance, target = distances[row, head].max(0)
            if distance == 0:
                continue
            source = moved[row, head, target]
            by, most, least = source.tolist(), int(source.argmax()), int(source.argmin())
            position = a.targets[int(target)]
            changes.append(
                WordChange(
                    sentence.number, sentence.place, layer, head, a.tokens[position], position,
                    float(distance), a.tokens[most], most, by[most], a.tokens[least], least, by[least],
                )
            )  # fmt: skip
    return changes


def strongest_of_heads(
    changes: Iterable[WordChange], heads: Sequence[tuple[int, int | None]]
) -> list[WordChange]:
    """Of each of some heads (layer, head) the sentence that it reads most differently, in their order."""
    best: dict[tuple[int, int | None], WordChange] = {}
    for change in changes:
        at = change.layer, change.head
        if at not in best or change.distance > best[at].distance:
            best[at] = change
    return [best[head] for head in heads if head in best]
