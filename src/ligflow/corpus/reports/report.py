"""A report on a run: words first, then tables and figures, then what they rest on."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas

from ligflow._version import __version__
from ligflow.corpus.analysis import completeness, rankings_in_words
from ligflow.corpus.analysis.completeness import Completeness, LeftOut
from ligflow.corpus.analysis.estimates import PAIRS, Estimates, estimate
from ligflow.corpus.analysis.rankings import Ranked, lower_is_better, rank, ranking
from ligflow.corpus.analysis.rankings_in_words import NAMES, number
from ligflow.corpus.reports import figures, latex
from ligflow.corpus.reports.files import numbered
from ligflow.corpus.reports.markdown import in_words, plain, table
from ligflow.corpus.run.store import Run, open_run
from ligflow.corpus.tables.schema import DIRECT, RULES
from ligflow.errors import LigflowError
from ligflow.evaluation.consistency import METRICS
from ligflow.files import write_text

_TOLD = ("settings", "shard_size", "sentences")  # what a twin must share with its run, beside the corpus


@dataclass(frozen=True)
class Found:
    """All that a report says, as data."""

    run: Run
    twin_run: Run | None
    estimates: Estimates
    twin: Estimates | None
    ranked: list[Ranked]
    by_product: list[Ranked]
    certified: list[Completeness]
    left_out: LeftOut
    draws: int


def report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    twin: str | Path | None = None,
) -> Path:
    """Writes report.md, tables (CSV and LaTeX) and figures (SVG and PNG) to `out`; the page's path.

    `draws` and `seed` are those of the bootstrap over sentences. `twin` is the folder of a run on random
    weights, by default the one inside the run. Raises LigflowError if no shard is finished, one is damaged,
    or the twin is of another corpus or other settings.
    """
    return reported(folder, out, draws, seed, twin)[0]


def reported(
    folder: str | Path, out: str | Path | None, draws: int, seed: int, twin: str | Path | None
) -> tuple[Path, list[str]]:
    """`report`, and what it finds in words: the warnings, and whether the paper's finding holds."""
    run = open_run(folder)
    found = _found(run, _fitting(run, run.twin if twin is None else open_run(twin)), draws, seed)
    place = Path(out) if out is not None else run.folder / "report"
    try:
        place.mkdir(parents=True, exist_ok=True)
        _write_tables(found, place)
        figures.draw(found.estimates, found.twin, place)
        return write_text(place / "report.md", page(found)), in_words(_told_of(found))
    except OSError as error:
        raise LigflowError(
            f"The report cannot be written to {str(place)!r}: {error.strerror or error}."
        ) from error


def _fitting(run: Run, twin: Run | None) -> Run | None:
    """The twin. Raises LigflowError if it is not of the same corpus and settings."""
    if twin is None:
        return None
    same = all(run.manifest[name] == twin.manifest[name] for name in _TOLD)
    if not same or run.manifest["corpus"]["fingerprint"] != twin.manifest["corpus"]["fingerprint"]:
        raise LigflowError(
            f"{str(twin.folder)!r} is no twin of {str(run.folder)!r}: its corpus or settings are different."
        )
    return twin


def _found(run: Run, twin: Run | None, draws: int, seed: int) -> Found:
    estimates = estimate(run, draws, seed)
    other = None if twin is None or not twin.done else estimate(twin, draws, seed)
    return Found(
        run, twin, estimates, other, rank(estimates, other), rank(estimates, other, rules=("product",)),
        completeness.certify(run), completeness.left_out(run), draws,
    )  # fmt: skip


def _told_of(found: Found) -> list[str]:
    lines = _warnings_of(found)[:-1]  # the last is the same in all reports
    for unit in found.estimates.units:
        lines += [
            f"Over {unit}s, does the paper's finding hold?",
            *rankings_in_words.finding(found.ranked, found.by_product, unit),
        ]
    return lines


# --- tables ---------------------------------------------------------------------------------------


def _write_tables(found: Found, place: Path) -> None:
    by_layer = rank(found.estimates, found.twin, by_layer=True)
    tables: dict[str, Iterable[Any]] = {
        "pairs": map(asdict, found.ranked),
        "layers": map(asdict, by_layer),
        "completeness": map(asdict, found.certified),
        "left_out": [
            {"sentence": n, "place": where, "reason": reason} for n, where, reason in found.left_out.first
        ],
    }
    for name, rows in tables.items():
        columns = ["sentence", "place", "reason"] if name == "left_out" else None
        frame = pandas.DataFrame(list(rows), columns=columns)
        write_text(place / f"{name}.csv", numbered(frame).to_csv(index=False))
    unit = found.estimates.units[0]
    shown = [row for row in found.ranked if row.unit == unit and row.diagonal]
    caption = (
        f"{found.run.manifest['model']['name']}, {found.estimates.sentences} sentences, {unit}s, all layers; "
        "means with half the width of their 95% intervals over sentences."
    )
    write_text(place / "pairs.tex", latex.tables(shown, caption))


# --- the page -------------------------------------------------------------------------------------


def page(found: Found) -> str:
    """The report in Markdown."""
    parts = [_head(found), _warnings(found)]
    for unit in found.estimates.units:
        parts += [_verdict(found, unit), _rankings(found, unit)]
    parts += [_figures(), _completeness(found), _flips(found), _left_out(found), _provenance(found)]
    return "\n\n".join(parts) + "\n"


