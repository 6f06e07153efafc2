"""The pairs ranked for each direct baseline under each metric, beside the controls, as plain rows.

All pairs share the draws of one bootstrap over sentences [chamandy2012]: intervals of differences are paired.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from ligflow.corpus.analysis.estimates import ATTENTION, COMPOSED, PAIRS, SHUFFLED, Estimates
from ligflow.corpus.tables.schema import DIRECT, RULES
from ligflow.evaluation.bootstrap import interval
from ligflow.evaluation.consistency import LOWER_IS_BETTER, METRICS


@dataclass(frozen=True)
class Ranked:
    """One pair under one metric. `layer` is None for all layers together; `difference` is to the best.

    The best is that of the same unit, diagonal, layer, direct baseline and metric, among the rules that are
    ranked; `tied` says that the interval of the difference holds 0, or that there is none. `twin` is the
    same pair on random weights, NaN without a twin. A control is beaten if the interval of the difference
    to it, on the pair's good side, does not hold 0.
    """

    unit: str
    diagonal: bool
    layer: int | None
    direct: str
    metric: str
    att: str
    mlp: str
    rule: str
    rank: int
    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    tied: bool
    attention: float
    shuffled: float
    twin: float
    beats_attention: bool
    beats_shuffled: bool
    beats_twin: bool
    rows: int
    undefined: int


def rank(
    estimates: Estimates,
    twin: Estimates | None = None,
    by_layer: bool = False,
    rules: Sequence[str] = RULES,
) -> list[Ranked]:
    """All pairs of some rules, best first within each unit, diagonal, layer, direct baseline and metric."""
    layers = range(len(estimates.layers)) if by_layer else [len(estimates.layers)]
    places = product(range(len(estimates.units)), range(2), layers, range(len(DIRECT)), range(len(METRICS)))
    chosen = np.array([n for n, pair in enumerate(PAIRS) if pair[2] in rules])
    return [row for place in places for row in _ranked(estimates, twin, place, chosen)]


def lower_is_better(metric: str) -> bool:
    """Whether the best value of a metric is its smallest."""
    return metric in LOWER_IS_BETTER


def _ranked(
    estimates: Estimates,
    twin: Estimates | None,
    place: tuple[int, int, int, int, int],
    chosen: np.ndarray,
) -> Iterator[Ranked]:
    unit, diagonal, layer, direct, metric = place
    at = (unit, diagonal, layer, direct)
    draws = estimates.draws[:, unit, diagonal, layer, direct, COMPOSED, metric]
    order = chosen[best_first(draws[0, chosen], lower_is_better(METRICS[metric]))]
    low, high = interval(draws[1:])
    gaps = draws - draws[:, order[:1]]
    gap_low, gap_high = interval(gaps[1:])
    controls = _controls(estimates, twin, place)
    beaten = {name: _beaten(draws, values, METRICS[metric]) for name, values in controls.items()}
    for position, pair in enumerate(order, start=1):
        att, mlp, rule = PAIRS[pair]
        yield Ranked(
            unit=estimates.units[unit],
            diagonal=diagonal == 0,
            layer=estimates.layers[layer] if layer < len(estimates.layers) else None,
            direct=DIRECT[direct],
            metric=METRICS[metric],
            att=att,
            mlp=mlp,
            rule=rule,
            rank=position,
            mean=float(draws[0, pair]),
            low=float(low[pair]),
            high=float(high[pair]),
            difference=float(gaps[0, pair]),
            difference_low=float(gap_low[pair]),
            difference_high=float(gap_high[pair]),
            tied=tied(gaps[0, pair], gap_low[pair], gap_high[pair]),
            attention=float(controls["attention"][0, pair]),
            shuffled=float(controls["shuffled"][0, pair]),
            twin=float(controls["twin"][0, pair]),
            beats_attention=bool(beaten["attention"][pair]),
            beats_shuffled=bool(beaten["shuffled"][pair]),
            beats_twin=bool(beaten["twin"][pair]),
            rows=int(estimates.cells[at][pair, metric]),
            undefined=int(estimates.undefined[at][pair, metric]),
        )


def tied(gap: float, low: float, high: float) -> bool:
    """Whether something cannot be told from the best; without an interval nothing can."""
    return bool(np.isfinite(gap) and not (low > 0 or high < 0))


def _controls(
    estimates: Estimates, twin: Estimates | None, place: tuple[int, int, int, int, int]
) -> dict[str, np.ndarray]:
    """Draws of each control [draw, pair]: raw attention, the pair shuffled, the pair on random weights."""
    unit, diagonal, layer, direct, metric = place
    here = estimates.draws[:, unit, diagonal, layer, direct, :, metric]
    nothing = np.full_like(here[:, COMPOSED], np.nan)
    return {
        "attention": here[:, [ATTENTION] * len(PAIRS)],
        "shuffled": here[:, SHUFFLED],
        "twin": nothing if twin is None else twin.draws[:, unit, diagonal, layer, direct, COMPOSED, metric],
    }


def _beaten(draws: np.ndarray, control: np.ndarray, metric: str) -> np.ndarray:
    """For each pair, whether it is better than its control beyond the interval of their difference."""
    low, high = interval((draws - control)[1:])
    return high < 0 if lower_is_better(metric) else low > 0


def best_first(means: Float[np.ndarray, " place"], lower_is_better: bool) -> Int[np.ndarray, " place"]:
    """The order of means; what is not defined comes last."""
    sign = 1 if lower_is_better else -1
    return np.argsort(np.where(np.isnan(means), np.inf, sign * means), kind="stable")


def ranking(ranked: list[Ranked], unit: str, diagonal: bool, direct: str, metric: str) -> list[Ranked]:
    """One ranking of those over all layers, best first."""
    key = (unit, diagonal, direct, metric)
    return [row for row in ranked if (row.unit, row.diagonal, row.direct, row.metric) == key]
