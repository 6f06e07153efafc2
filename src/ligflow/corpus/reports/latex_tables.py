"""The rankings as LaTeX tables (booktabs), one a direct baseline.

By hand, since with the bold best and the escapes the `Styler` of pandas takes as many lines.
"""

from collections.abc import Sequence

from ligflow.corpus.analysis.estimates import Pair
from ligflow.corpus.analysis.rankings import Ranked, lower_is_better
from ligflow.corpus.analysis.rankings_in_words import NAMES
from ligflow.corpus.tables.schema import ATT, DIRECT, MLP, RULES
from ligflow.evaluation.consistency import METRICS

_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def tables(rows: Sequence[Ranked], caption: str) -> str:
    """Tables of the means with half the width of their 95% intervals; what may be the best is bold."""
    parts = ["% needs \\usepackage{booktabs}"]
    for direct in DIRECT:
        parts.append(_table([row for row in rows if row.direct == direct], direct, caption))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Ranked], direct: str, caption: str) -> str:
    by_pair = {(*row.pair, row.metric): row for row in rows}
    pairs = sorted(dict.fromkeys(row.pair for row in rows), key=_place)
    arrows = {True: r"$\downarrow$", False: r"$\uparrow$"}
    heads = " & ".join(f"{escape(NAMES[metric])} {arrows[lower_is_better(metric)]}" for metric in METRICS)
    lines = [
        " & ".join([*map(escape, pair), *(_cell(by_pair[(*pair, metric)]) for metric in METRICS)]) + r" \\"
        for pair in pairs
    ]
    return "\n".join([
        r"\begin{table}", r"\centering\scriptsize",
        rf"\caption{{Direct baseline \texttt{{{escape(direct)}}}. {escape(caption)}}}",
        r"\begin{tabular}{lll" + "r" * len(METRICS) + "}", r"\toprule",
        rf"ATT & MLP & rule & {heads} \\", r"\midrule", *lines,
        r"\bottomrule", r"\end{tabular}", r"\end{table}",
    ])  # fmt: skip


def _cell(row: Ranked) -> str:
    if row.mean != row.mean:
        return "--"
    text = f"{row.mean:.3f} $\\pm$ {(row.high - row.low) / 2:.3f}"
    return rf"\textbf{{{text}}}" if row.may_be_best else text


def _place(pair: Pair) -> tuple[int, ...]:
    """Where a pair stands in the schema's order of names."""
    return tuple(known.index(name) for known, name in zip((ATT, MLP, RULES), pair, strict=True))
