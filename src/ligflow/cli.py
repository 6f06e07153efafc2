"""The command line: explain, view, check, models. Exit codes: 0 good, 1 a failed run, 2 bad usage."""

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ligflow.compare_command import compare_models
from ligflow.conformance import Check, check
from ligflow.corpus.cli import corpus
from ligflow.corpus.faithfulness_command import try_methods
from ligflow.errors import LigflowError
from ligflow.explainer import CompletenessWarning, Explainer
from ligflow.flow import DIMS, Flow
from ligflow.known import SPLIT, WHOLE
from ligflow.pairs import Pair
from ligflow.quadrature import MAX_NODES
from ligflow.serve.cli import serve
from ligflow.settings import ROUTES, Settings
from ligflow.storage import ensure_writable, write_text
from ligflow.token_names import comma_separated
from ligflow.trace_command import follow
from ligflow.usage import (
    Device,
    Dtype,
    LocalOnly,
    Model,
    Revision,
    Stack,
    TrustCode,
    Usage,
    checked,
    console,
    counted,
    errors,
    explainer_of,
    layer_range,
    text_of,
)
from ligflow.view.select import NEEDS, VIEWS, available, select
from ligflow.view.terminal import error, report

app = typer.Typer(
    help="Certified Layer-wise Integrated Gradients for Transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("trace")(follow)
app.command("compare")(compare_models)
app.command()(serve)
corpus.command("faithfulness")(try_methods)
app.add_typer(corpus, name="corpus")
Layer = Annotated[
    int | None, typer.Option(help="The layer that is printed; default: the last one explained.")
]
View = Annotated[str | None, typer.Option("--show", help=f"The map that is printed: {', '.join(VIEWS)}.")]
Head = Annotated[
    int | None, typer.Option(help="The head that is printed with --show z2u; default: their sum.")
]
Words = Annotated[bool, typer.Option("--words", help="Merge subwords to words.")]
Hide = Annotated[bool, typer.Option("--hide-special", help="Hide special tokens such as [CLS].")]
Save = Annotated[Path | None, typer.Option(help="Save the flow (safetensors).")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all maps as JSON; - for standard output.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write all cells as a CSV table.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write an interactive page with all layers.")]


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="The sentence, or - to read standard input.")],
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    stack: Stack = None,
    decoder_text: Annotated[
        str | None, typer.Option(help="What the decoder has written, with --stack decoder.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers to explain, e.g. 0-3,5 (negative: from the end).")
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Target tokens, by position or text, e.g. 4,cat; default: all.")
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(help=f"Route to compute, repeatable: {', '.join(ROUTES)}; default: all."),
    ] = None,
    att_baseline: Annotated[str, typer.Option(help="Baseline of z2u.")] = "itb",
    mlp_baseline: Annotated[str, typer.Option(help="Baseline of u2z.")] = "att_itb_a0",
    layer_baseline: Annotated[str, typer.Option(help="Baseline of z2z.")] = "itb",
    encoder_baseline: Annotated[
        str, typer.Option(help="Where the encoder's tokens start, for a decoder that attends to them.")
    ] = "mean",
    scalarization: Annotated[str, typer.Option(help="l2 or projection.")] = "l2",
    quadrature: Annotated[
        str, typer.Option(help="adaptive, gauss-legendre:N, midpoint:N, trapezoid:N, captum:N.")
    ] = "adaptive",
    tol: Annotated[float, typer.Option(help="Relative tolerance of every cell.")] = 1e-3,
    max_nodes: Annotated[int, typer.Option(help="Path points after which a target is given up.")] = MAX_NODES,
    precision: Annotated[
        str, typer.Option(help="float32 (exact), or on CUDA tf32 (faster, products rounded).")
    ] = "float32",
    experts: Annotated[
        str, typer.Option(help="routed, or frozen: held at those of the real input along the path.")
    ] = "routed",
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut a text that is too long for the model.")
    ] = False,
    layer: Layer = None,
    show: View = None,
    head: Head = None,
    words: Words = False,
    hide_special: Hide = False,
    save: Save = None,
    json_path: Json = None,
    csv: Csv = None,
    html: Html = None,
) -> None:
    """Explain one sentence: print a map, the strongest flows and the certificates."""
    settings = checked(
        Settings, tuple(route or ROUTES), att_baseline, mlp_baseline, layer_baseline,
        encoder_baseline, scalarization, quadrature, tol, max_nodes, None, precision, experts,
    )  # fmt: skip
    text = checked(text_of, text)
    chosen = layer_range("--layers", layers)
    wanted = None if targets is None else checked(comma_separated, targets)
    outputs = _Outputs(json_path, csv, html, save)
    outputs.check()
    checked(_shown, show, head, settings.routes)
    if layer is not None and layer >= 0 and chosen and min(chosen) >= 0 and layer not in chosen:
        raise Usage(f"--layer {layer} is printed, but --layers explains only {layers}.")
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, stack=stack, trust_remote_code=trust_remote_code
    )
    inputs = text if decoder_text is None else Pair(text, decoder_text)
    _ensure_printable(explainer, inputs, truncate, chosen, layer, head)
    flow = _with_progress(lambda progress: explainer.explain(
        inputs, layers=chosen, targets=wanted, truncate=truncate, progress=progress, **vars(settings),
    ))  # fmt: skip
    _deliver(flow, layer, show, head, words, hide_special, outputs)


