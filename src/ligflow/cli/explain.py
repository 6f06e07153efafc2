"""`ligflow explain` and `ligflow view`: one text's flow on the screen, and in files."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ligflow.cli.options import (
    METHOD,
    OUTPUT,
    SHOWN,
    TEXT,
    Chat,
    Device,
    Dtype,
    File,
    Given,
    LocalOnly,
    Model,
    Revision,
    Stack,
    TrustCode,
    Usage,
    checked,
    choice,
    console,
    counted,
    explainer_of,
    inputs_of,
    layer_range,
    loading,
    option,
)
from ligflow.cli.output import Outputs, as_json
from ligflow.errors import LigflowError
from ligflow.inputs.token_names import comma_separated
from ligflow.names import (
    ENCODER_BASELINES,
    EXPERTS,
    HEAD_BASELINES,
    LAYER_BASELINES,
    MAX_NODES,
    MLP_BASELINES,
    NEEDS,
    PRECISIONS,
    ROUTES,
    SCALARIZATIONS,
    VIEWS,
)

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer
    from ligflow.flow import Flow
    from ligflow.inputs.checks import Inputs


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
Save = Annotated[Path | None, option("Save the flow (safetensors).", OUTPUT, "--save")]
Json = Annotated[Path | None, option("Write all maps as JSON; - for standard output.", OUTPUT, "--json")]
Csv = Annotated[Path | None, option("Write all cells as a CSV table.", OUTPUT, "--csv")]
Html = Annotated[Path | None, option("Write an interactive page with all layers.", OUTPUT, "--html")]


def explain(
    text: Given = None,
    file: File = None,
    chat: Chat = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    stack: Stack = None,
    decoder_text: Annotated[
        str | None, option("What the decoder has written, with --stack decoder.", TEXT)
    ] = None,
    truncate: Annotated[
        bool, option("Cut a text that is too long for the model.", TEXT, "--truncate")
    ] = False,
    layers: Annotated[
        str | None, option("Layers to explain, e.g. 0-3,5 (negative: from the end); default: all.", TEXT)
    ] = None,
    targets: Annotated[
        str | None, option("Target tokens, by position or text, e.g. 4,cat; default: all.", TEXT)
    ] = None,
    layer: Layer = None,
    show: View = None,
    head: Head = None,
    words: Words = False,
    special: Special = False,
    hide_special: Hide = False,
    full: Full = False,
    details: Details = False,
    save: Save = None,
    json_path: Json = None,
    csv: Csv = None,
    html: Html = None,
    trace: Annotated[
        bool,
        option(
            "Add maps that a trace can follow to the page of --html: about as long again.", OUTPUT, "--trace"
        ),
    ] = False,
    route: Annotated[
        list[str] | None, choice("--route", ROUTES, "Maps to compute, repeatable, default all", METHOD)
    ] = None,
    att_baseline: Annotated[
        str, choice("--att-baseline", HEAD_BASELINES, "Baseline of what heads read", METHOD)
    ] = "target",
    mlp_baseline: Annotated[
        str, choice("--mlp-baseline", MLP_BASELINES, "Baseline of which heads write", METHOD)
    ] = "target",
    layer_baseline: Annotated[
        str, choice("--layer-baseline", LAYER_BASELINES, "Baseline of the whole layer", METHOD)
    ] = "target",
    encoder_baseline: Annotated[
        str,
        choice(
            "--encoder-baseline",
            ENCODER_BASELINES,
            "Where an encoder's tokens start, for its decoder",
            METHOD,
        ),
    ] = "mean",
    scalarization: Annotated[
        str, choice("--scalarization", SCALARIZATIONS, "The size of a vector", METHOD)
    ] = "l2",
    quadrature: Annotated[
        str,
        option(
            "adaptive, fine (slow, a reference), gauss-legendre:N, midpoint:N, trapezoid:N, captum:N.", METHOD
        ),
    ] = "adaptive",
    tol: Annotated[float, option("Relative tolerance of every cell.", METHOD)] = 1e-3,
    max_nodes: Annotated[int, option("Steps after which a target is given up.", METHOD)] = MAX_NODES,
    precision: Annotated[
        str, choice("--precision", PRECISIONS, "Exact products, or on CUDA faster ones", METHOD)
    ] = "float32",
    experts: Annotated[
        str, choice("--experts", EXPERTS, "Experts chosen anew along the path, or held", METHOD)
    ] = "routed",
) -> None:
    """Explain one text: which tokens move which, through which heads."""
    given = inputs_of(text, file, chat)
    chosen, wanted = layer_range("--layers", layers), checked(comma_separated, targets) if targets else None
    outputs = Outputs(json_path, csv, html, save)
    screen = Screen(layer, show, head, words, special, hide_special, full, details)
    screen.check(tuple(route or ROUTES.values()))
    if layer is not None and layer >= 0 and chosen and min(chosen) >= 0 and layer not in chosen:
        raise Usage(f"--layer {layer} is printed, but --layers explains only {layers}.")
    if trace and html is None:
        raise Usage("--trace is for the page of --html; ligflow trace prints one.")
    if trace and targets:
        raise Usage("--trace follows every token; leave out --targets.")
    if chat is not None and decoder_text is not None:
        raise Usage("--decoder-text goes with a text that the encoder reads, not with --chat.")
    loading(model)
    outputs.check()
    from ligflow.inputs.pairs import Pair
    from ligflow.settings import Settings

    settings = checked(
        Settings, tuple(route or Settings.routes), att_baseline, mlp_baseline, layer_baseline,
        encoder_baseline, scalarization, quadrature, tol, max_nodes, None, precision, experts,
    )  # fmt: skip
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, stack=stack, trust_remote_code=trust_remote_code
    )
    inputs: Inputs = given if decoder_text is None else Pair(str(given), decoder_text)
    _ensure_printable(explainer, inputs, truncate, chosen, layer, head)

    def explained(settings: dict[str, Any]) -> Flow:
        return _with_progress(lambda progress: explainer.explain(
            inputs, layers=chosen, targets=wanted, truncate=truncate, progress=progress, **settings,
        ))  # fmt: skip

    flow, followed = explained(vars(settings)), _followed(settings.routes)
    others = (
        [explained(vars(settings) | followed)]
        if trace and not followed.items() <= vars(settings).items()
        else []
    )
    _deliver(flow, screen, outputs, others)


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
    _deliver(flow, screen, outputs, others)


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
            named = {code: name for name, code in ROUTES.items()}
            asked = " ".join(f"--route {named[route]}" for route in missing)
            raise Usage(f"--show {self.view} needs {asked}.")

    def address(self) -> str:
        """How a page opens that is to show the same; what is not asked for is as pages have it."""
        shown = self.view if self.head is None else f"h{self.head}"
        asked = {"layer": self.layer, "map": shown, "words": 1 if self.words else None}
        asked |= {"special": 0 if self.special else 1 if self.hide else None}
        return "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)


def _followed(routes: tuple[str, ...]) -> dict[str, Any]:
    """The settings of maps that a trace can follow, of the routes that are asked for."""
    from ligflow.results.tracing import BASELINES

    return {**BASELINES["mean"], "routes": routes}


def _ensure_printable(
    explainer: Explainer,
    inputs: Inputs,
    truncate: bool,
    chosen: list[int] | None,
    layer: int | None,
    head: int | None,
) -> None:
    """Says before the computation what could not be printed after it."""
    if layer is None and head is None:
        return
    layers, heads = explainer.size(inputs, truncate)
    explained = set(range(layers)) if chosen is None else {index % layers for index in chosen}
    if layer is not None and layer not in explained and not -len(explained) <= layer < 0:
        only = "" if chosen is None else f", of which --layers explains only {sorted(explained)}"
        raise LigflowError(
            f"There is no layer {layer} to print: there are {layers}, numbered 0 to {layers - 1}{only}."
        )
    if head is not None and heads and not 0 <= head < heads:
        raise LigflowError(f"There is no head {head}: there are {heads}, numbered 0 to {heads - 1}.")


def _with_progress(run: Callable[[Callable[[int, int], None]], Flow]) -> Flow:
    """With a bar over layers; the report names the cells that miss the tolerance."""
    from ligflow.errors import CompletenessWarning

    with counted("layers") as told, warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)
        return run(told)


def _deliver(flow: Flow, screen: Screen, outputs: Outputs, others: list[Flow] | None = None) -> None:
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
    report(
        flow, console(), words=screen.words, view=screen.view, layer=layer, head=screen.head,
        special=screen.special, targets_only=screen.hide, full=screen.full, details=screen.details,
    )  # fmt: skip
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)


def _from_end(layer: int, flow: Flow) -> int:
    """A negative layer counts from the last one that the flow holds."""
    return flow.layers[layer] if -len(flow.layers) <= layer < 0 else layer
