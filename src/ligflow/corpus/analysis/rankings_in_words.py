"""What rankings say, in words: what agrees best, what else may, its controls, and the paper's finding."""

from collections.abc import Iterator, Sequence

from ligflow.corpus.analysis.controls import Control
from ligflow.corpus.analysis.estimates import Pair
from ligflow.corpus.analysis.finding import PAPER, Verdict
from ligflow.corpus.analysis.rankings import Place, Ranked, ranking
from ligflow.corpus.tables.schema import DIRECT, MATCHED
from ligflow.evaluation.consistency import METRICS
from ligflow.evaluation.verdicts import BETTER, FAILS, HOLDS, OPEN, WORSE

NAMES = {
    "l2": "raw L2",
    "relative_l2": "relative L2",
    "normalised_l2": "L2 of normalised rows",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "top_k": "top-k overlap",
}
CONTROLS = {
    "shuffled": "its own values in random order",
    "attention": "raw attention",
    "heads_alike": "all heads weighed alike",
    "heads_permuted": "the weights of the heads exchanged",
    "mean_row": "the mean row of the sentence",
    "neighbour": "the row of the next token",
    "new weights": "new weights",
    "permuted weights": "permuted weights",
}
_FEW = 30
_NAMED = 3  # rivals of a best pair that a line names; all are counted


def name(pair: Pair) -> str:
    """ATT / MLP baseline, and the rule."""
    return f"ATT `{pair[0]}` / MLP `{pair[1]}`, {pair[2]}"


def number(value: float) -> str:
    """Three digits, without an exponent where that is readable."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def control(kind: str) -> str:
    """A kind of control in plain words."""
    return CONTROLS.get(kind, kind.replace("_", " "))


def within(low: float, high: float) -> str:
    """An interval in brackets; nothing where there is none."""
    return "" if low != low or high != high else f" [{number(low)}, {number(high)}]"


def best(ranked: list[Ranked], controls: list[Control], unit: str, diagonal: bool) -> list[str]:
    """A line for each direct baseline and metric: the best pair, what else may be it, and its controls."""
    return [
        _best(ranking(ranked, unit, diagonal, direct, metric), controls)
        for direct in DIRECT
        for metric in METRICS
    ]


def _best(rows: Sequence[Ranked], controls: list[Control]) -> str:
    first, others = rows[0], [row for row in rows[1:] if row.may_be_best]
    named, more = ", ".join(name(row.pair) for row in others[:_NAMED]), len(others) - _NAMED
    also = f", and {more} more (`pairs.csv`)" if more > 0 else ""
    rivals = f"; may be the best as well: {named}{also}" if others else ""
    return (
        f"- direct `{first.direct}`, {NAMES[first.metric]}: **{name(first.pair)}**, {number(first.mean)}"
        f"{within(first.low, first.high)}{rivals}. {_beside(controls_of(controls, first))}"
    ).rstrip()


def controls_of(controls: list[Control], of: Ranked) -> list[Control]:
    """The controls of one pair in its own ranking."""
    place = Place(of.unit, of.diagonal, of.layer, of.direct, of.metric)
    return [row for row in controls if row.pair == of.pair and row.of(place)]


def _beside(rows: Sequence[Control]) -> str:
    """The controls that it is surely better than, surely worse than, and cannot be told from."""
    said = {BETTER: "Better than", WORSE: "Worse than", OPEN: "Cannot be told from"}
    parts = []
    for outcome, words in said.items():
        some = [row for row in rows if row.outcome == outcome and row.value == row.value]
        listed = ", ".join(f"{control(row.control)} ({number(row.value)})" for row in some)
        parts += [f"{words} {listed}."] if some else []
    return " ".join(parts)


# --- the paper's finding ------------------------------------------------------------------------------


def finding(verdicts: list[Verdict], unit: str) -> list[str]:
    """The verdicts with the target among the sources, a line for each metric; first the paper's own."""
    shown = [row for row in verdicts if row.unit == unit and row.diagonal]
    titles = {PAPER: "as the paper measured it, raw L2 of the product rule among its own baselines"} | NAMES
    lines = []
    for kind, title in titles.items():
        parts = [f"direct `{row.direct}`: {_verdict(row)}" for row in shown if row.ranking == kind]
        if parts:
            lines.append(f"- {title}: {'; '.join(parts)}.")
    return lines