@app.command()
def view(
    file: Annotated[Path, typer.Argument(help="A saved flow.")],
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another saved flow for the page of --html, repeatable.")
    ] = None,
    layer: Layer = None,
    show: View = None,
    head: Head = None,
    words: Words = False,
    hide_special: Hide = False,
    json_path: Json = None,
    csv: Csv = None,
    html: Html = None,
) -> None:
    """Open a saved flow: print a map, or write it in another form."""
    outputs = _Outputs(json_path, csv, html)
    outputs.check()
    if beside and html is None:
        raise Usage("--beside is for the page of --html.")
    flow, others = Flow.load(file), [Flow.load(path) for path in beside or []]
    checked(_shown, show, head, flow.routes)
    _deliver(flow, layer, show, head, words, hide_special, outputs, others)


@app.command("check")
def check_model(
    model: Annotated[str, typer.Argument(help="Hub id, folder or embedded model.")],
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    stack: Stack = None,
    tol: Annotated[float, typer.Option(help="Tolerance of the certificates.")] = 1e-3,
) -> None:
    """Run the conformance checks on a model; exit code 1 if one fails."""
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, stack=stack, trust_remote_code=trust_remote_code
    )
    checks = check(explainer, tol=tol)
    console().print(_check_table(model, checks))
    if not all(one.passed for one in checks):
        raise typer.Exit(1)


@app.command()
def models() -> None:
    """List the model types that are tested against brute-force autograd."""
    table = Table(
        title="tested model types: all routes cell by cell against autograd, z2z alone by certificate",
        title_justify="left",
        box=None,
    )
    for name in ("model type", "routes", "what it exercises"):
        table.add_column(name)
    for known, routes in ((SPLIT, "z2u u2z z2z"), (WHOLE, "z2z")):
        for name, note in sorted(known.items()):
            table.add_row(name, routes, note)
    console().print(table)
    console().print(
        "Others work too, if their attention goes through the interface of transformers or is a softmax of "
        "products: ligflow check MODEL."
    )


def main() -> None:
    """The entry point: one clear line for every error that a user can mend."""
    try:
        app()
    except Usage as problem:
        errors().print(error(str(problem)))
        sys.exit(2)
    except LigflowError as problem:
        errors().print(error(str(problem)))
        sys.exit(1)


def _writable(path: Path | None) -> None:
    if path is not None and str(path) != "-":
        ensure_writable(path)


def _shown(show: str | None, head: int | None, routes: tuple[str, ...]) -> None:
    """The view that is to be printed must be known, and its routes computed."""
    if head is not None and show != "z2u":
        raise LigflowError("--head is for --show z2u.")
    if show is not None and show not in VIEWS:
        raise LigflowError(f"Unknown view {show!r}; choose from {', '.join(VIEWS)}.")
    missing = NEEDS[show] - set(routes) if show else set()
    if missing:
        raise LigflowError(f"--show {show} needs --route {' --route '.join(sorted(missing))}.")


def _ensure_printable(
    explainer: Explainer,
    inputs: str | Pair,
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
    with counted("layers") as told, warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)
        return run(told)


@dataclass(frozen=True)
class _Outputs:
    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None
    save: Path | None = None

    def check(self) -> None:
        """Says before the computation starts what could not be written after it."""
        for path in (self.csv, self.html, self.save):
            if str(path) == "-":
                raise Usage("Only --json writes to standard output with '-'; give the others a file.")
        for path in (self.json, self.csv, self.html, self.save):
            checked(_writable, path)

    def write(self, flow: Flow, shown: Flow, others: list[Flow], view: str) -> list[Path]:
        """The flow as computed is saved and in the page; the other forms are of the flow as shown."""
        written = [flow.save(self.save)] if self.save else []
        if self.csv:
            written.append(write_text(self.csv, shown.to_pandas().to_csv(index=False)))
        if self.html:
            written.append(flow.to_html(self.html, *others, view=view))
        if self.json and str(self.json) != "-":
            written.append(write_text(self.json, _json(shown)))
        return written


def _deliver(
    flow: Flow,
    layer: int | None,
    show: str | None,
    head: int | None,
    words: bool,
    hide: bool,
    outputs: _Outputs,
    others: list[Flow] | None = None,
) -> None:
    layer = flow.layers[-1] if layer is None else _from_end(layer, flow)
    view = show or available(flow)[0]
    select(flow, view, layer, head)
    shown = flow.hide_special() if hide else flow
    shown = shown.merge_words() if words else shown
    page_view = f"layer={layer}&words={int(words)}&special={int(hide)}"
    written = outputs.write(flow, shown, others or [], page_view)
    if str(outputs.json) == "-":
        sys.stdout.write(_json(shown) + "\n")
        return
    report(shown, view, layer, head, console())
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)


def _from_end(layer: int, flow: Flow) -> int:
    """A negative layer counts from the last one that the flow holds."""
    return flow.layers[layer] if -len(flow.layers) <= layer < 0 else layer


def _json(flow: Flow) -> str:
    """Maps as nested lists, [layer][head][target][source], with totals and certificates."""
    maps = {name: flow.tensors[name].tolist() for name in DIMS if name in flow.tensors}
    for route in flow.routes:
        maps[f"{route}_total"] = flow.total(route).tolist()
        maps[f"{route}_certificate"] = flow.certificate(route).tolist()
    head = {"tokens": flow.tokens, "layers": flow.layers, "targets": flow.targets, "meta": dict(flow.meta)}
    return json.dumps(head | {"maps": maps}, ensure_ascii=False)


def _check_table(model: str, checks: list[Check]) -> Table:
    table = Table(title=Text(f"ligflow check {model}"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("check", "", "measured", "limit", "detail"):
        table.add_column(name)
    for one in checks:
        verdict = Text("pass", style="green") if one.passed else Text("FAIL", style="bold red")
        verdict = verdict if one.compared else Text("none", style="yellow")
        table.add_row(one.name, verdict, one.measured, one.limit, Text(one.detail))
    return table
