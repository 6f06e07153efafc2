"""The tables of experiment.md, made of what the repository keeps of its runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

from ligflow.corpus.analysis.rankings_in_words import NAMES, number
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.tables.schema import DIRECT, MATCHED

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "experiment"
SHOWN = ("normalised_l2", "pearson", "spearman", "top_k")  # those that know no magnitude


def blocks(runs: Sequence[str]) -> dict[str, str]:
    """The blocks of the page by name."""
    return {
        "runs": what_was_run(runs),
        "ends": ends(runs, "token"),
        "words": ends([name for name in runs if "word" in units(name)], "word"),
        "controls": controls(runs),
        "verdicts": verdicts(runs),
        "genres": genres(runs),
        "certificates": certificates(runs),
    }


def read(run: str, name: str) -> pandas.DataFrame:
    return pandas.read_csv(RESULTS / run / f"{name}.csv")


def units(run: str) -> list[str]:
    return list(json.loads((RESULTS / run / "manifest.json").read_text())["settings"]["units"])


def what_was_run(runs: Sequence[str]) -> str:
    """Sentences, tokens and layers of each run, and the minutes that it took."""
    body = []
    for run in runs:
        rows = read(run, "sentences")
        manifest = json.loads((RESULTS / run / "manifest.json").read_text())
        body.append([
            run, manifest["corpus"]["source"], str(rows.tokens.count()), f"{rows.tokens.mean():.1f}",
            str(manifest["model"]["layers"]), ", ".join(units(run)), f"{seconds(run) / 60:.1f}",
        ])  # fmt: skip
    return table(["run", "corpus", "sentences", "tokens", "layers", "units", "minutes"], body)


def seconds(run: str) -> float:
    """The time that the shards of a run and of its twins took, as the log says."""
    lines = (RESULTS / run / "run.log").read_text().splitlines()
    return sum(
        float(line.split(", ")[-1].removesuffix(" s")) for line in lines if " sentences explained" in line
    )


def ends(runs: Sequence[str], unit: str) -> str:
    """The pair with matched ends under each metric, and the best of the others; without the target."""
    body = []
    for direct in DIRECT:
        for run in runs:
            rows = read(run, "pairs")
            rows = rows[(rows.unit == unit) & ~rows.diagonal & (rows.direct == direct)]
            matched = rows[own(rows, direct)].set_index("metric")
            others = rows[~own(rows, direct) & (rows.metric == "pearson")]
            best = others.sort_values("rank").iloc[0]
            body.append([
                f"`{direct}`", run, *(_ranked(matched.loc[metric]) for metric in SHOWN),
                f"{number(best['mean'])}: `{best.att}` / `{best.mlp}`, {best.rule}",
            ])  # fmt: skip
    heads = ["direct", "run", *(NAMES[metric] for metric in SHOWN), "Pearson of the best other pair"]
    return table(heads, body)


def own(rows: pandas.DataFrame, direct: str) -> "pandas.Series[bool]":
    att, mlp = MATCHED[direct]
    return (rows.att == att) & (rows.mlp == mlp) & (rows.rule == "conserving")


def _ranked(row: Any) -> str:
    """The value with its interval, bold where it may be the best; too few sentences have no interval."""
    if pandas.isna(row.low):
        return f"{number(row['mean'])}, rank {row['rank']:.0f}"
    value = f"{number(row['mean'])} [{number(row.low)}, {number(row.high)}]"
    return f"**{value}**" if row["may_be_best"] else f"{value}, rank {row['rank']:.0f}"


def controls(runs: Sequence[str]) -> str:
    """Pearson of each matched pair and of each control, without the target among the sources."""
    body, kinds = [], list(dict.fromkeys(kind for run in runs for kind in read(run, "controls").control))
    for direct in DIRECT:
        for run in runs:
            rows = read(run, "controls")
            some = rows[(rows.unit == "token") & (rows.direct == direct)].set_index("control")
            cells = [_against(some.loc[kind]) if kind in some.index else "" for kind in kinds]
            body.append([f"`{direct}`", run, number(some["mean"].iloc[0]), *cells])
    return table(["direct", "run", "the pair", *(kind.replace("_", " ") for kind in kinds)], body)


def _against(row: Any) -> str:
    """The control's value, bold where the pair is not better."""
    value = number(row["value"])
    return value if row["outcome"] == "better" else f"**{value}**"


def verdicts(runs: Sequence[str]) -> str:
    """How often the paper's finding holds, does not, and cannot be told, over tokens."""
    body = []
    for direct in DIRECT:
        for run in runs:
            rows = read(run, "verdicts")
            some = rows[(rows.unit == "token") & (rows.direct == direct)]
            paper = some[some.ranking == "paper"].outcome.iloc[0]
            count = some[some.ranking != "paper"].outcome.value_counts()
            cells = [str(count.get(outcome, 0)) for outcome in ("holds", "does not hold", "cannot be told")]
            body.append([f"`{direct}`", run, *cells, paper])
    return table(["direct", "run", "holds", "does not hold", "cannot be told", "as the paper measured"], body)


def genres(runs: Sequence[str]) -> str:
    """Pearson of the matched pairs by genre."""
    body = []
    for run in runs:
        for genre, rows in read(run, "genres").groupby("genre"):
            by_direct = rows.set_index("direct")
            cells = [number(by_direct.pearson[direct]) for direct in DIRECT]
            body.append([run, str(genre), str(rows.sentences.max()), *cells])
    return table(["run", "genre", "sentences", *(f"`{direct}`" for direct in DIRECT)], body)


def certificates(runs: Sequence[str]) -> str:
    """How the integrals of each run end."""
    body = []
    for run in runs:
        rows = read(run, "completeness")
        body.append([run, f"{rows.integrals.sum():,}", str(rows.unmet.sum()), f"{rows.largest.max():.1e}"])
    return table(["run", "integrals", "miss the tolerance", "largest certificate"], body)
