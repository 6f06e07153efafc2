"""Models and tokenizers as other programs hold them, and what of them is taken."""

import os
from typing import Any, NoReturn

from tokenizers import Tokenizer
from torch.nn import DataParallel
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ligflow.devices.quantisation import SHARDS
from ligflow.errors import LigflowError
from ligflow.explainer import pretrained
from ligflow.explainer.adapters import refuse_more_than_weights

# Where other tools keep the model that they wrap, and cannot be taken off from here.
_HELD = {
    "_fsdp_wrapped_module": SHARDS,
    "_module": "pass the model that it wraps: model._module",
    "original_model": "it has put its own attention into the model, so pass a copy made before that",
}


def model_of(program: Any) -> tuple[PreTrainedModel, Any]:
    """The model of `transformers` in what is given, and the tokenizer that is there with it (None: none).

    Taken from inside: DataParallel and DistributedDataParallel, what torch.compile gives, adapters of peft,
    pipelines, SentenceTransformer and CrossEncoder. Raises LigflowError, with what to pass, for others.
    """
    if isinstance(program, PreTrainedModel):
        return program, None
    if isinstance(program, DataParallel | DistributedDataParallel):
        return model_of(program.module)
    if _is(program, "OptimizedModule", "torch"):
        return model_of(program._orig_mod)
    if _is(program, "PeftModel", "peft"):
        refuse_more_than_weights(program.active_peft_config)
        return model_of(program.get_base_model())
    if _is(program, "PeftMixedModel", "peft"):
        return model_of(program.base_model.model)
    if _is(program, "SentenceTransformer", "sentence_transformers"):
        return _with_tokenizer(program[0].auto_model, program.tokenizer)
    if _is(program, "Pipeline", "transformers") or _is(program, "CrossEncoder", "sentence_transformers"):
        return _with_tokenizer(program.model, program.tokenizer)
    _refuse(program)


def tokenizer_of(program: Any) -> Any:
    """The tokenizer in what is given: itself, a processor's, a `tokenizers.Tokenizer`, or a name's.

    Raises LigflowError for anything else.
    """
    if program is None or isinstance(program, PreTrainedTokenizerBase):
        return program
    if isinstance(program, str | os.PathLike):
        return pretrained.tokenizer_named(program)
    if isinstance(program, Tokenizer):
        return PreTrainedTokenizerFast(tokenizer_object=program)
    if _is(program, "ProcessorMixin", "transformers") and getattr(program, "tokenizer", None) is not None:
        return tokenizer_of(program.tokenizer)
    if (
        callable(program)
        and hasattr(program, "convert_ids_to_tokens")
        and hasattr(program, "all_special_ids")
    ):
        return program
    raise LigflowError(
        f"{type(program).__name__} is no tokenizer; pass one of transformers, or its name. Inputs that a "
        "processor makes are explained as they are: explain(dict(processor(..., return_tensors='pt')))."
    )


def _with_tokenizer(model: Any, tokenizer: Any) -> tuple[PreTrainedModel, Any]:
    found, inner = model_of(model)
    return found, tokenizer or inner


def _is(value: Any, name: str, package: str) -> bool:
    """Whether it is of a class of a package, which need not be installed or imported to know."""
    return any(c.__name__ == name and c.__module__.startswith(f"{package}.") for c in type(value).__mro__)


def _refuse(program: Any) -> NoReturn:
    if isinstance(program, str | os.PathLike):
        raise LigflowError(
            f"Explainer needs a model, not a name; load it: Explainer.from_pretrained({str(program)!r})."
        )
    held = (name for name in _HELD if isinstance(getattr(program, name, None), PreTrainedModel))
    hint = next((f"; {_HELD[name]}" for name in held), "")
    raise LigflowError(
        f"Explainer needs a model of transformers (PreTrainedModel), not {type(program).__name__}{hint}."
    )
