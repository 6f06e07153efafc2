"""Means over questions, how sure they are, and what is surely better or worse than the chain."""

from collections.abc import Sequence

import numpy as np
import pandas

from ligflow.evaluation.bootstrap import add, means, nothing, weights
from ligflow.evaluation.simultaneous import simultaneous_interval, with_best
from ligflow.evaluation.verdicts import beside

CHAIN, RANDOM = "chain", "random"
APART = ("chain-", "leave-one-out")  # variants, and a method that asks the judge itself
DRAWS = 2000
FEWEST = 5  # questions
MOST = 0.8  # of the chain's questions; a method that has answered fewer is left out
LOWER = ("sufficiency",)  # measures of which less is better
Names = Sequence[str]


def standings(rows: pandas.DataFrame, part: str) -> pandas.DataFrame:
    """For each measure and method: questions, mean, interval, may it be the best, and beside the chain.

    `main` holds the chain, the rivals and the controls, over questions that all of them have answered;
    `variants` the chain and its variants.
    """
    names = sorted(rows.method.unique())
    variants = [name for name in names if name.startswith("chain-") and name != "chain-fine"]
    chosen = [CHAIN, *variants] if part == "variants" else [name for name in names if name not in variants]
    some = rows[rows.method.isin([name for name in chosen if name != "chain-fine"])]
    if part == "variants":
        some = some[some.question.isin(rows[rows.method.isin(variants)].question)]
    tables = [_of_measure(measure, each) for measure, each in some.groupby("measure", sort=False)]
    filled = [each for each in tables if len(each)]
    return pandas.concat(filled, ignore_index=True) if filled else pandas.DataFrame()


def _of_measure(measure: object, rows: pandas.DataFrame) -> pandas.DataFrame:
    """One measure's standings."""
    wide = rows.pivot(index="question", columns="method", values="value")
    if CHAIN not in wide:
        return pandas.DataFrame()
    wide = wide.loc[:, wide.notna().sum() >= MOST * wide[CHAIN].notna().sum()]
    whole = wide.dropna()
    if len(whole) < FEWEST:
        return pandas.DataFrame()
    methods, count = [str(name) for name in whole.columns], len(whole)
    drawn = bootstrapped(whole.to_numpy())
    low, high = simultaneous_interval(drawn, count)
    lower = str(measure).endswith(LOWER)
    rivals = [place for place, name in enumerate(methods) if not name.startswith(APART)]
    may_be = np.zeros(len(methods), dtype=bool)
    may_be[rivals] = with_best(drawn[:, rivals], count, lower).may_be
    own = drawn[:, [methods.index(CHAIN)]]
    others = [place for place, name in enumerate(methods) if name != CHAIN]
    outcome = np.full(len(methods), "", dtype=object)
    outcome[others] = beside(drawn[:, others], own, count, lower).outcome
    return pandas.DataFrame({
        "measure": measure, "method": methods, "questions": count, "mean": drawn[0], "low": low, "high": high,
        "may_be_best": may_be, "beside": outcome,
    })  # fmt: skip


def bootstrapped(values: np.ndarray) -> np.ndarray:
    """Means of the questions' values, and those of the draws, `[draw, method]`, the same draws for all."""
    sums = nothing(DRAWS, values.shape[1])
    add(sums, weights(0, range(len(values)), DRAWS), values, np.ones(values.shape))
    return means(sums)
