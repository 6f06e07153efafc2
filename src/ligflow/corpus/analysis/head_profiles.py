"""Head profiles over a run that kept its maps: what each head routes to, with intervals and labels.

A row's shares are `|A_k| / sum_k |A_k|`; a measure is a mean over rows, with the interval of a bootstrap over
sentences, or over documents where a corpus has several [chamandy2012].
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.corpus.analysis.clusters import clusters_of
from ligflow.corpus.analysis.corpus_words import head_of, is_punctuation
from ligflow.corpus.runs.kept_maps import flows
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.sentence import Sentence
from ligflow.errors import LigflowError
from ligflow.evaluation import head_profile
from ligflow.evaluation.bootstrap import Sums, add, interval, means, nothing, weights
from ligflow.evaluation.head_profile import KINDS
from ligflow.flow import Flow

EXCESS = tuple(f"{kind} over chance" for kind in KINDS)
OTHER = ("entropy", "distance")
MEASURES = (*KINDS, *EXCESS, *OTHER)
MAIN = 0.5  # a head routes mainly to a kind of place if more than this goes there
MIXED = "mixed"


@dataclass(frozen=True)
class Profile:
    """One measure of one head: its mean over rows, with a 95% interval; `rows` it is of."""

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
    return profiles_of(maps_of(run, att), draws, seed, clusters_of(run))


def profiles_of(
    read: Iterable[tuple[Sentence, Flow]],
    draws: int = 1000,
    seed: int = 0,
    clusters: Mapping[int, int] | None = None,
) -> list[Profile]:
    """The same of sentences and their maps of what heads read (`z2u`), which are taken one at a time.

    `clusters` says which sentences, by number, are drawn together; without it each is drawn by itself.
    Raises LigflowError without any, and for too few draws.
    """
    total: Sums | None = None
    shape, layers = (0, 0, 0), tuple[int, ...]()
    for sentence, flow in read:
        values = measured(flow, sentence)
        layers, shape = flow.layers, (values.shape[0], values.shape[1], values.shape[2])
        sums, counts = np.nansum(values, -1).reshape(1, -1), (~np.isnan(values)).sum(-1).reshape(1, -1)
        total = total or nothing(draws, sums.shape[1])
        key = (clusters or {}).get(sentence.number, sentence.number)
        add(total, weights(seed, [key], draws), sums, counts.astype(np.float64))
    if total is None:
        raise LigflowError("No sentence was explained, so no head has a profile.")
    return list(_profiles(total, shape, layers))


def _profiles(total: Sums, shape: tuple[int, int, int], layers: Sequence[int]) -> Iterator[Profile]:
    every = means(total)
    low, high = interval(every[1:])
    for at, (layer, head, measure) in enumerate(np.ndindex(shape)):
        mean, rows = float(every[0, at]), int(total.counts[0, at])
        yield Profile(layers[layer], head, MEASURES[measure], mean, float(low[at]), float(high[at]), rows)


def maps_of(run: Run, att: str = "itb") -> Iterator[tuple[Sentence, Flow]]:
    """Every explained sentence of a run with its kept maps of an ATT baseline."""
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
    above = [head_of(sentence, place) for place in of_corpus]
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
