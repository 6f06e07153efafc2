"""`ligflow trace`: a token followed from a layer down to the input."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer import Explainer
from ligflow.flow import Flow
from ligflow.paths import SIGNS
from ligflow.paths import Path as PathOfTokens
from ligflow.scalarize import direction
from ligflow.storage import ensure_writable, write_text
from ligflow.token_names import token_position
from ligflow.trace import BASELINES, MAPS, Trace, trace
from ligflow.unembedding import unembedding_row
from ligflow.usage import (
    Device,
    Dtype,
    LocalOnly,
    Model,
    Revision,
    TrustCode,
    Usage,
    checked,
    console,
    counted,
    explainer_of,
    one_of,
    text_of,
)  # fmt: skip
from ligflow.view.colour import on, shade
from ligflow.view.select import printable

_SHOWN = 12  # tokens that a depth of the table names; the CSV has all


def follow(
    text: Annotated[str, typer.Argument(help="The sentence, or - to read it from standard input.")],
    token: Annotated[
        str, typer.Option("--token", "-t", help="The token that is followed: its position, or its text.")
    ],
    layer: Annotated[int | None, typer.Option(help="After this layer; default: the last.")] = None,
    baseline: Annotated[str, typer.Option(help="mean, zero or itb_zero_ratio.")] = "mean",
    which: Annotated[
        str | None, typer.Option("--map", help="composed or z2z; default: composed where it can be chained.")
    ] = None,
    towards: Annotated[
        str | None,
        typer.Option(help="Let the first step ask what speaks for this output token (causal models)."),
    ] = None,
    paths: Annotated[int, typer.Option(help="How many of the strongest paths are printed.")] = 5,
    sign: Annotated[str, typer.Option(help="Of the paths: absolute, positive or negative.")] = "absolute",
    tol: Annotated[float, typer.Option(help="Relative tolerance of every integral.")] = 1e-3,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all relevances as a table.")] = None,
    graph: Annotated[Path | None, typer.Option(help="Write the graph, as .graphml or .json.")] = None,
    threshold: Annotated[
        float, typer.Option(help="Share of the relevance from which an edge is in the graph or page.")
    ] = 0.01,
    html: Annotated[Path | None, typer.Option(help="Write an interactive page, opened at the trace.")] = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
) -> None:
    """Follow a token from a layer down to the input: relevance at every depth, and the strongest paths."""
    text = checked(text_of, text)
    settings = dict(one_of("--baseline", baseline, dict(BASELINES)))
    chosen = which or ("composed" if "z2u" in settings["routes"] else "z2z")
    one_of("--map", chosen, dict.fromkeys(MAPS, ""))
    one_of("--sign", sign, dict.fromkeys(SIGNS, ""))
    if chosen == "composed" and "z2u" not in settings["routes"]:
        raise Usage(f"--baseline {baseline} is for --map z2z.")
    if not 0 <= threshold < 1:
        raise Usage(f"--threshold is {threshold}; give a share of the relevance from 0 to below 1.")
    outputs = _Outputs(csv, graph, html, threshold)
    outputs.check()
    settings |= {"routes": ("z2u", "u2z") if chosen == "composed" else ("z2z",), "tol": tol}
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, towards is not None,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    place = checked(token_position, token, explainer.labels(text))
    row = None if towards is None else checked(unembedding_row, explainer.model, explainer.tokenizer, towards)
    flow = _explained(explainer, text, layer, settings)
    top = None if row is None else _towards(explainer, text, place, flow.layers[-1], row, settings)
    top = top and replace(top, meta={**top.meta, "towards": towards})
    found = trace(flow, place, which=chosen, top=top)
    strongest = checked(found.paths, paths, sign) if paths else []
    written = outputs.write(found, flow, top, f"map={chosen}&paths={paths}")
    _show(found, chosen, strongest, top)
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)


@dataclass(frozen=True)
class _Outputs:
    csv: Path | None
    graph: Path | None
    html: Path | None
    threshold: float

    def check(self) -> None:
        """Says before the computation what could not be written after it."""
        for path in filter(None, (self.csv, self.graph, self.html)):
            ensure_writable(path)

    def write(self, found: Trace, flow: Flow, top: Flow | None, view: str) -> list[Path]:
        written = []
        if self.csv is not None:
            written.append(write_text(self.csv, found.to_pandas().to_csv(index=False)))
        if self.graph is not None:
            from ligflow.graphs import save_graph

            written.append(save_graph(found.to_networkx(self.threshold), self.graph))
        if self.html is not None:
            place = f"trace=1&layer={found.layers[0]}&pin=t{found.token}&cut={100 * self.threshold:g}"
            first = "" if top is None else "&top=1"
            others = () if top is None else (top,)
            written.append(flow.to_html(self.html, *others, view=f"{place}&{view}{first}"))
        return written


def _explained(explainer: Explainer, text: str, layer: int | None, settings: dict[str, object]) -> Flow:
    count = explainer.size(text)[0]
    top = count - 1 if layer is None else layer % count if -count <= layer < count else layer
    if not 0 <= top < count:
        raise LigflowError(f"There is no layer {layer}: there are {count}, numbered 0 to {count - 1}.")
    with counted("layers") as told:
        return explainer.explain(text, layers=range(top + 1), progress=told, **settings)  # type: ignore[arg-type]


def _towards(
    explainer: Explainer, text: str, place: int, layer: int, row: Tensor, settings: dict[str, object]
) -> Flow:
    """The token's row of the layer, asked what speaks for a direction."""
    asked = {"u2z": direction(row), "z2z": direction(row)}
    return explainer.explain(text, layers=layer, targets=place, scalarization=asked, **settings)  # type: ignore[arg-type]


def _show(found: Trace, which: str, strongest: list[PathOfTokens], top: Flow | None) -> None:
    label = printable(found.tokens[found.token])
    title = f"‘{label}’ ({found.token}) after layer {found.layers[0]}, {which} maps"
    console().print(Text(title), style="bold")
    if top is not None:
        console().print(Text(_moved(top, "u2z" if which == "composed" else "z2z")))
    console().print(_table(found))
    missed = f"; {found.unmet} integrals miss the tolerance" if found.unmet else ""
    sums = f"the sum at every depth is 1 within {found.drift:.0e}"
    console().print(
        Text(f"{sums}; certificates leave open at most {float(found.certificates.max()):.0e}{missed}")
    )
    for path in strongest:
        steps = " ← ".join(printable(found.tokens[node]) for node in path.nodes)
        console().print(Text(f"{100 * path.weight:6.2f}%  {steps}"), soft_wrap=True)


def _moved(top: Flow, route: str) -> str:
    """What the first step shares out: a positive share has the sign of this number."""
    total = float(top.total(route)[0, 0])
    word = printable(str(top.meta["towards"]))
    return (
        f"towards ‘{word}’: from the baseline the layer moves it by {total:+.3g}, which the first step shares"
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
            shown.append(f" {printable(found.tokens[token])} {100 * share:.0f} ", style=f"{on(ink)} on {ink}")
        table.add_row(name, shown)
    return table
