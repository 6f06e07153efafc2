"""The report on a run as a page: words first, then tables and figures, then what they rest on."""

from collections.abc import Iterator, Sequence

from ligflow._version import __version__
from ligflow.corpus.analysis import rankings_in_words
from ligflow.corpus.analysis.controls import Control
from ligflow.corpus.analysis.rankings import Ranked, lower_is_better, ranking
from ligflow.corpus.analysis.rankings_in_words import NAMES, control, controls_of, number, within
from ligflow.corpus.analysis.report_data import Findings
from ligflow.corpus.reports.markdown import plain, table
from ligflow.corpus.tables.schema import ATT, DIRECT, MLP, RULES
from ligflow.evaluation.consistency import METRICS
from ligflow.evaluation.verdicts import BETTER, OPEN, WORSE


def summary(findings: Findings) -> list[str]:
    """The warnings, and whether the paper's finding holds."""
    lines = _warnings_of(findings)
    for unit in findings.estimates.units:
        lines += [
            f"Over {unit}s, does the paper's finding hold?",
            *rankings_in_words.finding(findings.verdicts, unit),
        ]
    return lines


def page(findings: Findings) -> str:
    """The report in Markdown."""
    parts = [_head(findings), _warnings(findings)]
    for unit in findings.estimates.units:
        parts += [_verdict(findings, unit), _rankings(findings, unit)]
    parts += [
        *_genres(findings),
        _figures(),
        _completeness(findings),
        _flips(findings),
        _left_out(findings),
        _provenance(findings),
    ]
    return "\n\n".join(parts) + "\n"


def _head(findings: Findings) -> str:
    model, of = findings.run.manifest["model"], findings.estimates
    layers = ", ".join(map(str, of.layers))
    sizes = [len({pair[part] for pair in of.pairs}) for part in range(3)]
    return (
        f"# Consistency of composed and direct maps: {plain(model['name'])}\n\n"
        f"{of.sentences} sentences, layers {layers}. Composed maps of {len(of.pairs)} configurations "
        f"({sizes[0]} ATT baselines, {sizes[1]} MLP baselines, {sizes[2]} rules) against direct maps of "
        f"{len(DIRECT)}. A mean is over all rows (targets) of all sentences, each counting once whatever its "
        "number of sources; relative L2 is that of whole maps of a sentence in a layer. Intervals are 95%, "
        f"from {findings.draws} bootstrap draws of whole sentences; differences have intervals that hold for "
        "all of a ranking at once."
    )


def _warnings(findings: Findings) -> str:
    lines = [*_warnings_of(findings), *rankings_in_words.notes_of(findings.controls)]
    return "## Before you read the numbers\n\n" + "\n".join(f"- {line}" for line in lines)


def _warnings_of(findings: Findings) -> list[str]:
    runs = [("run", findings.run)]
    runs += [(f"run on {kind}", twin) for kind, twins in findings.twin_runs.items() for twin in twins]
    unfinished = [
        f"The {what} is not finished: {len(run.done)} of {run.shards} shards are in this report."
        for what, run in runs
        if run.missing
    ]
    unfinished += [
        f"There is one seed of {kind}: its intervals are over sentences, and say nothing of other seeds."
        for kind, twins in findings.twins.items()
        if twins.seeds == 1
    ]
    unmet = sum(row.unmet for row in findings.certified if row.layer is None)
    return rankings_in_words.warnings_of(
        findings.ranked,
        findings.controls,
        findings.estimates.units[0],
        findings.estimates.sentences,
        unmet,
        findings.left_out.count,
        unfinished,
    )


