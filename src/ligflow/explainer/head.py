"""What a model as a whole predicts, by the head on its layers: the next token, a masked one, a class, ..."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto as auto


@dataclass(frozen=True)
class Head:
    """A head: `kind`, and what a classifier's numbers stand for (`labels`, in their order).

    Kinds are "causal", "masked", "seq2seq", "sequence classifier" (of text or sound), "token classifier",
    "image classifier" (of images or film), "question answering" (where the answer starts and ends), and
    "none" for a model whose outputs are none of these.
    """

    kind: str
    labels: tuple[str, ...] = ()


def head_of(model: PreTrainedModel) -> Head:
    """The head of a model, by the tables of `transformers`; a class that is in none is known by its bases."""
    kinds = (kind_named(base.__name__, model.config) for base in type(model).__mro__)
    kind = next(filter(None, kinds), "none")
    return Head(kind, _labels(model.config) if kind.endswith("classifier") else ())


def kind_named(name: str, config: Any) -> str:
    """The kind of head of a class with this name, '' if it is not in the tables."""
    if name in _LANGUAGE:
        return _kind_of_language_head(name, config)
    return next((kind for kind, names in _OTHERS.items() if name in names), "")


def _kind_of_language_head(name: str, config: Any) -> str:
    """Some classes are in several tables, and their config says as which one they run."""
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    decodes = getattr(config, "is_decoder", False) or getattr(config, "causal", False)
    return "masked" if name in _MASKED and not decodes else "causal"


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label[number]) for number in sorted(config.id2label))


def _classes(*tables: dict[str, Any]) -> frozenset[str]:
    """The names of classes in tables, which hold one or several for a type of model."""
    return frozenset(name for table in tables for value in table.values() for name in _each(value))


def _each(value: str | Iterable[str]) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value


_MASKED = _classes(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
_LANGUAGE = _MASKED | _classes(
    auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
_OTHERS = {
    "sequence classifier": _classes(
        auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
    ),
    "token classifier": _classes(auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES),
    "image classifier": _classes(
        auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES,
    ),
    "question answering": _classes(auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES),
}
