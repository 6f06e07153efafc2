"""`ligflow trace`: a token followed from a layer down to the input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
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
    TrustCode,
    Usage,
    checked,
    choice,
    console,
    counted,
    explainer_of,
    inputs_of,
    loading,
)
from ligflow.cli.output import check_endings
from ligflow.errors import LigflowError
from ligflow.inputs.labels import trimmed
from ligflow.inputs.token_names import token_position
from ligflow.names import SIGNS, TRACE_BASELINES, TRACED
from ligflow.view.colour import on, shade

if TYPE_CHECKING:
    from torch import Tensor

    from ligflow.explainer.explainer import Explainer
    from ligflow.flow import Flow
    from ligflow.inputs.checks import Inputs
    from ligflow.results.strongest_paths import TokenPath as PathOfTokens
    from ligflow.results.tracing import Trace

_PATHS = 5  # that are printed, where there are so many
_SHOWN = 12  # tokens that a depth of the table names; the CSV has all
_CANCELS = 1.5  # magnitudes of relevance, of which 1 is the whole, beyond which no share says anything


def follow(
    text: Given = None,
    file: File = None,
    chat: Chat = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            "-t",
            rich_help_panel=TEXT,
            help="The token that is followed, by position or text; default: the last word, or [CLS].",
        ),
    ] = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    layer: Annotated[
        int | None, typer.Option(help="After this layer; default: the last.", rich_help_panel=SHOWN)
    ] = None,
    paths: Annotated[
        int | None,
        typer.Option(help="How many of the strongest paths are printed; default: 5.", rich_help_panel=SHOWN),
    ] = None,
    sign: Annotated[str, choice("--sign", SIGNS, "Which paths", SHOWN)] = "absolute",
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all relevances as a table.", rich_help_panel=OUTPUT)
    ] = None,
    graph: Annotated[
        Path | None, typer.Option(help="Write the graph, as .graphml or .json.", rich_help_panel=OUTPUT)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write an interactive page, opened at the trace.", rich_help_panel=OUTPUT),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Share of the relevance from which an edge is in the graph or page.", rich_help_panel=OUTPUT
        ),
    ] = 0.01,
    baseline: Annotated[str, choice("--baseline", TRACE_BASELINES, "Where the paths start", METHOD)] = "mean",
    which: Annotated[
        str | None,
        choice("--map", TRACED, "The map that is chained, by default through the heads where it can", METHOD),
    ] = None,
    towards: Annotated[
        str | None,
        typer.Option(
            help="Let the first step ask what moves the layer towards this output token (causal models); "
            "that is not its logit.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    tol: Annotated[
        float, typer.Option(help="Relative tolerance of every integral.", rich_help_panel=METHOD)
    ] = 1e-3,
) -> None:
    """Follow a token from a layer down to the input: relevance at every depth, and the strongest paths."""
    inputs = inputs_of(text, file, chat)
    chosen = which or ("z2z" if baseline == "itb_zero_ratio" else "composed")
    if chosen == "composed" and baseline == "itb_zero_ratio":
        raise Usage(f"--baseline {baseline} is for --map layer (z2z).")
    if not 0 <= threshold < 1:
        raise Usage(f"--threshold is {threshold}; give a share of the relevance from 0 to below 1.")
    outputs = _Outputs(csv, graph, html, threshold)
    loading(model)
    outputs.check()
    from ligflow.explainer.unembedding import unembedding_row
    from ligflow.results.tracing import BASELINES, trace
    from ligflow.view.highlights import highlights

    routes = ("z2u", "u2z") if chosen == "composed" else ("z2z",)
    settings = {**BASELINES[baseline], "routes": routes, "tol": tol}
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, towards is not None,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    place = None if token is None else checked(token_position, token, explainer.labels(inputs))
    row = None if towards is None else checked(unembedding_row, explainer.model, explainer.tokenizer, towards)
    flow = _explained(explainer, inputs, layer, settings)
    place = highlights(flow).target if place is None else place
    top = None if row is None else _towards(explainer, inputs, place, flow.layers[-1], row, settings)
    top = top and replace(top, meta={**top.meta, "towards": towards})
    found = trace(flow, place, which=chosen, top=top)
    if top is not None:
        _refuse_cancelling(found, str(towards))
    count = _PATHS if paths is None else paths
    strongest = checked(partial(found.paths, fewer=paths is None), count, sign) if count else []
    written = outputs.write(found, flow, top, f"map={chosen}&paths={count}")
    _show(found, chosen, strongest, top)
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)


def _refuse_cancelling(found: Trace, towards: str) -> None:
    """Relevance that is what is left of larger parts of both signs does not tell what speaks for a token."""
    sizes = found.relevance.abs().sum(-1)
    if float(sizes.max()) > _CANCELS:
        depth = int(sizes.argmax())
        where = f"after layer {found.layers[depth]}" if depth < len(found.layers) else "of the input"
        raise LigflowError(
            f"What moves this token towards {towards!r} cancels: the relevance {where} sums to 1, and its "
            f"magnitudes to {float(sizes.max()):.1f}, so no share tells what speaks for it. Follow the token "
            "without --towards, or after another layer (--layer)."
        )


@dataclass(frozen=True)
class _Outputs:
    csv: Path | None
    graph: Path | None
    html: Path | None
    threshold: float

    def check(self) -> None:
        """Says before the computation what could not be written after it."""
        check_endings(csv=self.csv, graph=self.graph, html=self.html)
        asked = [*filter(None, (self.csv, self.graph, self.html))]
        if asked:
            from ligflow.files import ensure_writable

            for path in asked:
                ensure_writable(path)

    def write(self, found: Trace, flow: Flow, top: Flow | None, view: str) -> list[Path]:
        from ligflow.files import write_text

        written = []
        if self.csv is not None:
            written.append(write_text(self.csv, found.to_pandas().to_csv(index=False)))
        if self.graph is not None:
            from ligflow.results.layer_graph import save_graph

            written.append(save_graph(found.to_networkx(self.threshold), self.graph))
        if self.html is not None:
            place = f"trace=1&layer={found.layers[0]}&pin=t{found.token}&cut={100 * self.threshold:g}"
            first = "" if top is None else "&top=1"
            others = () if top is None else (top,)
            written.append(flow.to_html(self.html, *others, view=f"{place}&{view}{first}"))
        return written


def _explained(explainer: Explainer, inputs: Inputs, layer: int | None, settings: dict[str, object]) -> Flow:
    count = explainer.size(inputs)[0]
    top = count - 1 if layer is None else layer % count if -count <= layer < count else layer
    if not 0 <= top < count:
        raise LigflowError(f"There is no layer {layer}: there are {count}, numbered 0 to {count - 1}.")
    with counted("layers") as told:
        return explainer.explain(inputs, layers=range(top + 1), progress=told, **settings)  # type: ignore[arg-type]


def _towards(
    explainer: Explainer, inputs: Inputs, place: int, layer: int, row: Tensor, settings: dict[str, object]
) -> Flow:
    """The token's row of the layer, asked what speaks for a direction."""
    from ligflow.method.scalarization import direction

    asked = {"u2z": direction(row), "z2z": direction(row)}
    return explainer.explain(inputs, layers=layer, targets=place, scalarization=asked, **settings)  # type: ignore[arg-type]