def _verdict(findings: Findings, unit: str) -> str:
    lines = [
        f"## Over {unit}s: does the paper's finding hold?",
        "The paper (Suzuki, Hino and Murata 2026) finds ITB for ATT with ATTITBa=0 or zero for MLP the most "
        "consistent. It *holds* here if every other pair is surely worse than one of these, *does not hold* "
        "if each of these is surely worse than another pair, and else *cannot be told*: beyond intervals "
        "that hold for all these differences at once. With the target among the sources:",
        "\n".join(rankings_in_words.finding(findings.verdicts, unit)),
        f"## Over {unit}s: what agrees best",
        "With the target among the sources:",
        "\n".join(rankings_in_words.best(findings.ranked, findings.controls, unit, True)),
        "Without it:",
        "\n".join(rankings_in_words.best(findings.ranked, findings.controls, unit, False)),
    ]
    return "\n\n".join(lines)


def _rankings(findings: Findings, unit: str) -> str:
    parts = [
        f"## Over {unit}s: all configurations",
        "All layers, with the target among the sources. Bold: the best of a column; a star: may be the best "
        "as well, one of the set that holds the truly best pair with 95%. `pairs.csv` has intervals and "
        "differences to the best of the others, `controls.csv` each pair beside each control, both without "
        "the diagonal too; `layers.csv` layer by layer.",
    ]
    for direct in DIRECT:
        parts += [f"### Direct baseline `{direct}`", _ranking_table(findings, unit, direct)]
    return "\n\n".join(parts)


def _ranking_table(findings: Findings, unit: str, direct: str) -> str:
    by_metric = {metric: ranking(findings.ranked, unit, True, direct, metric) for metric in METRICS}
    rows = {
        (row.att, row.mlp, row.rule, metric): row for metric, ranked in by_metric.items() for row in ranked
    }
    pairs = sorted({(att, mlp, rule) for att, mlp, rule, _ in rows}, key=_place)
    body = [
        [f"`{att}`", f"`{mlp}`", rule, *(_cell(rows[att, mlp, rule, m]) for m in METRICS)]
        for att, mlp, rule in pairs
    ]
    body += _control_lines(findings, [ranked[0] for ranked in by_metric.values()])
    heads = [f"{NAMES[metric]} {'↓' if lower_is_better(metric) else '↑'}" for metric in METRICS]
    return table(["ATT", "MLP", "rule", *heads], body)


def _place(pair: Sequence[str]) -> tuple[int, ...]:
    """Where a pair stands in the schema's order of names."""
    return tuple(known.index(name) for known, name in zip((ATT, MLP, RULES), pair, strict=True))


def _control_lines(findings: Findings, firsts: Sequence[Ranked]) -> list[list[str]]:
    """The controls of the best pair of each column; where it has none of a kind, a dash."""
    of_columns = [{row.control: row for row in controls_of(findings.controls, first)} for first in firsts]
    kinds = dict.fromkeys(kind for of_column in of_columns for kind in of_column)
    return [
        [f"the best, {control(kind)}", "", "", *(_value(of_column.get(kind)) for of_column in of_columns)]
        for kind in kinds
    ]


def _value(row: Control | None) -> str:
    """A control's value, marked where the best pair is not surely better than it."""
    if row is None or row.value != row.value:
        return "–"
    marks = {BETTER: "", WORSE: " (better)", OPEN: " (cannot be told)"}
    return number(row.value) + marks[row.outcome]


def _cell(row: Ranked) -> str:
    if row.rank == 1:
        return f"**{number(row.mean)}**"
    return number(row.mean) + (" \\*" if row.may_be_best else "")


def _genres(findings: Findings) -> Iterator[str]:
    """The best pair of each genre under one metric that knows no magnitude; nothing without genres."""
    unit = findings.estimates.units[0]
    rows = [
        row for row in findings.of_genres if row.unit == unit and row.diagonal and row.metric == "pearson"
    ]
    if not rows:
        return
    body = [
        [
            plain(row.genre), str(row.sentences), f"`{row.direct}`", f"`{row.att}` / `{row.mlp}`, {row.rule}",
            f"{number(row.mean)}{within(row.low, row.high)}", str(row.may_be_best),
            f"{number(row.matched_mean)}{within(row.matched_low, row.matched_high)}",
        ]
        for row in rows
    ]  # fmt: skip
    heads = ["genre", "sentences", "direct", "best pair", "Pearson", "may be the best", "matched ends"]
    yield (
        f"## By genre\n\nOver {unit}s, with the target among the sources: the best pair of each genre, how "
        "many pairs may be the best, and the pair whose paths have the same ends. A genre has few sentences, "
        "and nothing is corrected over genres. `genres.csv` has the other metrics.\n\n" + table(heads, body)
    )


