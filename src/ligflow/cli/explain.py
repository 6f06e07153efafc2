"""`ligflow explain`: one text's flow on the screen, and in files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from ligflow.cli.estimate import EstimateOnly, tell
from ligflow.cli.options import (
    METHOD,
    OUTPUT,
    TEXT,
    AttBaseline,
    Device,
    Dtype,
    LocalOnly,
    MaxNodes,
    Model,
    Precision,
    Quadrature,
    Revision,
    Scalarization,
    Stack,
    Tolerance,
    TrustCode,
    choice,
    explainer_of,
    option,
)
from ligflow.cli.output import Csv, Html, Json, Outputs, Save
from ligflow.cli.screen import Details, Full, Head, Hide, Layer, Screen, Special, View, Words, deliver
from ligflow.cli.streams import counted, loading
from ligflow.cli.text_input import Chat, TextArgument, TextFile, inputs_of
from ligflow.cli.usage_errors import Usage, checked, layer_range
from ligflow.errors import LigflowError
from ligflow.inputs.token_names import comma_separated
from ligflow.names import ENCODER_BASELINES, EXPERTS, LAYER_BASELINES, MAX_NODES, MLP_BASELINES, ROUTES, TOL

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer
    from ligflow.flow import Flow
    from ligflow.inputs.checks import Inputs


def explain(
    text: TextArgument = None,
    file: TextFile = None,
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
    estimate: EstimateOnly = False,
    trace: Annotated[
        bool,
        option(
            "Add maps that a trace can follow to the page of --html: about as long again.", OUTPUT, "--trace"
        ),
    ] = False,
    route: Annotated[
        list[str] | None, choice("--route", ROUTES, "Maps to compute, repeatable, default all", METHOD)
    ] = None,
    att_baseline: AttBaseline = "target",
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
    scalarization: Scalarization = "l2",
    quadrature: Quadrature = "adaptive",
    tol: Tolerance = TOL,
    max_nodes: MaxNodes = MAX_NODES,
    precision: Precision = "float32",
    experts: Annotated[
        str, choice("--experts", EXPERTS, "Experts chosen anew along the path, or held", METHOD)
    ] = "routed",
    parts: Annotated[
        bool,
        option("Split what heads read: what it was, where it was found, what was asked.", METHOD, "--parts"),
    ] = False,
    split: Annotated[
        bool,
        option(
            "Split the map of the whole layer: by head or past attention, and through the MLP or past it.",
            METHOD,
            "--split",
        ),
    ] = False,
) -> None:
    """Explain one text: which tokens move which, through which heads."""
    typed = inputs_of(text, file, chat)
    chosen, wanted = layer_range("--layers", layers), checked(comma_separated, targets) if targets else None
    outputs = Outputs(json_path, csv, html, save)
    screen = Screen(layer, show, head, words, special, hide_special, full, details)
    screen.check(tuple(route or ROUTES.values()))
    if layer is not None and layer >= 0 and chosen and min(chosen) >= 0 and layer not in chosen:
        raise Usage(f"--layer {layer} is printed, but --layers explains only {layers}.")
    if parts and words:
        raise Usage("--parts are of tokens, and --words merges these; leave one of the two out.")
    if split and route and "z2z" not in route:
        raise Usage("--split splits the map of the whole layer; add --route layer, or leave --split out.")
    if trace and html is None:
        raise Usage("--trace is for the page of --html; ligflow trace prints one.")
    if trace and targets:
        raise Usage("--trace follows every token; leave out --targets.")
    if chat is not None and decoder_text is not None:
        raise Usage("--decoder-text goes with a text that the encoder reads, not with --chat.")
    loading(model)
    outputs.check()
    from ligflow.inputs.pairs import Pair
    from ligflow.results.tracing import BASELINES
    from ligflow.settings import Settings, ask

    settings = checked(lambda: ask(
        routes=tuple(route or Settings.routes), att_baseline=att_baseline, mlp_baseline=mlp_baseline,
        layer_baseline=layer_baseline, encoder_baseline=encoder_baseline, scalarization=scalarization,
        quadrature=quadrature, tol=tol, max_nodes=max_nodes, precision=precision, experts=experts,
        parts=parts, split=split,
    ))  # fmt: skip
    inputs: Inputs = typed if decoder_text is None else Pair(str(typed), decoder_text)

    def loaded() -> Explainer:
        return explainer_of(
            model, revision, device, dtype, local_files_only, stack=stack, trust_remote_code=trust_remote_code
        )

    if estimate:
        tell(
            loaded,
            lambda explainer: explainer.estimate(inputs, chosen, wanted, truncate=truncate, **vars(settings)),
            2 if trace else 1,
        )
        return
    explainer = loaded()
    _ensure_printable(explainer, inputs, truncate, chosen, layer, head)

    def explained(settings: dict[str, Any]) -> Flow:
        return _with_progress(lambda progress: explainer.explain(
            inputs, layers=chosen, targets=wanted, truncate=truncate, progress=progress, **settings,
        ))  # fmt: skip

    flow = explained(vars(settings))
    chained = {name: word for name, word in BASELINES["mean"].items() if name != "routes"}
    others = (  # maps that a trace can follow, of the same routes
        [explained(vars(settings) | chained)]
        if trace and not chained.items() <= settings.describe().items()
        else []
    )
    deliver(flow, screen, outputs, others)


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
    layers, heads = explainer.prepared.size(inputs, truncate)
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

    with counted("layers") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)
        return run(progress)
