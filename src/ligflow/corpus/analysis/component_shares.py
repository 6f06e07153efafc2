"""Which heads and MLPs carry a task: what each contributes to many predictions, with intervals and a control.

In prompt s component c contributes `R_sc`, summed over the tokens at which it writes. Its share is
`r_sc = R_sc / scale_s`, with `scale_s = max(|change_s|, sum over tokens of |relevance|)`, so that prompts
whose score moves much do not drown the others. A measure is a mean over prompts; its draws are those of a
Poisson bootstrap over prompts [chamandy2012], and intervals of shares hold for all components of a kind at
once [montielolea2019].

A component *carries* the task if that interval does not hold 0, and its mean share is larger without its sign
than in 95% of the draws of the control (`permuted_components`), which forgets which component is which.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ligflow.corpus.analysis.permuted_components import Control, begun_control
from ligflow.corpus.analysis.prompt_components import Component, OfShard, of_shards
from ligflow.corpus.runs.store import Run
from ligflow.errors import LigflowError
from ligflow.evaluation.bootstrap import Sums, add, means, nothing, weights
from ligflow.evaluation.simultaneous import simultaneous_interval

MEASURES = ("share", "relevance", "magnitude", "positive", "at the last token")


@dataclass(frozen=True)
class ComponentShare:
    """What a component contributes to the predictions of a run, on average over prompts.

    `share` has a 95% interval that holds for all components of its kind at once (NaN of a single prompt);
    `control` is what the largest share of the control stays below in 95% of its draws, and `carries` whether
    the component carries the task. `relevance` is in units of the score, `magnitude` the mean share without
    its sign, `positive` in how many of the prompts it speaks for the answer, `at_last` how much of its
    magnitude is written at the last token (NaN of a component that never contributes).
    """

    kind: str
    layer: int
    head: int | None
    prompts: int
    share: float
    low: float
    high: float
    control: float
    carries: bool
    relevance: float
    magnitude: float
    positive: float
    at_last: float


@dataclass(frozen=True)
class LayerShare:
    """What all components of a kind in one layer contribute together; the interval is for all layers."""

    kind: str
    layer: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class ComponentDraws:
    """Sums over prompts of every measure of every component, for all prompts and for each group's."""

    components: tuple[Component, ...]
    prompts: int
    every: Sums
    shares_of_group: dict[str, Sums]
    size_of_group: dict[str, int]
    control: Control

    @property
    def draws(self) -> Float[np.ndarray, "draw measure component"]:
        """The means; row 0 is over the prompts as they are."""
        return means(self.every).reshape(-1, len(MEASURES), len(self.components))


def component_draws(run: Run, draws: int = 1000, seed: int = 0) -> ComponentDraws:
    """Reads the finished shards of a run on prompts, one at a time.

    Raises LigflowError if no prompt is explained yet, a shard is damaged, or the draws are too few.
    """
    every, control, count = None, None, 0
    components: tuple[Component, ...] = ()
    groups, sizes = dict[str, Sums](), dict[str, int]()
    for shard in of_shards(run):
        if every is None or control is None:
            components = shard.components
            every = nothing(draws, len(MEASURES) * len(components))
            control = begun_control(components, draws)
        weight = weights(seed, shard.prompts, draws)
        values = _measures(shard)
        known = ~np.isnan(values)
        add(every, weight, np.where(known, values, 0.0), known.astype(np.float64))
        control.take(shard.share, shard.prompts, seed)
        count += len(shard.prompts)
        for name in {group for group in shard.groups if group is not None}:
            own = np.array([group == name for group in shard.groups])
            of_group = groups.setdefault(name, nothing(draws, len(components)))
            add(of_group, weight[:, own], shard.share[own], np.ones_like(shard.share[own]))
            sizes[name] = sizes.get(name, 0) + int(own.sum())
    if every is None or control is None:
        raise LigflowError(
            f"No shard of {str(run.folder)!r} holds an explained prompt yet; run ligflow corpus predictions "
            "to its end."
        )
    return ComponentDraws(components, count, every, groups, sizes, control)


def _measures(shard: OfShard) -> Float[np.ndarray, "prompt cell"]:
    """The MEASURES of each prompt and component; NaN where one is not defined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        at_last = np.where(shard.magnitude > 0, shard.at_last / shard.magnitude, np.nan)
    every = (shard.share, shard.relevance, np.abs(shard.share), shard.relevance > 0, at_last)
    return np.concatenate(every, axis=1).astype(np.float64)


def component_shares(estimates: ComponentDraws) -> list[ComponentShare]:
    """Every component, in the order of kinds, layers and heads."""
    draws = estimates.draws
    mean = draws[0]
    low, high = np.full((2, len(estimates.components)), np.nan)
    for own in of_kinds(estimates.components):
        low[own], high[own] = simultaneous_interval(draws[:, 0, own], estimates.prompts)
    limits = estimates.control.limits
    return [
        ComponentShare(
            part.kind, part.layer, part.head, estimates.prompts, float(mean[0, at]), float(low[at]),
            float(high[at]), limits[part.kind],
            bool((low[at] > 0 or high[at] < 0) and abs(mean[0, at]) > limits[part.kind]),
            *(float(mean[measure, at]) for measure in range(1, len(MEASURES))),
        )
        for at, part in enumerate(estimates.components)
    ]  # fmt: skip


def layer_shares(estimates: ComponentDraws) -> list[LayerShare]:
    """Heads and MLPs of each layer summed."""
    return [row for own in of_kinds(estimates.components) for row in _of_kind(estimates, own)]


def _of_kind(estimates: ComponentDraws, own: Sequence[int]) -> Iterator[LayerShare]:
    parts = [estimates.components[at] for at in own]
    layers = sorted({part.layer for part in parts})
    draws = estimates.draws[:, 0]
    summed = np.stack(
        [
            draws[:, [at for at, part in zip(own, parts, strict=True) if part.layer == layer]].sum(axis=1)
            for layer in layers
        ],
        axis=1,
    )
    low, high = simultaneous_interval(summed, estimates.prompts)
    for at, layer in enumerate(layers):
        yield LayerShare(parts[0].kind, layer, float(summed[0, at]), float(low[at]), float(high[at]))


def of_kinds(components: Sequence[Component]) -> list[list[int]]:
    """The places of the components of each kind."""
    kinds = dict.fromkeys(part.kind for part in components)
    return [[at for at, part in enumerate(components) if part.kind == kind] for kind in kinds]