def _figures() -> str:
    lines = [
        "## Figures",
        "![All configurations under every metric](pairs.png)\n\nShades are by rank within a column: dark is "
        "good. Also as `pairs.svg`.",
    ]
    for direct in DIRECT:
        for rule in RULES:
            name = f"layers-{direct}-{rule}"
            lines.append(f"![By layer, direct {direct}, {rule}]({name}.png)")
    lines.append(
        "By layer, bands are 95% intervals over sentences; a band that is narrower than its line cannot be "
        "seen. Grey lines are controls."
    )
    return "\n\n".join(lines)


def _completeness(findings: Findings) -> str:
    rows = [row for row in findings.certified if row.layer is None]
    tol = findings.run.manifest["settings"]["tol"]
    body = [
        [
            row.route, f"`{row.baseline}`", str(row.integrals), f"{row.median:.1e}", f"{row.quantile_99:.1e}",
            f"{row.largest:.1e}", str(row.unmet), f"{row.nodes:.1f}", f"{row.origin_mass:.1e}",
            f"{row.far_from_tame:.1%}",
        ]
        for row in rows
    ]  # fmt: skip
    heads = [
        "route", "baseline", "integrals", "median", "99%", "largest |certificate|", "unmet", "mean points",
        "largest origin mass", "rows with origin mass above 0.1",
    ]  # fmt: skip
    note = (
        f"Tolerance {tol}. Quantiles are of the worst |certificate| of each target. A ratio has the points "
        "of both its integrals. `completeness.csv` has every layer."
    )
    return f"## Completeness\n\n{note}\n\n{table(heads, body)}"


def _flips(findings: Findings) -> str:
    rows = [row for row in findings.certified if row.baseline == "itb_zero_ratio"]
    layers = sorted({row.layer for row in rows if row.layer is not None})
    body = []
    for route in ("z2u", "z2z"):
        of_route = {row.layer: row.flipped for row in rows if row.route == route}
        body.append([route, *(f"{of_route.get(layer, 0):.2%}" for layer in [None, *layers])])
    note = (
        "Rows of `itb_zero_ratio` whose estimated self share is above 1, which turns the signs of all other "
        "sources (a row of `z2u` is one of a head). `itb_map_ratio` cannot flip."
    )
    return f"## Flipped signs\n\n{note}\n\n{table(['route', 'all', *map(str, layers)], body)}"


def _left_out(findings: Findings) -> str:
    bad, of = findings.run.manifest["corpus"], findings.left_out
    lines = [f"{of.explained} sentences explained, {of.count} left out."]
    lines += [f"- {count} times: {plain(reason)}" for reason, count in of.reasons.most_common()]
    lines += [f"- sentence {n} ({plain(place)}): {plain(reason)}" for n, place, reason in of.first]
    if bad.get("bad_lines"):
        lines.append(f"\n{bad['bad_lines']} malformed lines of the corpus were skipped:\n")
        lines += [f"- {plain(line)}" for line in bad["left_out_lines"]]
    return "## Left out\n\n" + "\n".join(lines)


def _provenance(findings: Findings) -> str:
    manifest = findings.run.manifest
    sources = {
        "model": manifest["model"],
        "corpus": {k: v for k, v in manifest["corpus"].items() if k not in ("left_out_lines", "file")},
        "settings": manifest["settings"],
        "versions": {"ligflow (run)": manifest["ligflow"], "ligflow (report)": __version__}
        | dict(manifest["versions"]),
    }
    body = [
        [name, plain(str(key)), plain(str(value))]
        for name, part in sources.items()
        for key, value in part.items()
    ]
    return f"## Settings and versions\n\n{table(['', 'what', 'value'], body)}"
