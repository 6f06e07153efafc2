"""From the chain's numbers to a prediction's explanation, with what its readers need."""

from typing import Any

import torch
import transformers
from torch import Tensor

from ligflow._version import __version__
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.chain import Chain
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.nodes import nodes_of
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.question import Question, top_of
from ligflow.prediction.references import Reference
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
    """The explanation of one row, labelled."""
    graph, nodes = built.graph, nodes_of(built.graph, built.calls, result, row)
    encoder, decoder = question.tokens, question.decoder_tokens
    labels = [*encoder.labels, *(decoder.labels if decoder else ())]
    streams = (("encoder", 0, len(encoder.labels)), ("decoder", len(encoder.labels), len(labels)))
    own = len(encoder.labels)
    return Prediction(
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
        certificates=_certificates(graph.segments, result, row),
        top=top_of(question, runs.real.outputs, _SHOWN),
        reference_top=top_of(question, runs.reference.outputs, _SHOWN),
        layer_names=tuple(layer.name for layer in runs.layers),
        streams=streams if decoder else (("tokens", 0, own),),
        meta=_meta(whole, question, reference, settings, about, built, row),
    )  # fmt: skip


def _certificates(segments: Any, result: Chain, row: int) -> tuple[SegmentCertificate, ...]:
    made = []
    for segment, average, allowance in zip(segments, result.averages, result.allowances, strict=True):
        if average is None:
            continue
        error, may = float(average.error[row]), float(allowance[row])
        made.append(
            SegmentCertificate(
                segment.name,
                segment.layer,
                float(average.residue[row]),
                error,
                may,
                average.points,
                error <= may,
            )
        )
    return tuple(made)


def _meta(
    whole: PreparedModel,
    question: Question,
    reference: Reference,
    settings: Any,
    about: dict[str, Any],
    built: Built,
    row: int,
) -> dict[str, Any]:
    tokens = question.tokens
    joint = question.decoder_tokens is not None  # whose words would need numbers of their own
    words = None if tokens.words is None or joint else list(tokens.words)
    parallel = [call.number for call in built.calls if call.form.kind == "parallel"]
    return whole.about | {
        "text": tokens.text,
        "words": words,
        "word_labels": [] if words is None else list(tokens.word_labels),
        "word_places": [] if words is None else list(tokens.word_places),
        "question": question.rows[row],
        "reference": reference.name,
        "reference_tokens": None if reference.tokens is None else list(reference.tokens),
        "parallel": parallel,
        "notes": [*tokens.notes, *question.notes, *reference.notes, *built.notes],
        "settings": {name: _plain(value) for name, value in (vars(settings) | about).items()},
        "dtype": str(built.scores[0].dtype).removeprefix("torch."),
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
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    return getattr(value, "__name__", type(value).__name__)
