"""Head profiles over a run that kept its maps: what each head routes to, with intervals and labels."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ligflow.corpus.run.kept_maps import flows
from ligflow.corpus.run.store import Run
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
    for sentence, of_one in _flows(run, att):
        values = measured(of_one, sentence)
        layers, shape = of_one.layers, (values.shape[0], values.shape[1], values.shape[2])
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
        for number, of_one in flows(run, shard, att=att):
            yield of_number[number], of_one


def measured(of_one: Flow, sentence: Sentence) -> np.ndarray:
    """All measures of one sentence [layer, head, measure, target]; NaN where a row has none."""
    share = head_profile.shares(of_one.z2u.double())
    seen = _seen(of_one)
    relation = relations(of_one, sentence)
    expected = head_profile.chance(relation, seen)
    masses = torch.where(expected.isnan(), torch.nan, head_profile.mass(share, relation))
    parts = [
        masses,
        masses - expected,
        head_profile.entropy(share, seen)[:, :, None],
        head_profile.distance(share)[:, :, None],
    ]
    parts += [score[:, :, None] for score in _attached(of_one, sentence)]
    return torch.cat(parts, dim=2).numpy()


def _seen(of_one: Flow) -> Bool[Tensor, "target source"]:
    """The sources that some head of some layer moves a target by."""
    size = of_one.z2u.abs().amax(dim=(0, 1))
    seen = size > 0
    seen[list(range(len(of_one.targets))), list(of_one.targets)] = True
    return seen


def relations(of_one: Flow, sentence: Sentence) -> Bool[Tensor, "kind target source"]:
    """Which source is in which relation to which target, over tokens."""
    count = len(of_one.tokens)
    words, places = of_one.meta.get("words") or list(range(count)), of_one.meta.get("word_places") or []
    given = [places[word] if word < len(places) else -1 for word in words]
    above = [_head(sentence, place) for place in given]
    special = list(of_one.special)
    marks = [not special[i] and is_punctuation(of_one.tokens[i]) for i in range(count)]
    rows = [
        [_related(j, i, words, given, above, special, marks) for i in range(count)] for j in of_one.targets
    ]
    return torch.tensor(rows, device="cpu").permute(2, 0, 1)


def _related(
    j: int,
    i: int,
    words: Sequence[int],
    given: Sequence[int],
    above: Sequence[int | None],
    special: Sequence[bool],
    marks: Sequence[bool],
) -> list[bool]:
    """For each kind whether source i is one to target j."""
    other = i != j
    return [
        not other, i == j - 1, i == j + 1, other and i == 0, other and i != 0 and special[i],
        other and marks[i], other and words[i] == words[j] and not special[i],
        given[i] >= 0 and given[i] == above[j], given[j] >= 0 and above[i] == given[j],
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


def _attached(of_one: Flow, sentence: Sentence) -> list[Tensor]:
    """The measures of attachment over words, in as many columns as targets.

    Only words can be chosen, no special tokens: the rules that a head is held against choose none either.
    """
    none = of_one.z2u.new_full((*of_one.z2u.shape[:2], len(of_one.targets)), torch.nan, dtype=torch.float64)
    if sentence.heads is None or of_one.meta.get("words") is None:
        return [none] * 3
    maps, places = words_of(of_one).of(of_one.z2u.double()), of_one.meta["word_places"]
    group = {place: number for number, place in enumerate(places) if place >= 0}
    above = [_head(sentence, place) for place in places]
    known = [None if head is None else group.get(head) for head in above]
    labels = of_one.meta["word_labels"]
    plain_words = [None if is_punctuation(labels[w]) else head for w, head in enumerate(known)]
    words = torch.tensor([place >= 0 for place in places], device="cpu")
    scores = [head_profile.attached(maps, one, words) for one in (known, plain_words)]
    next_word = words.new_tensor([head == place + 1 for head, place in zip(above, places, strict=True)])
    scores.append(scores[1] - next_word.double())
    return [
        torch.nn.functional.pad(one, (0, none.shape[-1] - one.shape[-1]), value=torch.nan) for one in scores
    ]


def neighbours(sentences: Iterable[Sentence]) -> tuple[float, float]:
    """Attachment, without punctuation, of every word to the one before it, and after it; NaN if no heads.

    A head that only knows where a word's neighbour stands scores as much.
    """
    hits, count = [0, 0], 0
    for one in sentences:
        if one.heads is None or one.spans is None:
            continue
        for place, (head, (begin, end)) in enumerate(zip(one.heads, one.spans, strict=True)):
            if head != ROOT and not is_punctuation(one.text[begin:end]):
                count += 1
                hits = [hits[0] + (head == place - 1), hits[1] + (head == place + 1)]
    return (hits[0] / count, hits[1] / count) if count else (float("nan"), float("nan"))


def labels(found: Sequence[Profile]) -> dict[tuple[int, int], str]:
    """What each head mainly routes to: the kind with most mass, if over half and surely over chance."""
    return {key: _label(measures) for key, measures in by_head(found).items()}


def by_head(found: Sequence[Profile]) -> ByHead:
    """The measures of each (layer, head) by name."""
    grouped: ByHead = {}
    for one in found:
        grouped.setdefault((one.layer, one.head), {})[one.measure] = one
    return grouped


def _label(measures: dict[str, Profile]) -> str:
    sure = [kind for kind in KINDS if measures[f"{kind} over chance"].low > 0 and measures[kind].mean > MAIN]
    return max(sure, key=lambda kind: measures[kind].mean, default=MIXED)