def _show(found: Trace, which: str, strongest: list[PathOfTokens], top: Flow | None) -> None:
    label = trimmed(found.tokens[found.token])
    through = ", through the heads" if which == "composed" else ""
    console().print(Text(f"‘{label}’ ({found.token}) after layer {found.layers[0]}{through}"), style="bold")
    if top is not None:
        console().print(Text(_moved(top, "u2z" if which == "composed" else "z2z")))
    console().print(_table(found))
    missed = f"; {found.unmet} integrals have not converged" if found.unmet else ""
    missed += f"; {_still(found.still)}" if found.still else ""
    sums = f"shares sum to 1 at every depth, within {found.drift:.0e}"
    left = f"estimated error of the input's shares, added up: {float(found.errors[-1]):.0e}"
    console().print(Text(f"{sums}; {left}{missed}"))
    for path in strongest:
        console().print(Text(f"{100 * path.weight:6.2f}%  {' ← '.join(_steps(found, path))}"), soft_wrap=True)


def _still(count: int) -> str:
    """Rows of maps that have nothing to share out."""
    return (
        "1 token did not move and keeps its share"
        if count == 1
        else f"{count} tokens did not move and keep their share"
    )


def _steps(found: Trace, path: PathOfTokens) -> Iterator[str]:
    """The tokens of a path, one that stays where it is once: `is (×13)`."""
    for node, stays in groupby(path.nodes):
        count = len(list(stays))
        yield trimmed(found.tokens[node]) + (f" (×{count})" if count > 1 else "")


def _moved(top: Flow, route: str) -> str:
    """What the first step shares out: a positive share has the sign of this number."""
    total = float(top.total(route)[0, 0])
    word = trimmed(str(top.meta["towards"]))
    return (
        f"towards ‘{word}’: from the baseline the layer moves it by {total:+.3g}, which the first step "
        "shares; this is not a logit"
    )


def _table(found: Trace) -> Table:
    """A row a depth: the tokens with the most relevance, in per cent."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for depth, row in enumerate(found.relevance):
        name = f"after layer {found.layers[depth]}" if depth < len(found.layers) else "input"
        order = row.abs().argsort(descending=True)[:_SHOWN].tolist()
        shown = Text()
        for token in order:
            if abs(float(row[token])) < 0.005:
                break
            share = float(row[token])
            ink = shade(share)
            shown.append(f" {trimmed(found.tokens[token])} {100 * share:.0f} ", style=f"{on(ink)} on {ink}")
        table.add_row(name, shown)
    return table
