"""A report on a run: words first, then tables and figures, then what they rest on."""

from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas

from ligflow.corpus.analysis.by_genre import OfGenre
from ligflow.corpus.analysis.finding import Verdict
from ligflow.corpus.analysis.rankings import rank
from ligflow.corpus.analysis.report_data import Findings, TwinRuns, findings_of, fitting_twins
from ligflow.corpus.reports import consistency_figures, latex_tables
from ligflow.corpus.reports.consistency_page import page, summary
from ligflow.corpus.reports.files import numbered
from ligflow.corpus.reports.markdown import in_words
from ligflow.corpus.reports.predictions_report import report_predictions
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.tables.kinds import KINDS, PREDICTIONS
from ligflow.errors import LigflowError
from ligflow.files import write_text


def report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    twin: str | Path | None = None,
    pages: int = 0,
) -> Path:
    """Writes report.md, tables (CSV and LaTeX) and figures (SVG and PNG) to `out`; the page's path.

    Of a run on prompts the page says which heads and layers carry them, and `pages` of the prompts at the
    ends have pages of their own, for which the model is loaded.

    `draws` and `seed` are those of the bootstrap over sentences, or prompts. `twin` is the folder of a run on
    random weights, by default the one inside the run. Raises LigflowError if no shard is finished, one is
    damaged, or the twin is of another corpus or other settings.
    """
    return reported(folder, out, draws, seed, twin, pages)[0]


def reported(
    folder: str | Path, out: str | Path | None, draws: int, seed: int, twin: str | Path | None, pages: int = 0
) -> tuple[Path, list[str]]:
    """`report`, and what it finds in words: the warnings, and whether the paper's finding holds."""
    run = open_run(folder)
    if run.kind is KINDS[PREDICTIONS]:
        if twin is not None:
            raise LigflowError("A run on prompts has no twin to be held against; leave twin out.")
        return report_predictions(run, out, draws, seed, pages)
    if pages:
        raise LigflowError("Pages are of prompts, and this run is on sentences; leave pages out.")
    findings = findings_of(run, fitting_twins(run, _twins(run, twin)), draws, seed)
    place = Path(out) if out is not None else run.folder / "report"
    try:
        place.mkdir(parents=True, exist_ok=True)
        _write_tables(findings, place)
        consistency_figures.draw(findings.estimates, findings.twins, place)
        return write_text(place / "report.md", page(findings)), in_words(summary(findings))
    except OSError as error:
        raise LigflowError(
            f"The report cannot be written to {str(place)!r}: {error.strerror or error}."
        ) from error


def _twins(run: Run, folder: str | Path | None) -> TwinRuns:
    """The runs on weights that are not trained: those inside the run, or the one of a folder."""
    if folder is None:
        return run.twins
    twin = open_run(folder)
    return {str(twin.manifest["model"]["weights"]).partition(",")[0]: [twin]}


_COLUMNS = {"left_out": ["sentence", "place", "reason"], "genres": [field.name for field in fields(OfGenre)]}

# --- tables ---------------------------------------------------------------------------------------


def _write_tables(findings: Findings, place: Path) -> None:
    tables: dict[str, Iterable[Any]] = {
        "pairs": map(asdict, findings.ranked),
        "layers": map(asdict, rank(findings.estimates, by_layer=True)),
        "controls": map(asdict, findings.controls),
        "verdicts": map(_flat, findings.verdicts),
        "genres": map(asdict, findings.of_genres),
        "completeness": map(asdict, findings.certified),
        "left_out": [
            {"sentence": n, "place": where, "reason": reason} for n, where, reason in findings.left_out.first
        ],
    }
    for name, rows in tables.items():
        columns = _COLUMNS.get(name)
        frame = pandas.DataFrame(list(rows), columns=columns)
        write_text(place / f"{name}.csv", numbered(frame).to_csv(index=False))
    unit = findings.estimates.units[0]
    shown = [row for row in findings.ranked if row.unit == unit and row.diagonal]
    model, sentences = findings.run.manifest["model"]["name"], findings.estimates.sentences
    caption = (
        f"{model}, {sentences} sentences, {unit}s, all layers; means with half the width of their "
        "95% intervals over sentences. Bold: may be the best pair (95%, Hsu's multiple comparisons)."
    )
    write_text(place / "pairs.tex", latex_tables.tables(shown, caption))


def _flat(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a row, its pairs as a column for each of their names."""
    row = asdict(verdict)
    pairs = {
        f"{which}_{part}": value
        for which in ("named", "other")
        for part, value in zip(("att", "mlp", "rule"), row.pop(which), strict=True)
    }
    return row | pairs