def _verdict(row: Verdict) -> str:
    gap = f"{number(abs(row.difference))}{_turned(row)}"
    if row.outcome == HOLDS:
        return f"**{HOLDS}** ({name(row.named)} is better than {name(row.other)}, the next, by {gap})"
    if row.outcome == FAILS:
        return f"**{FAILS}** ({name(row.other)} is better than {name(row.named)} by {gap})"
    first, second = (row.named, row.other) if row.difference >= 0 else (row.other, row.named)
    return f"**{OPEN}** ({name(second)} may be as good as {name(first)})"


def _turned(row: Verdict) -> str:
    """The interval of a difference that is told as a positive one."""
    return within(row.low, row.high) if row.difference >= 0 else within(-row.high, -row.low)


# --- what must be known before the numbers ------------------------------------------------------------


def warnings_of(
    ranked: list[Ranked],
    controls: list[Control],
    unit: str,
    sentences: int,
    unmet: int,
    left_out: int,
    unfinished: Sequence[str],
) -> list[str]:
    """What a reader must know before the numbers."""
    lines = [*unfinished]
    if sentences < _FEW:
        lines.append(
            f"Sentences: {sentences}. Intervals of single means from so few are too narrow, and one has none."
        )
    if unmet:
        lines.append(f"Integrals that miss the tolerance: {unmet}; see Completeness.")
    if left_out:
        lines.append(f"Sentences that were left out: {left_out}; see Left out.")
    return [*lines, *_magnitude(ranked, controls, unit)]


_MATCHED = (f"direct `{direct}`: ATT `{att}` / MLP `{mlp}`" for direct, (att, mlp) in MATCHED.items())
_ENDS = (
    f"Where both routes start and end at the same points ({', '.join(_MATCHED)}), the conserving rule gives "
    "the same sums of rows by construction. Such maps can differ in how a row is shared out, and in nothing "
    "else: they have a head start where magnitude counts."
)


def notes_of(controls: Sequence[Control]) -> Iterator[str]:
    """What controls and matched ends can and cannot say, the same in all reports that have them."""
    kinds = {row.control for row in controls}
    if "shuffled" in kinds:
        yield (
            "The control in random order cannot fail where correlation is asked for: it is 0 by "
            "construction. Raw attention sums to 1, so that beside it raw and relative L2 compare a weight "
            "with a norm."
        )
    if any(kind.endswith("weights") for kind in kinds):
        yield (
            "Weights that are not trained are no floor. A pair that agrees as well on them as on the trained "
            "model agrees because of how a layer is built, whatever the model has learnt."
        )
    yield _ENDS


def _magnitude(ranked: list[Ranked], controls: list[Control], unit: str) -> Iterator[str]:
    """Where raw L2 prefers noise of small magnitude to a real map of large magnitude."""
    cases = []
    for direct in DIRECT:
        rows = ranking(ranked, unit, True, direct, "l2")
        place = Place(unit, True, None, direct, "l2")
        noises = [row for row in controls if row.of(place) and row.control == "shuffled"]
        if not noises:
            continue
        noise = min(noises, key=lambda row: row.value)
        worse = [row for row in rows if row.mean > noise.value]
        if worse:
            cases.append(
                f"direct `{direct}`: {name(noise.pair)} with its values in random order "
                f"({number(noise.value)}) is nearer than {len(worse)} of the {len(rows)} real maps"
            )
    if cases:
        yield f"Raw L2 rewards maps of small magnitude, whatever is in them. Here, {'; '.join(cases)}."
