"""`ligflow trace`: a token followed from a layer down to the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.text import Text

from ligflow.cli.options import (
    METHOD,
    OUTPUT,
    SHOWN,
    TEXT,
    Device,
    Dtype,
    LocalOnly,
    Model,
    Revision,
    Tolerance,
    TrustCode,
    choice,
    explainer_of,
    option,
)
from ligflow.cli.output import check_endings, check_writable
from ligflow.cli.streams import console, counted, loading
from ligflow.cli.text_input import Chat, TextArgument, TextFile, inputs_of
from ligflow.cli.trace_screen import show
from ligflow.cli.usage_errors import Usage, checked
from ligflow.errors import LigflowError
from ligflow.inputs.token_names import token_position
from ligflow.names import SIGNS, TOL, TRACE_BASELINES, TRACED

if TYPE_CHECKING:
    from torch import Tensor

    from ligflow.explainer.explainer import Explainer
    from ligflow.flow import Flow
    from ligflow.inputs.checks import Inputs
    from ligflow.results.tracing import Trace

_PATHS = 5  # that are printed, where there are so many
_CANCELS = 1.5  # magnitudes of relevance, of which 1 is the whole, beyond which no share says anything


def follow(
    text: TextArgument = None,
    file: TextFile = None,
    chat: Chat = None,
    token: Annotated[
        str | None,
        option(
            "The token that is followed, by position or text; default: the last word, or [CLS].",
            TEXT,
            "--token",
            "-t",
        ),
    ] = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    layer: Annotated[int | None, option("After this layer; default: the last.", SHOWN)] = None,
    paths: Annotated[
        int | None, option("How many of the strongest paths are printed; default: 5.", SHOWN)
    ] = None,
    sign: Annotated[str, choice("--sign", SIGNS, "Which paths", SHOWN)] = "absolute",
    csv: Annotated[Path | None, option("Write all relevances as a table.", OUTPUT)] = None,
    graph: Annotated[Path | None, option("Write the graph, as .graphml or .json.", OUTPUT)] = None,
    html: Annotated[Path | None, option("Write an interactive page, opened at the trace.", OUTPUT)] = None,
    threshold: Annotated[
        float, option("Share of the relevance from which an edge is in the graph or page.", OUTPUT)
    ] = 0.01,
    baseline: Annotated[str, choice("--baseline", TRACE_BASELINES, "Where the paths start", METHOD)] = "mean",
    which: Annotated[
        str | None,
        choice("--map", TRACED, "The map that is chained, by default through the heads where it can", METHOD),
    ] = None,
    towards: Annotated[
        str | None,
        option(
            "Let the first step ask what moves the layer towards this output token (causal models); "
            "that is not its logit, of which ligflow why --answer speaks.",
            METHOD,
        ),
    ] = None,
    tol: Tolerance = TOL,
    split: Annotated[
        bool, option("Say which heads carry each step; needs --map layer.", METHOD, "--split")
    ] = False,
) -> None:
    """Follow a token from a layer down to the input: relevance at every depth, and the strongest paths."""
    inputs = inputs_of(text, file, chat)
    chosen = which or ("z2z" if baseline == "itb_zero_ratio" else "composed")
    if chosen == "composed" and baseline == "itb_zero_ratio":
        raise Usage(f"--baseline {baseline} is for --map layer (z2z).")
    if split and chosen != "z2z":
        raise Usage("--split is for --map layer, the exact one; a map through the heads is composed.")
    if baseline == "carried" and towards is not None:
        raise Usage(
            "--towards asks one layer, to which nothing is carried; give --baseline mean with it. What the "
            "prediction of a token rests on, through all layers, is told by 'ligflow why'."
        )
    if not 0 <= threshold < 1:
        raise Usage(f"--threshold is {threshold}; give a share of the relevance from 0 to below 1.")
    outputs = _Outputs(csv, graph, html, threshold)
    loading(model)
    outputs.check()
    from ligflow.explainer.unembedding import unembedding_row
    from ligflow.results.tracing import BASELINES, trace
    from ligflow.view.highlights import highlights

    routes = ("z2u", "u2z") if chosen == "composed" else ("z2z",)
    settings: dict[str, Any] = {**BASELINES[baseline], "routes": routes, "tol": tol, "split": split}
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, towards is not None,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    last = _layer(explainer, inputs, layer)
    place = None if token is None else checked(token_position, token, explainer.prepared.labels(inputs))
    top = None
    if towards is not None:
        row = checked(unembedding_row, explainer.model, explainer.tokenizer, towards)
        if place is None:
            place = highlights(explainer.explain(inputs, layers=last, **settings)).target
        top = _towards(explainer, inputs, place, last, row, settings)
        top = replace(top, meta={**top.meta, "towards": towards})
        _refuse_cancelling(trace(top, place, which=chosen), towards)  # before the other layers are computed
    with counted("layers") as progress:
        flow = explainer.explain(inputs, layers=range(last + 1), progress=progress, **settings)
    followed = trace(flow, highlights(flow).target if place is None else place, which=chosen, top=top)
    if towards is not None:
        _refuse_cancelling(followed, towards)
    count = _PATHS if paths is None else paths
    strongest = checked(partial(followed.paths, fewer=paths is None), count, sign) if count else []
    written = outputs.write(followed, flow, top, f"map={chosen}&paths={count}")
    show(followed, chosen, strongest, top)
    for path in written:
        console().print(Text(f"wrote {path}"), soft_wrap=True)


def _refuse_cancelling(followed: Trace, towards: str) -> None:
    """Relevance that is what is left of larger parts of both signs does not tell what speaks for a token."""
    sizes = followed.relevance.abs().sum(-1)
    if float(sizes.max()) > _CANCELS:
        depth = int(sizes.argmax())
        where = f"after layer {followed.layers[depth]}" if depth < len(followed.layers) else "of the input"
        raise LigflowError(
            f"What moves this token towards {towards!r} cancels: the relevance {where} sums to 1, and its "
            f"magnitudes to {float(sizes.max()):.1f}, so no share tells what speaks for it. Follow the token "
            "without --towards, or after another layer (--layer). What the prediction of a token rests on "
            "says: ligflow why --answer."
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
        check_writable(self.csv, self.graph, self.html)

    def write(self, followed: Trace, flow: Flow, top: Flow | None, view: str) -> list[Path]:
        from ligflow.files import write_text

        written = []
        if self.csv is not None:
            written.append(write_text(self.csv, followed.to_pandas().to_csv(index=False)))
        if self.graph is not None:
            from ligflow.results.layer_graph import save_graph

            written.append(save_graph(followed.to_networkx(self.threshold), self.graph))
        if self.html is not None:
            place = f"trace=1&layer={followed.layers[0]}&pin=t{followed.token}&cut={100 * self.threshold:g}"
            first = "" if top is None else "&top=1"
            others = () if top is None else (top,)
            written.append(flow.to_html(self.html, *others, view=f"{place}&{view}{first}"))
        return written


def _layer(explainer: Explainer, inputs: Inputs, layer: int | None) -> int:
    """The layer after which the token is followed. Raises LigflowError where there is none."""
    count = explainer.prepared.size(inputs)[0]
    last = count - 1 if layer is None else layer % count if -count <= layer < count else layer
    if not 0 <= last < count:
        raise LigflowError(f"There is no layer {layer}: there are {count}, numbered 0 to {count - 1}.")
    return last


def _towards(
    explainer: Explainer, inputs: Inputs, place: int, layer: int, row: Tensor, settings: dict[str, Any]
) -> Flow:
    """The token's row of the layer, asked what speaks for a direction."""
    from ligflow.method.scalarization import direction

    sizes = {"u2z": direction(row), "z2z": direction(row)}
    return explainer.explain(inputs, layers=layer, targets=place, scalarization=sizes, **settings)
