"""`ligflow view`: a saved flow or prediction on the screen, and in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ligflow.cli.options import OUTPUT, SHOWN, option
from ligflow.cli.output import Csv, Html, Json, Outputs
from ligflow.cli.screen import Details, Full, Head, Hide, Layer, Screen, Special, View, Words, deliver
from ligflow.cli.usage_errors import Usage
from ligflow.cli.why_output import Plot, PlotKind
from ligflow.cli.why_output import deliver as deliver_prediction


def view(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A saved flow, or a prediction.")],
    beside: Annotated[
        list[Path] | None,
        option("Another saved flow or prediction for the page of --html, repeatable.", OUTPUT),
    ] = None,
    layer: Layer = None,
    show: View = None,
    head: Head = None,
    words: Words = False,
    special: Special = False,
    hide_special: Hide = False,
    full: Full = False,
    details: Details = False,
    by: Annotated[
        str | None, option("Of a prediction, sum over words, turns or the like.", SHOWN, "--by")
    ] = None,
    json_path: Json = None,
    csv: Csv = None,
    html: Html = None,
    plot: Plot = None,
    plot_kind: PlotKind = None,
) -> None:
    """Open a saved flow or prediction: print it, or write it in another form."""
    if file.suffix.lower() in (".html", ".htm"):
        raise Usage(f"{str(file)!r} is a page: open it in a browser. ligflow view opens what --save wrote.")
    if beside and html is None:
        raise Usage("--beside is for the page of --html.")
    outputs = Outputs(json_path, csv, html, plot=plot, plot_kind=plot_kind)
    outputs.check()
    from ligflow.flow import Flow
    from ligflow.results.prediction_file import holds_prediction

    screen = Screen(layer, show, head, words, special, hide_special, full, details)
    if holds_prediction(file):
        _view_prediction(file, screen, beside, outputs, by)
        return
    if by is not None:
        raise Usage(f"--by is for a prediction, and {str(file)!r} is a flow; --words merges its words.")
    if plot is not None:
        raise Usage(
            f"--plot is for a prediction, and {str(file)!r} is a flow: flow.plot(path=...) in Python."
        )
    flow, others = Flow.load(file), [Flow.load(path) for path in beside or []]
    screen.check(flow.routes)
    deliver(flow, screen, outputs, others)


def _view_prediction(
    file: Path, screen: Screen, beside: list[Path] | None, outputs: Outputs, by: str | None
) -> None:
    """A prediction has no maps of layers, and options for these are refused."""
    from ligflow.prediction.prediction import Prediction

    if replace(screen, details=False) != Screen(None, None, None, *[False] * 5):
        raise Usage(
            f"{str(file)!r} is a prediction: of what is shown it takes --by and --details; the other options "
            "are for the maps of a flow."
        )
    others = [Prediction.load(path) for path in beside or []]
    deliver_prediction(Prediction.load(file), outputs, by, details=screen.details, others=others)
