"""The tables of prediction-faithfulness.md, made of what the repository keeps of its runs."""

from pathlib import Path

import pandas

from ligflow.corpus.reports.markdown import table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "prediction-faithfulness"
AREAS = ("neutral: between", "mean: between", "random: between")
RANKS = ("leave-one-out: rank", "neutral: Shapley rank", "random: Shapley rank")
NORMED = tuple(
    f"{name}: NAOPC {what}" for name in ("neutral", "random") for what in ("comprehensiveness", "sufficiency")
)
KNOWN = ("changed word: place", "changed word: share", "evidence: recall")
ERASED = tuple(
    f"{name}: {what}" for name in ("neutral", "random") for what in ("comprehensiveness", "sufficiency")
)
FIRST = ("neutral: all tokens: between",)
DIFFERENCES = (*AREAS, *FIRST, *RANKS, "neutral: NAOPC between", "random: NAOPC between", *KNOWN)
MOST = 0.8  # of the chain's questions; a method that has answered fewer is left out
BY_KIND = (
    "leave-one-out", "attnlrp", "gim", "last-attention", "value-zeroing", "mean-attention", "alti-rollout",
    "integrated-gradients",
)  # fmt: skip
MARKS = {"better": " >", "worse": " <"}


def blocks(model: str) -> dict[str, str]:
    """The blocks of the page of one model by name; those whose tables are missing are left out."""
    every = {
        f"{model}-main": lambda: standing(read(model, "standings"), (*AREAS, *RANKS)),
        f"{model}-known": lambda: standing(read(model, "standings"), KNOWN),
        f"{model}-kinds": lambda: kinds(model),
        f"{model}-erased": lambda: standing(read(model, "standings"), (*ERASED, *FIRST)),
        f"{model}-normed": lambda: standing(read(model, "standings"), NORMED),
        f"{model}-random": lambda: random(read(model, "standings"), DIFFERENCES),
        f"{model}-variants": lambda: standing(read(model, "variants"), (*AREAS, *RANKS)),
        f"{model}-costs": lambda: costs(model),
        f"{model}-errors": lambda: errors(model),
        f"{model}-methods": lambda: methods(read(model, "methods")),
        "path": on_a_path,
    }
    made = dict[str, str]()
    for name, make in every.items():
        try:
            made[name] = make()
        except FileNotFoundError:
            continue
    return made


def read(model: str, name: str) -> pandas.DataFrame:
    return pandas.read_csv(RESULTS / f"{model}-{name}.csv").fillna({"beside": ""})


def standing(rows: pandas.DataFrame, measures: tuple[str, ...]) -> str:
    """Methods by measures: bold may be the best; `<` or `>`: surely worse or better than `chain`."""
    rows = rows[rows.measure.isin(measures)]
    columns = [measure for measure in measures if (rows.measure == measure).any()]
    if not columns:
        return "Too few questions have been run."
    cells = {(row.method, row.measure): row for row in rows.itertuples()}
    methods = rows[rows.measure == columns[0]].sort_values("mean", ascending=False).method.tolist()
    methods = sorted(methods, key=lambda method: method != "chain")
    counts = {measure: int(rows[rows.measure == measure].questions.iloc[0]) for measure in columns}
    body = [[f"`{method}`", *(_cell(cells.get((method, m))) for m in columns)] for method in methods]
    return table(["method", *(f"{measure} ({counts[measure]})" for measure in columns)], body)


def _cell(row: object) -> str:
    if row is None:
        return "–"
    value = f"{row.mean:.2f}"  # type: ignore[attr-defined]
    value = f"**{value}**" if row.may_be_best else value  # type: ignore[attr-defined]
    return value + MARKS.get(row.beside, "")  # type: ignore[attr-defined]


def by_kind(model: str, measure: str = "random: between") -> pandas.DataFrame:
    """Each method's area less the chain's on the same questions, by kind: mean, standard error, questions.

    Methods that stand in the main table, which have answered most of the chain's questions.
    """
    scores = pandas.read_csv(RESULTS / f"{model}-scores.csv.gz")
    wide = scores.pivot(index=["kind", "question"], columns="method", values=measure)
    enough = wide.notna().sum() >= MOST * wide["chain"].notna().sum()
    there = [method for method in BY_KIND if enough.get(method, False)]
    differences = wide[there].sub(wide["chain"], axis=0).stack()
    rows = differences.groupby(level=["method", "kind"]).agg(["mean", "sem", "count"])
    return rows.unstack("kind").loc[there]


def kinds(model: str) -> str:
    """Methods by kinds of questions; how many there are in the head."""
    rows = by_kind(model)
    names = sorted(rows["count"].columns, key=lambda kind: -rows["count"][kind].max())
    head = [f"{kind} ({int(rows['count'][kind].max())})" for kind in names]
    body = [
        [f"`{method}`", *(f"{row['mean', kind]:+.2f} ± {row['sem', kind]:.2f}" for kind in names)]
        for method, row in rows.iterrows()
    ]
    return table(["method", *head], body)


def random(rows: pandas.DataFrame, measures: tuple[str, ...]) -> str:
    """What random relevance scores under each measure that is a difference, with its interval."""
    rows = rows[(rows.method == "random") & rows.measure.isin(measures)]
    body = [
        [row.measure, str(row.questions), f"{row.mean:.3f}", f"[{row.low:.3f}, {row.high:.3f}]"]
        for row in rows.itertuples()
    ]
    return table(["measure", "questions", "random", "interval"], body)


def costs(model: str) -> str:
    """CPU seconds of a question beside the area, random replacement."""
    rows, areas = read(model, "costs"), read(model, "standings")
    areas = areas[areas.measure == "random: between"].set_index("method")["mean"]
    body = [
        [
            f"`{row.method}`", f"{row.seconds:.2f}", f"{row.tokens:.1f}", str(row.questions),
            f"{areas[row.method]:.2f}" if row.method in areas else "–",
        ]
        for row in rows.sort_values("seconds").itertuples()
    ]  # fmt: skip
    return table(["method", "seconds", "tokens", "questions", "random: between"], body)


def errors(model: str) -> str:
    """True errors of tokens."""
    body = [
        [f"`{row.method}`", str(row.questions), f"{row.median:.1e}", f"{row.worst:.1e}"]
        for row in read(model, "errors").itertuples()
    ]
    return table(["method", "questions", "median", "worst"], body)


def methods(rows: pandas.DataFrame) -> str:
    """Package, version and settings of each method."""
    body = [
        [f"`{row.method}`", f"{row.package} {row.version}", str(row.settings), str(row.source)]
        for row in rows.itertuples()
    ]
    return table(["method", "package", "settings", "source"], body)


def on_a_path() -> str:
    """How far the score has come along the straight path of plain integrated gradients."""
    body = [
        [f"{row.way:g}", f"{row.score:.2f}", f"{row.share:.0%}"]
        for row in read("smollm2", "path").itertuples()
    ]
    return table(["way from the reference", "log-probability", "share of the change"], body)
