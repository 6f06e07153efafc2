"""Adapters of peft by name: `MODEL+ADAPTER`, or an adapter's own folder or hub id, which names its model."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import safe_open
from torch import nn
from transformers.utils.peft_utils import find_adapter_config_file

from ligflow.errors import LigflowError
from ligflow.extras import need

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_OF_MODEL = "base_model.model."  # stands before the names of all weights that belong to a module
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
# Kinds whose work depends on more than the weights of the model that they are put on.
_MORE_THAN_WEIGHTS = {
    "XLORA": "weighs its adapters anew for each text by a run of the model before the run",
    "POLY": "is told for each text which task it is",
    "ADAPTION_PROMPT": "gives each layer tokens of its own to attend to",
}


@dataclass(frozen=True)
class Adapter:
    """An adapter in a folder, and the name of the model that it is put on.

    `named` is True where that name is the user's, not the adapter's own.
    """

    folder: Path
    base: str
    named: bool

    @property
    def remedy(self) -> str:
        """How to name another model for it."""
        return f"Name its model with it: MODEL+{self.folder}."

    def put_on(self, whole: nn.Module, model: nn.Module) -> None:
        """Puts the adapter into the modules of a model with its head (`whole`), or of the one without.

        Raises LigflowError where it does not fit, or is more than weights.
        """
        need("adapters", f"The adapter {str(self.folder)!r}")
        from peft import PeftConfig, PeftModel

        config = PeftConfig.from_pretrained(str(self.folder))
        refuse_more_than_weights(config)
        names = _names_of_weights(self.folder)
        lacking = {id(part): _lacking(part, names) for part in (whole, model)}
        fits = next((part for part in (whole, model) if not lacking[id(part)]), None)
        if fits is None:
            raise self._misfit(config, f"has no {lacking[id(whole)]!r}, for which the adapter holds weights")
        try:
            adapted = PeftModel(fits, config)
            missing = adapted.load_adapter(str(self.folder), "default").missing_keys
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            said = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise self._misfit(config, f"does not take it: {said.rstrip('.')}") from error
        if missing:
            raise self._misfit(
                config, f"has {min(missing).removeprefix(_OF_MODEL)!r}, for which the adapter holds nothing"
            )

    def _misfit(self, config: Any, reason: str) -> LigflowError:
        own = config.base_model_name_or_path
        made_for = f"it says that it was made for {own!r}. " if own else ""
        return LigflowError(
            f"The adapter {str(self.folder)!r} does not fit {self.base!r}, which {reason}; {made_for}"
            "Name the model that it was trained on: MODEL+ADAPTER. One with a head of its own kind is loaded "
            "with peft and passed as it is: Explainer(peft_model, tokenizer)."
        )


def adapter_of(name: str | os.PathLike[str], options: Mapping[str, Any]) -> Adapter | None:
    """The adapter that a name stands for, None where it is a model's. Raises LigflowError for none there.

    `options` are those of `from_pretrained` for the hub.
    """
    text = os.fspath(name)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _naming_its_model(folder) if (folder / _CONFIG).is_file() else None
    base, _, place = text.rpartition("+")
    if base and place:
        return Adapter(_folder(place, options), base, named=True)
    return _naming_its_model(_folder(text, options)) if _is_adapter_of_hub(text, options) else None


def _is_adapter_of_hub(name: str, options: Mapping[str, Any]) -> bool:
    if _HUB_ID.fullmatch(name) is None or find_spec("peft") is None:
        return False
    try:
        return find_adapter_config_file(name, **_of_hub(options)) is not None
    except OSError:  # what there is in its place is said where the model is loaded
        return False


def _of_hub(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: options[key] for key in ("token", "cache_dir", "local_files_only") if key in options}


def refuse_more_than_weights(config: Any) -> None:
    """Raises LigflowError for adapters that are not in the modules of the model alone."""
    if config.is_prompt_learning:
        raise LigflowError(
            "This adapter puts tokens of its own before the text, which the model inside does not "
            "have, so a flow would be that of another input; adapters of weights (LoRA) can be explained."
        )
    kind = getattr(config.peft_type, "value", str(config.peft_type))
    why = _MORE_THAN_WEIGHTS.get(kind)
    if getattr(config, "alora_invocation_tokens", None):
        kind, why = "activated LoRA", "begins to work where certain tokens stand in the text"
    if why is not None:
        raise LigflowError(
            f"This adapter ({kind}) {why}, which the model inside does not do by itself, so that something "
            "else would be explained; adapters of weights (LoRA, DoRA, IA3, ...) can be explained."
        )


def _naming_its_model(folder: Path) -> Adapter:
    need("adapters", f"The adapter {str(folder)!r}")
    from peft import PeftConfig

    base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    if not base:
        raise LigflowError(f"The adapter {str(folder)!r} does not say of which model it is: MODEL+{folder}.")
    return Adapter(folder, base, named=False)


def _folder(place: str, options: Mapping[str, Any]) -> Path:
    """The folder of an adapter by its path or hub id."""
    folder = Path(place).expanduser()
    if not folder.is_dir() and _HUB_ID.fullmatch(place):
        files = ["adapter_*", "token*", "*.jinja"]
        try:
            folder = Path(snapshot_download(place, allow_patterns=files, **_of_hub(options)))
        except (OSError, ValueError) as error:
            said = str(error).strip().partition("\n")[0]
            raise LigflowError(
                f"There is no adapter {place!r}: no folder, and not from the hub ({said}). {_WANTED}"
            ) from error
    if not (folder / _CONFIG).is_file():
        raise LigflowError(f"There is no {_CONFIG} in {place!r}. {_WANTED}")
    return folder


_WANTED = f"Give behind '+' what peft saved (save_pretrained): a folder with {_CONFIG}, or a hub id."


def _names_of_weights(folder: Path) -> list[str]:
    """The names of an adapter's weights that belong to modules. Raises LigflowError where there are none."""
    try:
        with safe_open(folder / _WEIGHTS, "pt") as file:
            names = list(file.keys())
    except Exception as error:  # safetensors has an error class of its own
        raise LigflowError(
            f"The weights of the adapter {str(folder)!r} cannot be read ({_WEIGHTS}): {error}. Save it with "
            "peft (save_pretrained), which writes that file."
        ) from error
    return [name.removeprefix(_OF_MODEL) for name in names if name.startswith(_OF_MODEL)]


def _lacking(model: nn.Module, names: Iterable[str]) -> str:
    """The module of the first weight whose module the model does not have; '' where it has all."""
    leaves = {name for name, module in model.named_modules() if not any(True for _ in module.children())}
    for name in names:
        parts = name.split(".")
        if not any(".".join(parts[:count]) in leaves for count in range(1, len(parts))):
            return name
    return ""
