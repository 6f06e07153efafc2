"""Runs the consistency experiment and writes its results into experiment.md. Run: make experiment

The runs are kept in `runs/`, so that an interrupted one goes on and a finished one is only read. The page's
text is written by hand; the blocks between `<!-- begin NAME -->` and `<!-- end NAME -->` are replaced.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas
from blocks import put

from ligflow.corpus.analysis.rankings import lower_is_better
from ligflow.corpus.analysis.rankings_in_words import NAMES, number
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.runs.store import open_run
from ligflow.evaluation.consistency import METRICS

DOCS = Path(__file__).parents[1]
RUNS = DOCS.parent / "runs"
PICTURES = DOCS / "pictures" / "experiment"
OPTIONS = {
    "minilm": ["--end", "200", "--unit", "token", "--unit", "word"],
    "gemma": ["--sample", "30", "--layers", "0,5,11,17", "--shard-size", "10"],
}
MODELS = {"minilm": "embedded:minilm", "gemma": "embedded:gemma-3-270m"}
FIGURES = ("pairs", "layers-itb-conserving", "layers-zero-product")
PAIR = ["att", "mlp", "rule"]


def command(name: str, *arguments: str) -> None:
    ligflow = Path(sys.executable).parent / "ligflow"
    subprocess.run([ligflow, "corpus", name, *arguments], check=True)


def compute(name: str) -> None:
    """The run with its twin, and the report inside it."""
    folder = str(RUNS / name)
    options = [*OPTIONS[name], "--model", MODELS[name], "--twin", "--out", folder]
    command("run", "embedded:sentences", *options)
    command("report", folder)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for figure in FIGURES:
        shutil.copy(RUNS / name / "report" / f"{figure}.svg", PICTURES / f"{name}-{figure}.svg")


def blocks(name: str) -> Iterator[tuple[str, str]]:
    report = RUNS / name / "report"
    pairs, controls = (pandas.read_csv(report / f"{name}.csv") for name in ("pairs", "controls"))
    for unit in pairs.unit.unique():
        of_unit = pairs[(pairs.unit == unit) & pairs.diagonal]
        yield f"{name}-{unit}-best", best(of_unit, controls)
        yield f"{name}-{unit}-itb", ranking(of_unit[of_unit.direct == "itb"])
    yield f"{name}-off-diagonal", best(pairs[(pairs.unit == "token") & ~pairs.diagonal], controls)
    text = (report / "report.md").read_text(encoding="utf-8")
    for block, heading in {
        "finding": "does the paper's finding hold?",
        "magnitude": "Before you read",
    }.items():
        section = re.search(rf"^## [^\n]*{re.escape(heading)}[^\n]*\n(.*?)(?=^## )", text, re.S | re.M)
        assert section is not None
        lines = [line for line in section[1].splitlines() if line.startswith("- ")]
        yield f"{name}-{block}", "\n".join(lines[:1] if block == "magnitude" else lines)
    yield f"{name}-completeness", completeness(pandas.read_csv(report / "completeness.csv"))
    yield f"{name}-size", size(name)


def size(name: str) -> str:
    """What was computed."""
    found = open_run(RUNS / name)
    rows = pandas.concat([found.table(shard, "sentences").to_pandas() for shard in found.done])
    layers = found.manifest["settings"]["layers"]
    which = "all layers" if layers is None else f"layers {', '.join(map(str, layers))}"
    return (
        f"{len(rows)} sentences of {rows.tokens.min()} to {rows.tokens.max()} tokens (mean "
        f"{rows.tokens.mean():.1f}), {which}."
    )


def best(rows: pandas.DataFrame, controls: pandas.DataFrame) -> str:
    """The best pair of each direct baseline and metric, with controls."""
    key = [*PAIR, "unit", "diagonal", "direct", "metric"]
    beside = controls.set_index([*key, "control"])
    body = []
    for (direct, metric), some in rows.groupby(["direct", "metric"], sort=False):
        first = some[some["rank"] == 1].iloc[0]
        others = int(some.may_be_best.sum()) - 1
        body.append([
            f"`{direct}`", NAMES[str(metric)], f"`{first.att}` / `{first.mlp}`, {first.rule}",
            f"{number(first['mean'])} [{number(first.low)}, {number(first.high)}]", str(others or ""),
            *(_control(beside.loc[(*first[key], kind)]) for kind in ("shuffled", "attention", "new weights")),
        ])  # fmt: skip
    heads = [
        "direct",
        "metric",
        "best ATT / MLP",
        "mean",
        "may be as well",
        "shuffled",
        "attention",
        "new weights",
    ]
    return table(heads, body)


def _control(row: "pandas.Series[float]") -> str:
    return number(row.value) if row.outcome == "better" else f"**{number(row.value)}**"


def ranking(rows: pandas.DataFrame) -> str:
    """All pairs of one direct baseline."""
    body = []
    for key, some in rows.groupby(PAIR, sort=False):
        cells = {row.metric: row for row in some.itertuples()}
        att, mlp, rule = map(str, key)
        body.append([f"`{att}`", f"`{mlp}`", rule, *(_cell(cells[metric]) for metric in METRICS)])
    order = {name: place for place, name in enumerate(["zero", "itb", "itb_zero_ratio", "itb_map_ratio"])}
    body.sort(key=lambda line: (order[line[0].strip("`")], line[1] != "`zero`", line[2]))
    arrows = [f"{NAMES[metric]} {'↓' if lower_is_better(metric) else '↑'}" for metric in METRICS]
    return table(["ATT", "MLP", "rule", *arrows], body)


def _cell(row: "pandas.Series[float]") -> str:
    if row.rank == 1:
        return f"**{number(row.mean)}**"
    return number(row.mean) + (" \\*" if row.may_be_best else "")


def completeness(rows: pandas.DataFrame) -> str:
    whole = rows[rows.layer.isna()]
    body = [
        [row.route, f"`{row.baseline}`", f"{row.integrals:,}", f"{row.median:.0e}", f"{row.largest:.1e}",
         str(row.unmet), f"{row.nodes:.1f}", f"{row.origin_mass:.2g}", f"{row.flipped:.1%}"]
        for row in whole.itertuples()
    ]  # fmt: skip
    heads = ["route", "baseline", "integrals", "median certificate", "largest", "unmet", "points",
             "largest origin mass", "rows flipped"]  # fmt: skip
    return table(heads, body)


def main() -> None:
    found: dict[str, str] = {}
    for name in sys.argv[1:] or MODELS:
        compute(name)
        found |= dict(blocks(name))
    put(DOCS / "explanation" / "experiment.md", found)


if __name__ == "__main__":
    main()
