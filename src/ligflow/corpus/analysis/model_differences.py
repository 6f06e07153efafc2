"""Two models on the same sentences: which heads and layers route differently, by how much, and how.

A row of a map becomes signed shares `a_k = A_k / sum_k |A_k|`; the distance of two rows is
`1/2 sum_k |a_k - b_k|`, from 0 (the same) to 1. Three questions, each with its own test over sentences:

| family | of | value | null hypothesis |
|---|---|---|---|
| `route` | each head | distance of its z2u rows | over twice its layer's median in half the cases at most |
| `layer` | each layer | distance of its z2z rows | the same, beside the other layers |
| `change` | each head | B less A: its share of u2z (`use`), and what its rows read | up in half the cases |

Two models that are not the same always differ a little, so that "differs at all" is no question: `route` and
`layer` ask what stands out, by a `margin` of 2 over the median of the others. All p values are exact sign
tests [arbuthnot1710], adjusted by Holm within their family [holm1979]; intervals are those of a bootstrap
over sentences [chamandy2012].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ligflow.corpus.analysis.head_profiles import measured
from ligflow.corpus.analysis.row_distances import row_distances
from ligflow.corpus.analysis.word_changes import WordChange, word_changes
from ligflow.corpus.sources.sentence import Sentence
from ligflow.errors import LigflowError
from ligflow.evaluation import head_profile
from ligflow.evaluation.bootstrap import add, interval, means, nothing, weights
from ligflow.evaluation.significance import holm, sign_test
from ligflow.explainer.explainer import Explainer
from ligflow.flow import Flow

CHANGES = ("use", *head_profile.KINDS, "entropy", "distance")
LEVEL = 0.05
MARGIN = 2.0


@dataclass(frozen=True)
class Difference:
    """One value of one head (or layer, where `head` is None): its mean over sentences with a 95% interval.

    `others` is the mean of what it is held against, the margin times the median of the others (NaN for
    `change`); `p` is exact, `adjusted` for all tests of the family [holm1979].
    """

    family: str
    layer: int
    head: int | None
    measure: str
    mean: float
    low: float
    high: float
    others: float
    p: float
    adjusted: float
    sentences: int

    @property
    def found(self) -> bool:
        """Whether it stands after all tests."""
        return self.adjusted <= LEVEL


@dataclass(frozen=True, eq=False)
class Pair:
    """What one sentence says about two models; `words` are where heads read most differently."""

    sentence: int
    layers: tuple[int, ...]
    route: Float[np.ndarray, "layer head"]
    layer: Float[np.ndarray, " layer"]
    change: Float[np.ndarray, "layer head measure"]
    words: tuple[WordChange, ...] = ()


def compare(
    a: Explainer,
    b: Explainer,
    sentences: Sequence[Sentence],
    layers: Sequence[int] | None = None,
    shared: bool = True,
    words: bool = False,
    margin: float = MARGIN,
    draws: int = 1000,
    seed: int = 0,
) -> list[Difference]:
    """Every difference between two models over sentences.

    With `shared` the layers of B are given the hidden states of A, so that a change shows in the layer that
    it was made in and not in all that follow; without, each model runs by itself. With `words` the maps are
    compared over words, which models of different tokenizers share.

    Raises LigflowError for models that do not fit each other, and where no sentence is given.
    """
    return summed(
        [pair(a, b, sentence, layers, shared, words) for sentence in sentences], margin, draws, seed
    )


def pair(
    a: Explainer, b: Explainer, sentence: Sentence, layers: Sequence[int] | None, shared: bool, words: bool
) -> Pair:
    """The differences on one sentence."""
    if shared and words:
        raise LigflowError("Shared hidden states are for the same tokens; over words compare each by itself.")
    try:
        first, other = _flows(a, b, sentence, None if layers is None else list(layers), shared)
    except LigflowError as error:
        raise LigflowError(f"{sentence.place} cannot be compared, choose other sentences: {error}") from error
    _check(a, b, sentence, first, other, words)
    flows = [flow.merge_words() for flow in (first, other)] if words else [first, other]
    route = row_distances(*(flow.z2u for flow in flows)).mean(-1)
    layer = row_distances(*(flow.z2z for flow in flows)).mean(-1)
    used = [_used(flow) for flow in flows]
    reads = [_reads(flow, sentence) for flow in (first, other)]
    change = np.concatenate([(used[1] - used[0])[..., None], reads[1] - reads[0]], axis=-1)
    return Pair(
        sentence.number,
        first.layers,
        route.numpy(),
        layer.numpy(),
        change,
        tuple(word_changes(flows[0], flows[1], sentence)),
    )


def _flows(
    a: Explainer, b: Explainer, sentence: Sentence, layers: list[int] | None, shared: bool
) -> tuple[Flow, Flow]:
    first = a.explain(sentence.inputs, layers=layers, progress=False)
    if shared:
        return first, b.explain_on(sentence.inputs, a, layers=layers)
    return first, b.explain(sentence.inputs, layers=layers, progress=False)


def _used(flow: Flow) -> Float[np.ndarray, "layer head"]:
    """The share of each head in what the heads and the residual give a target, in magnitude."""
    size = flow.u2z.double().abs()
    whole = size.sum(1) + flow.u2z_residual.double().abs()
    return (size / torch.where(whole > 0, whole, 1)[:, None]).mean(-1).numpy()


def _reads(flow: Flow, sentence: Sentence) -> Float[np.ndarray, "layer head measure"]:
    """Means over targets of what rows read; 0 where no target has such a place."""
    count = len(CHANGES) - 1
    kinds = len(head_profile.KINDS)
    every = measured(flow, sentence)
    chosen = np.concatenate([every[:, :, :kinds], every[:, :, 2 * kinds : kinds + count]], axis=2)
    known = ~np.isnan(chosen)
    return np.where(known, chosen, 0).sum(-1) / np.maximum(known.sum(-1), 1)


def _check(a: Explainer, b: Explainer, sentence: Sentence, first: Flow, other: Flow, words: bool) -> None:
    """Raises LigflowError, with what can be compared instead, where the two flows do not fit."""
    if (first.layers, first.heads) != (other.layers, other.heads):
        raise LigflowError(
            f"{a.name} has {len(first.layers)} layers of {first.heads} heads, {b.name} "
            f"{len(other.layers)} of {other.heads}: their heads have no counterpart. Compare models of one "
            "shape."
        )
    labels = [flow.meta["word_labels"] if words else flow.tokens for flow in (first, other)]
    if labels[0] != labels[1]:
        instead = "choose sentences whose words they cut alike" if words else "compare words (--words)"
        raise LigflowError(
            f"{a.name} and {b.name} cut {sentence.place} into different {'words' if words else 'tokens'}: "
            f"{' '.join(labels[0])[:60]!r} and {' '.join(labels[1])[:60]!r}; {instead}."
        )


# --- over sentences -------------------------------------------------------------------------------


def summed(
    pairs: Sequence[Pair], margin: float = MARGIN, draws: int = 1000, seed: int = 0
) -> list[Difference]:
    """Means, intervals and adjusted p values of all differences, from what single sentences say.

    What stands out is over `margin` times the median of the others. Raises LigflowError for a margin below 1,
    without pairs, and for too few draws.
    """
    if margin < 1:
        raise LigflowError(f"margin is {margin}; what stands out is over the others, so give 1 or more.")
    if not pairs:
        raise LigflowError("There is no sentence to compare on; choose others.")
    route = np.stack([of_one.route for of_one in pairs])
    layer = np.stack([of_one.layer for of_one in pairs])
    change = np.stack([of_one.change for of_one in pairs])
    numbers, layers = [of_one.sentence for of_one in pairs], pairs[0].layers
    differences = [*_family("route", route, margin * _others(route), numbers, layers, draws, seed)]
    differences += _family("layer", layer, margin * _others(layer), numbers, layers, draws, seed)
    differences += _family("change", change, None, numbers, layers, draws, seed)
    return differences


def described(pairs: Sequence[Pair], shared: bool, words: bool) -> str:
    """What was compared, in words."""
    layers = ", ".join(map(str, pairs[0].layers))
    how = "each layer of B on the hidden states of A" if shared else "each model by itself"
    return f"{len(pairs)} sentences, layers {layers}, over {'words' if words else 'tokens'}; {how}."


def _others(values: Float[np.ndarray, "sentence *place"]) -> Float[np.ndarray, "sentence *place"]:
    """The median of all others along the last axis; NaN where there are none."""
    count = values.shape[-1]
    if count == 1:
        return np.full_like(values, np.nan)
    rest = [np.median(np.delete(values, place, axis=-1), axis=-1) for place in range(count)]
    return np.stack(rest, axis=-1)


def _family(
    name: str, values: np.ndarray, others: np.ndarray | None, numbers: Sequence[int], layers: Sequence[int],
    draws: int, seed: int,
) -> Iterator[Difference]:  # fmt: skip
    """One family of differences [sentence, layer, head, measure], as many axes as it has."""
    p = sign_test(values if others is None else values - others, one_sided=others is not None)
    adjusted = np.reshape(holm([float(value) for value in p.flat]), p.shape)
    total = nothing(draws, values[0].size)
    flat = values.reshape(len(values), -1)
    add(total, weights(seed, numbers, draws), flat, np.ones_like(flat))
    every = means(total)
    low, high = (edge.reshape(p.shape) for edge in interval(every[1:]))
    beside = np.full(p.shape, np.nan) if others is None else others.mean(axis=0)
    for at in np.ndindex(p.shape):
        head = at[1] if len(at) > 1 else None
        measure = CHANGES[at[2]] if len(at) > 2 else "distance"
        yield Difference(
            name, layers[at[0]], head, measure, float(values[(slice(None), *at)].mean()), float(low[at]),
            float(high[at]), float(beside[at]), float(p[at]), float(adjusted[at]), len(values),
        )  # fmt: skip
