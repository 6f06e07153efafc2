"""From the chain's numbers to a prediction's explanation, with what its readers need."""

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor

from ligflow._version import __version__
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.errors import CompletenessWarning, LigflowError, warn
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.chain import Chain
from ligflow.prediction.check import Asked
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.kept_edges import kept_edges, layers_with_edges, notes_on_edges
from ligflow.prediction.kept_features import kept_features
from ligflow.prediction.kept_units import kept_units, layers_with_units
from ligflow.prediction.nodes import nodes_of
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.question import Question, top_of
from ligflow.prediction.references import Reference
from ligflow.prediction.segment import Segment
from ligflow.prediction.spans import spans_of
from ligflow.results.prediction_data import SegmentCertificate

_SHOWN = 5


def assemble(
    whole: PreparedModel,
    question: Question,
    reference: Reference,
    settings: Any,
    about: dict[str, Any],
    runs: Runs,
    built: Built,
    result: Chain,
    row: int,
) -> Prediction:
    """The explanation of one row, labelled. Raises LigflowError where nothing reaches its score."""
    _check_reached(question, reference, built, result, row)
    graph, nodes = built.graph, nodes_of(built.graph, built.calls, result, row)
    wanted = settings.edges if settings.cut == "modules" else ()
    kept = layers_with_edges(nodes.heads, wanted, len(runs.layers))
    edges = kept_edges(built, result, row, kept, runs.held, settings.parts, settings.points)
    with_units = layers_with_units(nodes.mlps, settings.neurons, len(runs.layers))
    units = kept_units(built, result, row, with_units)
    labels, own = [*question.labels], len(question.tokens.labels)
    streams = (("encoder", 0, own), ("decoder", own, len(labels)))
    parallel = [call.number for call in built.calls if call.form.kind == "parallel"]
    dtype = str(runs.real.embeddings.dtype).removeprefix("torch.")
    features = kept_features(runs, built, result, row, settings, labels, whole.name)
    left_out = notes_on_edges(nodes.heads, wanted, kept)
    own_notes = [*edges.notes, *left_out, *units.notes, *features.notes]
    notes = [*built.notes, *own_notes, *_of_jumps(graph.segments, result, row)]
    meta = _meta(whole, question, reference, settings, about, notes, row)
    prediction = Prediction(
        tokens=labels,
        special=tuple(question.special),
        kept=tuple(bool(kept) for kept in reference.kept),
        value=float(built.scores[0][row]),
        reference_value=float(built.scores[1][row]),
        cuts=[name for name, _ in graph.cuts],
        by_depth=result.by_depth[row],
        late=result.late[row],
        error=result.error[row],
        heads=nodes.heads, cross_heads=nodes.cross_heads, mlps=nodes.mlps, residual=nodes.residual,
        routing=nodes.routing,
        stored_edges=edges.edges,
        parts=edges.parts,
        stored_features=tuple(features.features),
        stored_neurons=units.parts("relevance"),
        stored_activations=units.parts("activations"),
        certificates=_certificates(graph.segments, result, row),
        top=top_of(question, runs.real.outputs, _SHOWN, row),
        reference_top=top_of(question, runs.reference.outputs, _SHOWN, row),
        layer_names=tuple(layer.name for layer in runs.layers),
        streams=streams if question.decoder_tokens else (("tokens", 0, own),),
        meta=meta | {"parallel": parallel, "dtype": dtype, "units": units.names()},
    )  # fmt: skip
    asked = Asked(whole, question, reference, row, settings)
    vars(prediction)["_asked"] = asked  # no field: files hold no model
    return prediction


def _check_reached(question: Question, reference: Reference, built: Built, result: Chain, row: int) -> None:
    """Raises LigflowError where the score is the same in both runs, and no token moves it on the way."""
    real, other = (float(scores[row]) for scores in built.scores)
    if real == other and not bool(result.by_depth[row].any()):
        pairs = zip(question.labels, reference.kept, strict=True)
        moved = [repr(label) for label, kept in pairs if not kept]
        more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise LigflowError(
            f"The score is {real:.4g} with the reference too, and nothing moves it on the way: what is "
            f"replaced ({', '.join(moved[:_SHOWN])}{more}) stands behind the position that is read, or the "
            "model does not read it. Replace other tokens (on=...), or ask at another position."
        )


