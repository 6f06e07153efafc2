"""`ligflow view`: a saved flow on the screen, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ligflow.cli.options import OUTPUT, option
from ligflow.cli.output import Csv, Html, Json, Outputs
from ligflow.cli.screen import Details, Full, Head, Hide, Layer, Screen, Special, View, Words, deliver
from ligflow.cli.usage_errors import Usage


def view(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A saved flow.")],
    beside: Annotated[
        list[Path] | None, option("Another saved flow for the page of --html, repeatable.", OUTPUT)
    ] = None,
    layer: Layer = None,
    show: View = None,
    head: Head = None,
    words: Words = False,
    special: Special = False,
    hide_special: Hide = False,
    full: Full = False,
    details: Details = False,
    json_path: Json = None,
    csv: Csv = None,
    html: Html = None,
) -> None:
    """Open a saved flow: print a map, or write it in another form."""
    if file.suffix.lower() in (".html", ".htm"):
        raise Usage(f"{str(file)!r} is a page: open it in a browser. ligflow view opens what --save wrote.")
    if beside and html is None:
        raise Usage("--beside is for the page of --html.")
    outputs = Outputs(json_path, csv, html)
    outputs.check()
    from ligflow.flow import Flow

    flow, others = Flow.load(file), [Flow.load(path) for path in beside or []]
    screen = Screen(layer, show, head, words, special, hide_special, full, details)
    screen.check(flow.routes)
    deliver(flow, screen, outputs, others)
