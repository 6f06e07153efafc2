"""Which heads find which syntactic relations, from either end, beyond the best fixed offset for each.

A question is a relation and a direction: of all words that hang from another one as its subject, does the row
of the dependent choose its head, or the row of the head one of its dependents? The strongest word of a row is
its choice; special tokens are no words, and punctuation is none unless that is asked for. A head is held
against the fixed offset that is best for that question [clark2019]. Differences are paired over sentences
(or documents), and their intervals simultaneous over all heads and all questions [montielolea2019].
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.corpus.analysis.corpus_words import head_of, is_punctuation
from ligflow.corpus.sources.sentence import ROOT, Sentence
from ligflow.errors import LigflowError
from ligflow.evaluation.bootstrap import Sums, add, alike, interval, means, nothing, weights
from ligflow.evaluation.verdicts import Beside, beside
from ligflow.evaluation.word_choice import OFFSETS, answerable, hits, hits_of_offsets
from ligflow.flow import Flow
from ligflow.results.grouping import Groups, words_of

ANY = "any"
TO_HEAD, TO_DEPENDENT = "dependent to head", "head to dependent"
DIRECTIONS = (TO_HEAD, TO_DEPENDENT)
PIECES = ("mean", "sum")  # what a word of several pieces has of a row: their mean, or their sum
FEWEST = 50  # dependents of a relation that is asked about

Question = tuple[str, str]  # a relation and a direction
Read = tuple[Sentence, Flow, Float[Tensor, "layer head target source"]]


@dataclass(frozen=True)
class Choice:
    """What may be chosen and how: whether punctuation may be, and PIECES."""

    punctuation: bool = False
    pieces: str = "mean"

    def __post_init__(self) -> None:
        if self.pieces not in PIECES:
            raise LigflowError(f"Unknown pieces {self.pieces!r}; choose from {', '.join(PIECES)}.")


DEFAULT = Choice()


@dataclass(frozen=True)
class Found:
    """How well one head answers one question, beside the best fixed offset for it.

    `share` is that of the rows that choose a right word, with a 95% interval of its own; `over` is how much
    more than the offset's, with an interval simultaneous over all heads and questions, and `outcome` says
    whether the head is surely better or worse. `rows` are those that can be right.
    """

    relation: str
    direction: str
    layer: int
    head: int
    rows: int
    share: float
    low: float
    high: float
    offset: int
    by_offset: float
    over: float
    over_low: float
    over_high: float
    outcome: str


@dataclass(frozen=True, eq=False)
class Answers:
    """Shares of right rows in every draw (row 0: the sentences as they are), of all heads and offsets."""

    questions: tuple[Question, ...]
    layers: tuple[int, ...]
    sentences: int
    clusters: int  # what is drawn, documents or sentences: as many as vary alike
    rows: Int[np.ndarray, " question"]
    heads: Float[np.ndarray, "draw question layer head"]
    offsets: Float[np.ndarray, "draw question offset"]

    @property
    def best_offsets(self) -> Int[np.ndarray, " question"]:
        """The place in OFFSETS of the one that is best for each question over all sentences."""
        return np.argmax(self.offsets[0], axis=1)


def questions_of(
    sentences: Iterable[Sentence], fewest: int = FEWEST, punctuation: bool = False
) -> tuple[Question, ...]:
    """What can be asked of a corpus: any relation, and each that `fewest` words or more hang by.

    Subtypes count as their relation (`nsubj:pass` as `nsubj`). Nothing, where no sentence has heads.
    """
    count: Counter[str] = Counter()
    for sentence in sentences:
        for head, relation in zip(sentence.heads or (), sentence.relations or (), strict=True):
            if head != ROOT and (punctuation or _plain(relation) != "punct"):
                count[_plain(relation)] += 1
    often = [relation for relation, number in count.most_common() if number >= fewest]
    return tuple(product((ANY, *often) if count else (), DIRECTIONS))


def _plain(relation: str) -> str:
    return relation.partition(":")[0]


def answer(
    read: Iterable[Read],
    questions: Sequence[Question],
    choice: Choice = DEFAULT,
    draws: int = 1000,
    seed: int = 0,
    clusters: Mapping[int, int] | None = None,
) -> Answers:
    """How often each head is right, and each offset, over sentences whose maps are read one at a time.

    `clusters` says which sentences, by number, are drawn together (`clusters_of`, `by_document`); without it
    each is drawn by itself.
    Raises LigflowError where no sentence has heads and words, and for too few draws.
    """
    total: Sums | None = None
    sizes: Counter[int] = Counter()
    sentences = 0
    shape, layers = (0, 0), tuple[int, ...]()
    for sentence, flow, maps in read:
        if sentence.heads is None or flow.meta.get("words") is None:
            continue
        right, hits_of = _of_sentence(sentence, flow, maps, questions, choice)
        layers, shape = flow.layers, (maps.shape[0], maps.shape[1])
        key, sentences = (clusters or {}).get(sentence.number, sentence.number), sentences + 1
        sizes[key] += len(flow.meta["word_labels"])
        total = total or nothing(draws, hits_of.size)
        counts = np.repeat(right, hits_of.shape[1]).astype(np.float64)
        add(total, weights(seed, [key], draws), hits_of.reshape(1, -1), counts[None])
    if total is None:
        raise LigflowError("No sentence that was explained has words and syntactic heads.")
    every = means(total).reshape(len(total.sums), len(questions), -1)
    heads, offsets = np.split(every, [every.shape[2] - len(OFFSETS)], axis=2)
    heads = heads.reshape(*heads.shape[:2], *shape)
    rows = total.counts[0].reshape(len(questions), -1)[:, 0].astype(np.int64)
    count = alike(np.array(list(sizes.values())))
    return Answers(tuple(questions), layers, sentences, count, rows, heads, offsets)


def _of_sentence(
    sentence: Sentence, flow: Flow, maps: Tensor, questions: Sequence[Question], choice: Choice
) -> tuple[Int[np.ndarray, " question"], Float[np.ndarray, "question tried"]]:
    """How many rows can be right, and how many are, of each head and then of each offset."""
    rows = _over_words(flow, choice.pieces).of(maps.double())
    words = torch.tensor(_words(flow, choice.punctuation), device="cpu")
    itself = torch.eye(len(words), dtype=torch.bool, device="cpu")
    candidates = words[:, None] & words[None, :] & (rows != 0).any(dim=1).any(dim=0) & ~itself
    right = _right(sentence, flow, questions)
    by_head = hits(rows, right, candidates).flatten(1)
    by_offset = hits_of_offsets(right, candidates, words.cumsum(0))
    every = torch.cat([by_head, by_offset], dim=1).double().numpy()
    return answerable(right, candidates).sum(-1).numpy(), every


def _over_words(flow: Flow, pieces: str) -> Groups:
    """Rows are means over a word's pieces; of its columns the mean or the sum is taken."""
    if len(flow.targets) < len(flow.tokens):
        raise LigflowError("These maps are of some targets only; explain all targets of a sentence.")
    words = words_of(flow)
    if pieces == "sum":
        return words
    return Groups(words.sources / words.sources.sum(-1, keepdim=True), words.targets)