def _certificates(segments: Any, result: Chain, row: int) -> tuple[SegmentCertificate, ...]:
    certificates = []
    for segment, average, allowance in zip(segments, result.averages, result.allowances, strict=True):
        if average is None:
            continue
        error, may = float(average.error[row]), float(allowance[row])
        certificates.append(
            SegmentCertificate(
                segment.name,
                segment.layer,
                float(average.residue[row]),
                error,
                may,
                int(average.points[row]),
                error <= may,
                average.note,
            )
        )
    return tuple(certificates)


def _of_jumps(segments: Sequence[Segment], result: Chain, row: int) -> list[str]:
    """Where experts change between the runs, and what could not be found of it."""
    notes, tokens = list[str](), dict[str, Tensor]()
    for segment, average in zip(segments, result.averages, strict=True):
        if average is None or average.jumps is None:
            continue
        if average.note:
            notes.append(f"{segment.name}: {average.note}")
        where = segment.name if segment.layer is None else f"layer {segment.layer}"
        tokens[where] = tokens.get(where, torch.tensor(False)) | (average.jumps[row] != 0)
    counts = {where: int(changed.sum()) for where, changed in tokens.items()}
    changing = [f"{where} ({count} token{'s'[: count > 1]})" for where, count in counts.items() if count]
    if changing:
        notes.insert(
            0,
            f"other experts are chosen along the paths in {', '.join(changing)}: what that contributes is in "
            "routing, and is part of what the layer's MLP contributes",
        )
    return notes


def _meta(
    whole: PreparedModel,
    question: Question,
    reference: Reference,
    settings: Any,
    about: dict[str, Any],
    notes: Sequence[str],
    row: int,
) -> dict[str, Any]:
    tokens = question.tokens
    joint = question.decoder_tokens is not None  # whose words would need numbers of their own
    words = None if tokens.words is None or joint else list(tokens.words)
    return whole.about | {
        "text": tokens.text,
        "words": words,
        "word_labels": [] if words is None else list(tokens.word_labels),
        "word_places": [] if words is None else list(tokens.word_places),
        "question": question.rows[row],
        "reference": reference.name,
        "reference_tokens": None if reference.tokens is None else list(reference.tokens),
        "spans": spans_of(question),
        "notes": [*whole.notes, *tokens.notes, *question.notes, *reference.notes, *notes],
        "settings": {name: _plain(value) for name, value in (vars(settings) | about).items()},
        "versions": {
            "ligflow": __version__, "torch": torch.__version__, "transformers": transformers.__version__,
        },
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """A setting as JSON holds it: what is no number or text by its description."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list | range):
        return [_plain(part) for part in value]
    if isinstance(value, Dictionary):
        return f"{value.name} at {value.hook.name}"
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    return getattr(value, "__name__", type(value).__name__)


def warn_unmet(prediction: Prediction) -> Prediction:
    """The explanation; warns (CompletenessWarning) where its errors are more than the tolerance."""
    tol = float(prediction.meta["settings"]["tol"])
    error = float(prediction.error.sum()) / prediction.scale
    if error > tol or abs(prediction.certificate) > tol:
        worst = sorted(prediction.certificates, key=lambda segment: -segment.error)[:3]
        named = ", ".join(f"{segment.name} ({segment.points} points)" for segment in worst)
        pinned = prediction.meta["settings"].get("points") is not None
        more = "Give more points or leave them out" if pinned else "Raise max_points"
        warn(
            f"The words add up to the change within {abs(prediction.certificate):.1e} of its scale, and are "
            f"off by {error:.1e} in all by estimate, more than the tolerance {tol:.1e}; most of it comes "
            f"from {named}. {more}, choose another reference, or load the model in float64"
            f"{_reasons(worst)}.",
            CompletenessWarning,
        )
    return prediction


def _reasons(segments: Sequence[SegmentCertificate]) -> str:
    """What is known of why segments are off."""
    reasons = [f"{segment.name}: {segment.note}" for segment in segments if segment.note]
    return f"; {'; '.join(reasons)}: experts='held' holds experts" if reasons else ""
