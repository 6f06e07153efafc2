"""Head profiles over a run that kept its maps: what each head routes to, with intervals and labels.

A row's shares are `|A_k| / sum_k |A_k|`; a measure is a mean over rows, with the interval of a bootstrap over
sentences [chamandy2012].
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.corpus.runs.kept_maps import flows
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.sentence import ROOT, Sentence
from ligflow.errors import LigflowError
from ligflow.evaluation import head_profile
from ligflow.evaluation.bootstrap import Sums, add, interval, means, nothing, weights
from ligflow.evaluation.head_profile import KINDS
from ligflow.flow import Flow
from ligflow.results.grouping import words_of

EXCESS = tuple(f"{kind} over chance" for kind in KINDS)
# over the next word: attachment without punctuation, less that of the rule "all words hang from the next"
OTHER = (
    "entropy",
    "distance",
    "attachment",
    "attachment without punctuation",
    "attachment over the next word",
)
MEASURES = (*KINDS, *EXCESS, *OTHER)
MAIN = 0.5  # a head routes mainly to a kind of place if more than this goes there
MIXED = "mixed"


@dataclass(frozen=True)
class Profile:
    """One measure of one head: its mean over rows, with a 95% interval over sentences; `rows` it is of."""

    layer: int
    head: int
    measure: str
    mean: float
    low: float
    high: float
    rows: int


ByHead = dict[tuple[int, int], dict[str, Profile]]


def profiles(run: Run, att: str = "itb", draws: int = 1000, seed: int = 0) -> list[Profile]:
    """Every measure of every head, from the kept maps of an ATT baseline.

    Raises LigflowError if the run kept no maps, nothing was explained, the baseline is unknown, or the draws
    are too few.
    """
    total: Sums | None = None
    shape, layers = (0, 0, 0), tuple[int, ...]()
    for sentence, flow in _flows(run, att):
        values = measured(flow, sentence)
        layers, shape = flow.layers, (values.shape[0], values.shape[1], values.shape[2])
        sums, counts = np.nansum(values, -1).reshape(1, -1), (~np.isnan(values)).sum(-1).reshape(1, -1)
        total = total or nothing(draws, sums.shape[1])
        add(total, weights(seed, [sentence.number], draws), sums, counts.astype(np.float64))
    if total is None:
        raise LigflowError(f"No sentence of {str(run.folder)!r} was explained, so no head has a profile.")
    return list(_profiles(total, shape, layers))


def _profiles(total: Sums, shape: tuple[int, int, int], layers: Sequence[int]) -> Iterator[Profile]:
    every = means(total)
    low, high = interval(every[1:])
    for at, (layer, head, measure) in enumerate(np.ndindex(shape)):
        mean, rows = float(every[0, at]), int(total.counts[0, at])
        yield Profile(layers[layer], head, MEASURES[measure], mean, float(low[at]), float(high[at]), rows)


def _flows(run: Run, att: str) -> Iterator[tuple[Sentence, Flow]]:
    for shard in run.done:
        of_number = {sentence.number: sentence for sentence in run.sentences(shard)}
        for number, flow in flows(run, shard, att=att):
            yield of_number[number], flow


def measured(flow: Flow, sentence: Sentence) -> Float[np.ndarray, "layer head measure target"]:
    """All measures of one sentence; NaN where a row has none."""
    share = head_profile.shares(flow.z2u.double())
    visible = _visible(flow)
    relation = relations(flow, sentence)
    expected = head_profile.chance(relation, visible)
    masses = torch.where(expected.isnan(), torch.nan, head_profile.mass(share, relation))
    parts = [
        masses,
        masses - expected,
        head_profile.entropy(share, visible)[:, :, None],
        head_profile.distance(share)[:, :, None],
    ]
    parts += [score[:, :, None] for score in _attached(flow, sentence)]
    return torch.cat(parts, dim=2).numpy()


def _visible(flow: Flow) -> Bool[Tensor, "target source"]:
    """The sources that some head of some layer moves a target by."""
    size = flow.z2u.abs().amax(dim=(0, 1))
    visible = size > 0
    visible[list(range(len(flow.targets))), list(flow.targets)] = True
    return visible


def relations(flow: Flow, sentence: Sentence) -> Bool[Tensor, "kind target source"]:
    """Which source is in which relation to which target, over tokens."""
    count = len(flow.tokens)
    words, places = flow.meta.get("words") or list(range(count)), flow.meta.get("word_places") or []
    of_corpus = [places[word] if word < len(places) else -1 for word in words]
    above = [_head(sentence, place) for place in of_corpus]
    special = list(flow.special)
    marks = [not special[i] and is_punctuation(flow.tokens[i]) for i in range(count)]
    rows = [
        [_related(j, i, words, of_corpus, above, special, marks) for i in range(count)] for j in flow.targets
    ]
    return torch.tensor(rows, device="cpu").permute(2, 0, 1)


def _related(
    j: int,
    i: int,
    words: Sequence[int],
    of_corpus: Sequence[int],
    above: Sequence[int | None],
    special: Sequence[bool],
    marks: Sequence[bool],
) -> list[bool]:
    """For each kind whether source i is one to target j."""
    other = i != j
    return [
        not other, i == j - 1, i == j + 1, other and i == 0, other and i != 0 and special[i],
        other and marks[i], other and words[i] == words[j] and not special[i],
        of_corpus[i] >= 0 and of_corpus[i] == above[j], of_corpus[j] >= 0 and above[i] == of_corpus[j],
    ]  # fmt: skip


def _head(sentence: Sentence, place: int) -> int | None:
    """The given word that a given word hangs from; None for the root and where there are no heads."""
    if place < 0 or sentence.heads is None or sentence.heads[place] == ROOT:
        return None
    return sentence.heads[place]


def is_punctuation(token: str) -> bool:
    """Whether all characters of a token are punctuation or symbols."""
    letters = token.strip().removeprefix("##").strip("▁Ġ ")
    return bool(letters) and all(unicodedata.category(c)[0] in "PS" for c in letters)


def _attached(flow: Flow, sentence: Sentence) -> list[Tensor]:
    """The measures of attachment over words, in as many columns as targets.

    Only words can be chosen, no special tokens: the rules that a head is held against choose none either.
    """
    none = flow.z2u.new_full((*flow.z2u.shape[:2], len(flow.targets)), torch.nan, dtype=torch.float64)
    if sentence.heads is None or flow.meta.get("words") is None:
        return [none] * 3
    maps, places = words_of(flow).of(flow.z2u.double()), flow.meta["word_places"]
    group = {place: number for number, place in enumerate(places) if place >= 0}
    above = [_head(sentence, place) for place in places]
    known = [None if head is None else group.get(head) for head in above]
    labels = flow.meta["word_labels"]
    plain_words = [None if is_punctuation(labels[w]) else head for w, head in enumerate(known)]
    words = torch.tensor([place >= 0 for place in places], device="cpu")
    scores = [head_profile.attached(maps, column, words) for column in (known, plain_words)]
    next_word = words.new_tensor([head == place + 1 for head, place in zip(above, places, strict=True)])
    scores.append(scores[1] - next_word.double())
    return [
        torch.nn.functional.pad(column, (0, none.shape[-1] - column.shape[-1]), value=torch.nan)
        for column in scores
    ]


def neighbours(sentences: Iterable[Sentence]) -> tuple[float, float]:
    """Attachment, without punctuation, of every word to the one before it, and after it; NaN if no heads.

    A head that only knows where a word's neighbour stands scores as much.
    """
    hits, count = [0, 0], 0
    for sentence in sentences:
        if sentence.heads is None or sentence.spans is None:
            continue
        for place, (head, (begin, end)) in enumerate(zip(sentence.heads, sentence.spans, strict=True)):
            if head != ROOT and not is_punctuation(sentence.text[begin:end]):
                count += 1
                hits = [hits[0] + (head == place - 1), hits[1] + (head == place + 1)]
    return (hits[0] / count, hits[1] / count) if count else (float("nan"), float("nan"))


def labels(rows: Sequence[Profile]) -> dict[tuple[int, int], str]:
    """What each head mainly routes to: the kind with most mass, if over half and surely over chance."""
    return {key: _label(measures) for key, measures in by_head(rows).items()}


def by_head(rows: Sequence[Profile]) -> ByHead:
    """The measures of each (layer, head) by name."""
    grouped: ByHead = {}
    for profile in rows:
        grouped.setdefault((profile.layer, profile.head), {})[profile.measure] = profile
    return grouped


def _label(measures: dict[str, Profile]) -> str:
    sure = [kind for kind in KINDS if measures[f"{kind} over chance"].low > 0 and measures[kind].mean > MAIN]
    return max(sure, key=lambda kind: measures[kind].mean, default=MIXED)