def _head(found: Found) -> str:
    model, of = found.run.manifest["model"], found.estimates
    layers = ", ".join(map(str, of.layers))
    return (
        f"# Consistency of composed and direct maps: {plain(model['name'])}\n\n"
        f"{of.sentences} sentences, layers {layers}. Composed maps of {len(PAIRS)} configurations (4 ATT "
        f"baselines, 2 MLP baselines, 2 rules) against direct maps of {len(DIRECT)}. A mean is over all "
        f"rows (targets) of all sentences; intervals are 95%, from {found.draws} bootstrap draws of whole "
        "sentences."
    )


def _warnings(found: Found) -> str:
    return "## Before you read the numbers\n\n" + "\n".join(f"- {line}" for line in _warnings_of(found))


def _warnings_of(found: Found) -> list[str]:
    runs = {"run": found.run, "twin on random weights": found.twin_run}
    unfinished = [
        f"The {what} is not finished: {len(run.done)} of {run.shards} shards are in this report."
        for what, run in runs.items()
        if run is not None and run.missing
    ]
    unmet = sum(row.unmet for row in found.certified if row.layer is None)
    return rankings_in_words.warnings_of(
        found.ranked,
        found.estimates.units[0],
        found.estimates.sentences,
        unmet,
        found.left_out.count,
        unfinished,
    )


def _verdict(found: Found, unit: str) -> str:
    lines = [
        f"## Over {unit}s: does the paper's finding hold?",
        "The paper (Suzuki, Hino and Murata 2026) finds ITB for ATT with ATTITBa=0 or zero for MLP the most "
        "consistent. Here, with the target among the sources:",
        "\n".join(rankings_in_words.finding(found.ranked, found.by_product, unit)),
        f"## Over {unit}s: what agrees best",
        "With the target among the sources:",
        "\n".join(rankings_in_words.best(found.ranked, unit, True)),
        "Without it:",
        "\n".join(rankings_in_words.best(found.ranked, unit, False)),
    ]
    return "\n\n".join(lines)


def _rankings(found: Found, unit: str) -> str:
    parts = [
        f"## Over {unit}s: all configurations",
        "All layers, with the target among the sources. Bold: the best of a column; a star: not to be told "
        "from it. `pairs.csv` has intervals, differences to the best with their intervals, the shuffled row "
        "of each pair, and all of it without the diagonal; `layers.csv` layer by layer.",
    ]
    for direct in DIRECT:
        parts += [f"### Direct baseline `{direct}`", _ranking_table(found, unit, direct)]
    return "\n\n".join(parts)


def _ranking_table(found: Found, unit: str, direct: str) -> str:
    by_metric = {metric: ranking(found.ranked, unit, True, direct, metric) for metric in METRICS}
    rows = {(row.att, row.mlp, row.rule, metric): row for metric, some in by_metric.items() for row in some}
    body = [
        [f"`{att}`", f"`{mlp}`", rule, *(_cell(rows[att, mlp, rule, metric]) for metric in METRICS)]
        for att, mlp, rule in PAIRS
    ]
    firsts = [some[0] for some in by_metric.values()]
    body.append(["raw attention", "", "", *(number(row.attention) for row in firsts)])
    body.append(["the best, shuffled", "", "", *(number(row.shuffled) for row in firsts)])
    if found.twin is not None:
        body.append(["the best, random weights", "", "", *(number(row.twin) for row in firsts)])
    heads = [f"{NAMES[metric]} {'↓' if lower_is_better(metric) else '↑'}" for metric in METRICS]
    return table(["ATT", "MLP", "rule", *heads], body)


def _cell(row: Ranked) -> str:
    if row.rank == 1:
        return f"**{number(row.mean)}**"
    return number(row.mean) + (" \\*" if row.tied else "")


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


def _completeness(found: Found) -> str:
    rows = [row for row in found.certified if row.layer is None]
    tol = found.run.manifest["settings"]["tol"]
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


def _flips(found: Found) -> str:
    rows = [row for row in found.certified if row.baseline == "itb_zero_ratio"]
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


def _left_out(found: Found) -> str:
    bad, of = found.run.manifest["corpus"], found.left_out
    lines = [f"{of.explained} sentences explained, {of.count} left out."]
    lines += [f"- {count} times: {plain(reason)}" for reason, count in of.reasons.most_common()]
    lines += [f"- sentence {n} ({plain(place)}): {plain(reason)}" for n, place, reason in of.first]
    if bad.get("bad_lines"):
        lines.append(f"\n{bad['bad_lines']} malformed lines of the corpus were skipped:\n")
        lines += [f"- {plain(line)}" for line in bad["left_out_lines"]]
    return "## Left out\n\n" + "\n".join(lines)


def _provenance(found: Found) -> str:
    manifest = found.run.manifest
    told = {
        "model": manifest["model"],
        "corpus": {k: v for k, v in manifest["corpus"].items() if k not in ("left_out_lines", "file")},
        "settings": manifest["settings"],
        "versions": {"ligflow (run)": manifest["ligflow"], "ligflow (report)": __version__}
        | dict(manifest["versions"]),
    }
    body = [
        [name, plain(str(key)), plain(str(value))]
        for name, part in told.items()
        for key, value in part.items()
    ]
    return f"## Settings and versions\n\n{table(['', 'what', 'value'], body)}"
