"""What is printed of a flow: the options that say so, checked, and the print itself."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from rich.text import Text

from ligflow.cli.options import SHOWN, choice, option
from ligflow.cli.output import Outputs, as_json
from ligflow.cli.streams import console
from ligflow.cli.usage_errors import Usage
from ligflow.errors import LigflowError
from ligflow.names import NEEDS, ROUTES, VIEWS

if TYPE_CHECKING:
    from ligflow.flow import Flow

Layer = Annotated[int | None, option("The layer that is printed; default: the one that tells most.", SHOWN)]
View = Annotated[str | None, choice("--show", VIEWS, "The map that is printed", SHOWN)]
Head = Annotated[int | None, option("The head that is printed with --show reads; default: their sum.", SHOWN)]
Words = Annotated[bool, option("Merge subwords to words.", SHOWN, "--words")]
Special = Annotated[
    bool, option("Show all sources: hide neither special tokens nor the first one.", SHOWN, "--special")
]
Hide = Annotated[
    bool,
    option("Leave special tokens out as targets too, and of --json and --csv.", SHOWN, "--hide-special"),
]
Full = Annotated[bool, option("Print the whole map, however large it is.", SHOWN, "--full")]
Details = Annotated[bool, option("Print errors, steps and what has not converged.", SHOWN, "--details")]


@dataclass(frozen=True)
class Screen:
    """What is printed, as the options say."""

    layer: int | None
    view: str | None
    head: int | None
    words: bool
    special: bool
    hide: bool
    full: bool
    details: bool

    def check(self, routes: tuple[str, ...]) -> None:
        """The view that is to be printed must be known, and its routes computed."""
        if self.head is not None and self.view != "z2u":
            raise Usage("--head is for --show reads.")
        if self.special and self.hide:
            raise Usage("--special shows special tokens, and --hide-special hides them; give one of the two.")
        missing = sorted(NEEDS[self.view] - {*routes}) if self.view else []
        if missing:
            named: dict[str, str] = {code: name for name, code in ROUTES.items()}
            options = " ".join(f"--route {named[route]}" for route in missing)
            raise Usage(f"--show {self.view} needs {options}.")

    def address(self) -> str:
        """How a page opens that is to show the same; what is not asked for is as pages have it."""
        shown = self.view if self.head is None else f"h{self.head}"
        settings = {"layer": self.layer, "map": shown, "words": 1 if self.words else None}
        settings |= {"special": 0 if self.special else 1 if self.hide else None}
        return "&".join(f"{name}={value}" for name, value in settings.items() if value is not None)


def deliver(flow: Flow, screen: Screen, outputs: Outputs, others: list[Flow] | None = None) -> None:
    """The flow on the screen and in files; one that `--json -` takes is not printed."""
    from ligflow.view.terminal import report

    layer = None if screen.layer is None else _from_end(screen.layer, flow)
    if layer is not None:
        flow.row(layer)
    if screen.head is not None and not 0 <= screen.head < flow.heads:
        raise LigflowError(
            f"There is no head {screen.head}: there are {flow.heads}, numbered 0 to {flow.heads - 1}."
        )
    shown = flow.hide_special() if screen.hide else flow
    shown = shown.merge_words() if screen.words else shown
    written = outputs.write(flow, shown, others or [], screen.address())
    if str(outputs.json) == "-":
        sys.stdout.write(as_json(shown) + "\n")
        return
    parts = not screen.words and any(name.endswith("_value") for name in flow.tensors)
    split = not screen.words and "z2z_heads" in flow.tensors
    report(
        flow, console(), parts=parts, split=split, words=screen.words, view=screen.view, layer=layer,
        head=screen.head, special=screen.special, targets_only=screen.hide, full=screen.full,
        details=screen.details,
    )  # fmt: skip
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)


def _from_end(layer: int, flow: Flow) -> int:
    """A negative layer counts from the last one that the flow holds."""
    return flow.layers[layer] if -len(flow.layers) <= layer < 0 else layer
