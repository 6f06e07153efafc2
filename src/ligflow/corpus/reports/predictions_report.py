"""The report on a run on prompts as files: a page in Markdown, one of all heads, tables, pages of prompts."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas

from ligflow.corpus.analysis.component_shares import ComponentShare, LayerShare
from ligflow.corpus.analysis.group_differences import GroupDifference
from ligflow.corpus.reports.files import write_table
from ligflow.corpus.reports.heads_dashboard import heads_page
from ligflow.corpus.reports.markdown import in_words
from ligflow.corpus.reports.predictions_data import PredictionFindings, prediction_findings
from ligflow.corpus.reports.predictions_page import page, summary
from ligflow.corpus.reports.prompt_pages import write_pages
from ligflow.corpus.runs.store import Run
from ligflow.errors import LigflowError
from ligflow.files import write_text


def report_predictions(
    run: Run, out: str | Path | None, draws: int, seed: int, pages: int = 0
) -> tuple[Path, list[str]]:
    """The report in `out` (by default `report` in the run's folder), and what must be known first, in words.

    It is report.md, heads.html and tables. Of the prompts at the ends, `pages` have pages of their own, for
    which the model is loaded. Raises LigflowError as `component_draws` and `write_pages` do, and for a folder
    that cannot be written.
    """
    findings = prediction_findings(run, draws, seed)
    place = Path(out) if out is not None else run.folder / "report"
    try:
        place.mkdir(parents=True, exist_ok=True)
        _write_tables(findings, place)
        ends = list(dict.fromkeys(int(n) for rows in findings.ends.values() for n in rows.prompt))
        names = write_pages(run, ends[:pages], place / "pages") if pages else {}
        links = {number: f"pages/{name}" for number, name in names.items()}
        write_text(place / "heads.html", heads_page(findings, links))
        return write_text(place / "report.md", page(findings, links)), in_words(summary(findings, str))
    except OSError as error:
        raise LigflowError(
            f"The report cannot be written to {str(place)!r}: {error.strerror or error}."
        ) from error


def _write_tables(findings: PredictionFindings, place: Path) -> None:
    write_table(_frame(findings.components, ComponentShare), place / "components")
    write_table(_frame(findings.layers, LayerShare), place / "layers")
    write_table(_frame(findings.differences, GroupDifference), place / "groups")
    write_text(place / "left_out.csv", findings.left_out.to_csv(index=False))


def _frame(rows: Sequence[Any], kind: type) -> pandas.DataFrame:
    return pandas.DataFrame(map(asdict, rows), columns=[field.name for field in fields(kind)])
