"""What the rankings say, in words: what agrees best, what cannot be told from it, and the paper's finding."""

import math
from collections.abc import Sequence

from ligflow.corpus.analysis.rankings import Ranked, ranking
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS

NAMES = {
    "l2": "raw L2",
    "relative_l2": "relative L2",
    "normalised_l2": "L2 of normalised rows",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "top_k": "top-k overlap",
}
_FEW = 30
_NAMED = 3  # rivals of a best pair that a line names; all are counted


def name(row: Ranked) -> str:
    """ATT / MLP baseline, and the rule."""
    return f"ATT `{row.att}` / MLP `{row.mlp}`, {row.rule}"


def number(value: float) -> str:
    """Three digits, without an exponent where that is readable."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def best(ranked: list[Ranked], unit: str, diagonal: bool) -> list[str]:
    """A line for each direct baseline and metric: the best pair, its rivals, and the controls."""
    return [_best(ranking(ranked, unit, diagonal, direct, metric)) for direct in DIRECT for metric in METRICS]


def _best(rows: Sequence[Ranked]) -> str:
    first, tied = rows[0], [row for row in rows[1:] if row.tied]
    named, more = ", ".join(map(name, tied[:_NAMED])), len(tied) - _NAMED
    also = f", and {more} more (`pairs.csv`)" if more > 0 else ""
    rivals = f"; not to be told from it: {named}{also}" if tied else ""
    return (
        f"- direct `{first.direct}`, {NAMES[first.metric]}: **{name(first)}**, {number(first.mean)} "
        f"[{number(first.low)}, {number(first.high)}]{rivals}. {_controls(first)}"
    )


def _controls(row: Ranked) -> str:
    """The controls that it does not beat, or the values of those that it does."""
    known = {
        "its own values shuffled": (row.shuffled, row.beats_shuffled),
        "raw attention": (row.attention, row.beats_attention),
        "random weights": (row.twin, row.beats_twin),
    }
    values = {what: pair for what, pair in known.items() if not math.isnan(pair[0])}
    unbeaten = [f"{what} ({number(value)})" for what, (value, beaten) in values.items() if not beaten]
    if unbeaten:
        return f"It is not better than {' and '.join(unbeaten)}."
    beaten = ", ".join(f"{what} {number(value)}" for what, (value, _) in values.items())
    return f"It beats the controls: {beaten}." if beaten else ""


def finding(ranked: list[Ranked], by_product: list[Ranked], unit: str) -> list[str]:
    """The paper's finding: ATT itb with MLP att_itb_a0 or zero is the most consistent configuration.

    The paper measured raw L2 of the product composition (`by_product` ranks that rule alone), with the
    target among the sources.
    """
    lines = [_line("as the paper measured it, raw L2 of the product composition", by_product, unit, "l2")]
    return lines + [_line(NAMES[metric], ranked, unit, metric) for metric in METRICS]


def _line(what: str, ranked: list[Ranked], unit: str, metric: str) -> str:
    parts = [_finding(ranking(ranked, unit, True, direct, metric)) for direct in DIRECT]
    return f"- {what}: {'; '.join(parts)}."


def _finding(rows: Sequence[Ranked]) -> str:
    """Whether it holds in one ranking: only if no pair of another ATT baseline may be as good as the best."""
    first, of_paper = rows[0], next(row for row in rows if row.att == "itb")
    where = f"direct `{first.direct}`: "
    if first.att == "itb":
        rivals = [row for row in rows if row.att != "itb" and row.tied]
        if rivals:
            return f"{where}**cannot be told** ({name(rivals[0])} may be as good as {name(first)})"
        return f"{where}**holds** (best: {name(first)})"
    if of_paper.tied:
        return f"{where}**cannot be told** ({name(of_paper)} may be as good as {name(first)})"
    gap = number(abs(of_paper.difference))
    return f"{where}**does not hold** ({name(first)} is better than {name(of_paper)} by {gap})"


def warnings_of(
    ranked: list[Ranked], unit: str, sentences: int, unmet: int, left_out: int, unfinished: Sequence[str]
) -> list[str]:
    """What a reader must know before the numbers."""
    lines = [*unfinished]
    if sentences < _FEW:
        lines.append(
            f"Sentences: {sentences}. Intervals from so few are too narrow, and one has none at all."
        )
    if unmet:
        lines.append(f"Integrals that miss the tolerance: {unmet}; see Completeness.")
    if left_out:
        lines.append(f"Sentences that were left out: {left_out}; see Left out.")
    lines += _magnitude(ranked, unit)
    if not all(math.isnan(row.twin) for row in ranked):
        lines.append(
            "Random weights are no floor. A pair that agrees as well on them as on the trained model agrees "
            "because of how a layer is built, whatever the model has learnt."
        )
    lines.append(
        "With direct `itb`, ATT `itb` and MLP `att_itb_a0` both routes start and end at the same points, so "
        "that under the conserving rule the sums of their rows are equal by construction. They can differ "
        "in how a row is shared out, and in nothing else: this pair has a head start where magnitude counts."
    )
    return lines


def _magnitude(ranked: list[Ranked], unit: str) -> list[str]:
    """Where raw L2 prefers noise of small magnitude to a real map of large magnitude."""
    cases = []
    for direct in DIRECT:
        rows = ranking(ranked, unit, True, direct, "l2")
        noise = min(rows, key=lambda row: row.shuffled)
        worse = [row for row in rows if row.mean > noise.shuffled]
        if worse:
            cases.append(
                f"direct `{direct}`: {name(noise)} with its values in random order "
                f"({number(noise.shuffled)}) is better than {len(worse)} of the {len(rows)} real maps"
            )
    if not cases:
        return []
    return [f"Raw L2 rewards maps of small magnitude, whatever is in them. Here, {'; '.join(cases)}."]