def _words(flow: Flow, punctuation: bool) -> list[bool]:
    """Which words of a flow may be chosen: those of the corpus, with or without punctuation."""
    labels, places = flow.meta["word_labels"], flow.meta["word_places"]
    return [
        place >= 0 and (punctuation or not is_punctuation(label))
        for label, place in zip(labels, places, strict=True)
    ]


def _right(
    sentence: Sentence, flow: Flow, questions: Sequence[Question]
) -> Bool[Tensor, "question target source"]:
    """Which word is right for which row, question by question."""
    group = {place: number for number, place in enumerate(flow.meta["word_places"]) if place >= 0}
    right = torch.zeros(len(questions), *[len(flow.meta["word_labels"])] * 2, dtype=torch.bool, device="cpu")
    for dependent, number in group.items():
        head = head_of(sentence, dependent)
        if head is None or head not in group or sentence.relations is None:
            continue
        relation = _plain(sentence.relations[dependent])
        for place, (name, direction) in enumerate(questions):
            if name in (ANY, relation):
                ends = (number, group[head])
                right[(place, *(ends if direction == TO_HEAD else ends[::-1]))] = True
    return right


# --- what is said of it -------------------------------------------------------------------------------


def found(answers: Answers) -> list[Found]:
    """Every head under every question, beside the best offset for it."""
    low, high = interval(answers.heads[1:])
    best = answers.best_offsets
    by_offset = np.take_along_axis(answers.offsets, best[None, :, None], axis=2)
    over = beside(answers.heads, np.broadcast_to(by_offset[..., None], answers.heads.shape), answers.clusters)
    return [
        Found(
            *answers.questions[question], answers.layers[layer], head, int(answers.rows[question]),
            float(answers.heads[0, question, layer, head]), float(low[question, layer, head]),
            float(high[question, layer, head]), OFFSETS[best[question]], float(by_offset[0, question, 0]),
            float(over.difference[question, layer, head]), float(over.low[question, layer, head]),
            float(over.high[question, layer, head]), str(over.outcome[question, layer, head]),
        )
        for question, layer, head in np.ndindex(answers.heads.shape[1:])
    ]  # fmt: skip


def held_against(answers: Answers, others: Answers) -> Beside:
    """Every head of one kind of map beside the same head of another, on the same rows: share less share.

    Raises LigflowError where the two do not answer the same questions about the same sentences.
    """
    same = (answers.questions, answers.layers, answers.sentences) == (
        others.questions, others.layers, others.sentences,
    )  # fmt: skip
    if not same or not np.array_equal(answers.rows, others.rows):
        raise LigflowError("These answers are of other questions or other rows; ask both maps the same.")
    return beside(answers.heads, others.heads, answers.clusters)


def best_of_each(rows: Sequence[Found]) -> Iterator[Found]:
    """The head with the largest share for each question."""
    for question in dict.fromkeys((row.relation, row.direction) for row in rows):
        yield max((row for row in rows if (row.relation, row.direction) == question), key=_share)


def _share(row: Found) -> float:
    return -1 if np.isnan(row.share) else row.share
