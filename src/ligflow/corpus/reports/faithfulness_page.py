"""A trial of methods as files: a page in words and tables, all standings and verdicts, and a figure."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas

from ligflow.corpus.analysis.faithfulness_ranking import Standing, Verdict
from ligflow.corpus.reports.faithfulness_figure import drawn
from ligflow.corpus.reports.files import LOOK, write_figure, write_table
from ligflow.corpus.reports.markdown import plain, table
from ligflow.corpus.tables.faithfulness_rows import ALL, SHUFFLED, WORDS
from ligflow.evaluation.judged_maps import GREEDY, HALF, SHAPLEY_RANK
from ligflow.evaluation.other_methods import NAMED, shares_start
from ligflow.evaluation.verdicts import FAILS, HOLDS, OPEN
from ligflow.files import write_text

NAMES = {
    SHAPLEY_RANK: "Shapley, rank", "amounts_shapley": "Shapley, amounts", "rank_correlation": "alone, rank",
    "amounts_alone": "alone, amounts", "deletion": "deletion", "insertion": "insertion",
    "between": "between", "comprehensiveness": "comprehensiveness", "sufficiency": "sufficiency",
    "signs": "signs", "signs_weighted": "signs, weighted", "negatives": "negatives hold back",
    SHUFFLED: "shuffled weights",
}  # fmt: skip
MAIN = (SHAPLEY_RANK, "amounts_shapley", "rank_correlation", "amounts_alone", "between")
CURVES = ("deletion", "insertion", "comprehensiveness", "sufficiency")
SIGNS = ("signs", "signs_weighted", "negatives")
_KINDS = ("named", "other", "variant", "control")
_SAID = {HOLDS: "is the best", FAILS: "is not the best", OPEN: "may or may not be the best"}
_EXPLAINED = (
    f"Means over targets, with half the width of their 95% intervals over sentences. `{NAMED}` stands for "
    "LIG. Bold: what may be the best of it and of the methods of others, by multiple comparisons with the "
    "best; variants of LIG and controls below them have no place. *: starts where removed sources are put, "
    "and is held against its own game. The ceiling of Shapley values is how well the sampled ones agree with "
    "the true ones, by halves of the orders; that of curves is a greedy order. Lower is better for "
    "sufficiency, higher for all others. With the weights shuffled a map should be another: near 0 is good."
)


def write(
    standings: Sequence[Standing], verdicts: Sequence[Verdict], place: Path, model: str, about: str
) -> Path:
    """faithfulness.md, standings and verdicts (CSV, Parquet), a figure (SVG, PNG) in `place`; the page."""
    write_table(pandas.DataFrame([asdict(row) for row in standings]), place / "standings")
    write_table(pandas.DataFrame([asdict(row) for row in verdicts]), place / "verdicts")
    write_figure(place / "faithfulness", LOOK, drawn, standings)
    return write_text(place / "faithfulness.md", page(standings, verdicts, model, about))


def page(standings: Sequence[Standing], verdicts: Sequence[Verdict], model: str, about: str) -> str:
    """The standings over all layers in Markdown: verdicts, tables for each replacement, shuffled weights."""
    replacements = [row.replacement for row in standings if row.measure != SHUFFLED]
    parts = [f"# Faithfulness: {plain(model)}", f"{about} {_EXPLAINED}", "\n".join(verdict(verdicts))]
    for replacement in dict.fromkeys(replacements):
        for players, words in ((WORDS, "special tokens stay"), (ALL, "special tokens go too")):
            parts += [f"## Sources replaced by: {replacement} ({words})"]
            parts += [standing_table(standings, replacement, players, some) for some in (MAIN, CURVES, SIGNS)]
    parts += ["## Weights shuffled", shuffled_table(standings), "![All methods](faithfulness.png)"]
    return "\n\n".join(parts) + "\n"


def verdict(verdicts: Sequence[Verdict], measures: Sequence[str] = MAIN) -> list[str]:
    """For each replacement, special tokens staying: whether the named variant of LIG is the best."""
    here = [row for row in verdicts if row.layer is None and row.players == WORDS and row.measure in measures]
    return [
        f"- Sources replaced by {row.replacement}, {NAMES[row.measure]}: `{NAMED}` **{_SAID[row.outcome]}**"
        + ("." if row.best == NAMED else f"; `{row.best}` has the best mean.")
        + (" It starts where removed sources are put: this game is its own." if row.own_game else "")
        for row in here
    ]


def standing_table(
    standings: Sequence[Standing], replacement: str, players: str, measures: Sequence[str] = MAIN
) -> str:
    """Methods under some measures, by place under the first, then variants and controls, and a ceiling."""
    here = {
        (row.method, row.measure): row
        for row in standings
        if row.layer is None and (row.replacement, row.players) == (replacement, players)
    }
    shown = {row.method: row for row in here.values() if row.measure in measures and _is_shown(row)}
    methods = sorted(shown, key=lambda method: _order(shown[method], here.get((method, measures[0]))))
    body = [
        [method + " *" * shares_start(method, replacement), *(_cell(here.get((method, m))) for m in measures)]
        for method in methods
    ]
    ceiling = [_ceiling(here.get((HALF, m)), here.get((GREEDY, m))) for m in measures]
    if any(ceiling):
        body.append(["ceiling", *ceiling])
    return table(["method", *(NAMES[measure] for measure in measures)], body)


def shuffled_table(standings: Sequence[Standing]) -> str:
    """How alike the maps of a method are with the layer's weights in random order."""
    rows = [row for row in standings if (row.layer, row.measure, row.players) == (None, SHUFFLED, WORDS)]
    rows = sorted(rows, key=lambda row: abs(row.mean))
    return table(
        ["method", "rank correlation with the real map"], [[row.method, _plain(row)] for row in rows]
    )


def _is_shown(row: Standing) -> bool:
    return row.method not in (HALF, GREEDY) and not np.isnan(row.mean)


def _order(row: Standing, first: Standing | None) -> tuple[int, int, float, str]:
    """Kinds in their order; in each the best under the first measure first."""
    if first is None or np.isnan(first.mean):
        return max(1, _KINDS.index(row.kind)), 0, 0.0, row.method
    return max(1, _KINDS.index(row.kind)), first.place, -first.mean, row.method


def _ceiling(half: Standing | None, greedy: Standing | None) -> str:
    """How far a method could come: `sqrt(2 r / (1 + r))` of halves of the judge [spearman1910], or greedy."""
    if half is not None and half.mean > 0:
        return f"{np.sqrt(2 * half.mean / (1 + half.mean)):.3f}"
    return "" if greedy is None else _plain(greedy)


def _cell(row: Standing | None) -> str:
    if row is None:
        return "–"
    return f"**{_plain(row)}**" if row.may_be_best else _plain(row)


def _plain(row: Standing) -> str:
    if np.isnan(row.mean):
        return "–"
    half = (row.high - row.low) / 2
    return f"{row.mean:.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")
