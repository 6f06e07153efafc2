"""What `ligflow why` prints and writes of a prediction."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.text import Text

from ligflow.cli.options import OUTPUT, option
from ligflow.cli.output import Outputs
from ligflow.cli.streams import console

if TYPE_CHECKING:
    from ligflow.prediction.prediction import Prediction

Save = Annotated[Path | None, option("Save the explanation (safetensors).", OUTPUT, "--save")]
Json = Annotated[Path | None, option("Write all numbers as JSON; - for standard output.", OUTPUT, "--json")]
Csv = Annotated[Path | None, option("Write all nodes as a CSV table.", OUTPUT, "--csv")]
Html = Annotated[Path | None, option("Write a page with words, depths and heads.", OUTPUT, "--html")]


def deliver(
    prediction: Prediction, outputs: Outputs, spans: str | None, paths: int = 0, details: bool = False
) -> None:
    """The prediction on the screen and in files; one that `--json -` takes is not printed."""
    from ligflow.results.span_relevance import by, known_spans
    from ligflow.view.prediction_terminal import report

    if spans is None and "passages" in known_spans(prediction):
        spans = "passages"
    if spans is not None:
        by(prediction, spans)  # before anything is printed or written
    strongest = prediction.paths(paths) if paths else []
    written = _write(prediction, outputs)
    if str(outputs.json) == "-":
        sys.stdout.write(prediction.to_json() + "\n")
        return
    report(prediction, console(), spans=spans, details=details)
    if strongest:
        console().print(Text("\nstrongest paths, in % of the change", style="bold"))
    for path in strongest:
        console().print(Text(str(path)), soft_wrap=True)
    for file in written:
        console().print(Text(f"wrote {file}"), soft_wrap=True)


def _write(prediction: Prediction, outputs: Outputs) -> list[Path]:
    from ligflow.files import write_text

    written = [prediction.save(outputs.save)] if outputs.save else []
    if outputs.csv:
        written.append(write_text(outputs.csv, prediction.to_pandas().to_csv(index=False)))
    if outputs.html:
        written.append(prediction.to_html(outputs.html))
    if outputs.json and str(outputs.json) != "-":
        written.append(write_text(outputs.json, prediction.to_json()))
    return written
