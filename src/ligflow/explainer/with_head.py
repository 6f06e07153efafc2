"""A checkpoint's model with the head that it was saved with, and without it, as flows are taken of it."""

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
from transformers.models.auto.modeling_auto import MODEL_MAPPING


@dataclass(frozen=True)
class Named:
    """The class with a head that a checkpoint names (`loader` loads it), and the class without (`base`).

    `base` is None where the checkpoint's own code names no class without a head.
    """

    loader: Any
    name: str
    base: str | None

    def loaded(self, folder: str, arguments: dict[str, Any]) -> tuple[PreTrainedModel, PreTrainedModel] | str:
        """The whole model and the one without its head, on the same weights; or why there are none."""
        try:
            whole, info = self.loader.from_pretrained(folder, **arguments)
        except (
            Exception
        ) as error:  # of a head that asks for more than flows need; what they need is loaded next
            said = str(error).strip().partition("\n")[0]
            return f"{self.name} could not be loaded: {said or type(error).__name__}"
        lacking = {*info["missing_keys"], *(key for key, *_ in info.get("mismatched_keys", ()))}
        if lacking:
            return f"its checkpoint lacks {min(lacking)!r} of {self.name}"
        base = without_head(whole, self.base)
        return f"{self.name} does not hold all of {self.base}" if base is None else (whole, base)


def named_head(folder: str, options: dict[str, Any]) -> Named | str:
    """The class with a head that a checkpoint's config names; or why there is none."""
    try:
        config = options.get("config") or AutoConfig.from_pretrained(folder, **options)
    except OSError:  # such as a folder of an adapter, for which AutoModel finds the model
        return "it has no config of its own"
    names = getattr(config, "architectures", None)
    if not names and "gguf_file" in options:  # such files hold language models, and name no class
        names = [name for name in [CAUSAL.get(config.model_type)] if name]
    if not names:
        return "its config names no class with a head"
    own = getattr(config, "auto_map", None) if options["trust_remote_code"] else None
    return _of_own_code(own, names[0]) if own else _of_library(config, names[0])


def _of_library(config: PreTrainedConfig, name: str) -> Named | str:
    kind = getattr(transformers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, PreTrainedModel):
        return f"its config names {name}, which transformers does not have"
    bases: Any = MODEL_MAPPING.get(type(config), ())
    bases = bases if isinstance(bases, tuple) else (bases,)
    if kind in bases or not isinstance(config, kind.config_class or ()):
        return f"its config names {name}, a class without a head"
    return Named(kind, name, bases[0].__name__) if bases else f"{name} is not known without its head"


def _of_own_code(own: dict[str, str], name: str) -> Named | str:
    classes = {
        auto: str(path).rpartition(".")[2] for auto, path in own.items() if auto.startswith("AutoModel")
    }
    base = classes.get("AutoModel")
    loaders = [auto for auto, kind in classes.items() if kind == name and auto != "AutoModel"]
    if not loaders:
        return f"its config names {name}, which its code does not load"
    return Named(getattr(transformers, loaders[0]), name, base)


def without_head(whole: PreTrainedModel, base: str | None) -> PreTrainedModel | None:
    """The model of class `base` (None: any) inside a model with a head; None where there is none.

    Where the parts of such a model are all there (T5), one is put together of them.
    """
    for inner in (whole.base_model, *whole.children()):
        if inner is not whole and isinstance(inner, PreTrainedModel) and base in (None, type(inner).__name__):
            return inner
    kind: Any = getattr(transformers, base or "", None)
    fits = kind is not None and isinstance(whole.config, kind.config_class)
    return _of_parts(kind, whole) if fits else None


def _of_parts(kind: type[PreTrainedModel], whole: PreTrainedModel) -> PreTrainedModel | None:
    with torch.device("meta"):
        base = kind(whole.config)
    for name, part in base.named_children():
        same = getattr(whole, name, None)
        if type(same) is not type(part):
            return None
        setattr(base, name, same)
    bare = any(one.is_meta for one in (*base.parameters(), *base.buffers()))
    return None if bare else base.train(whole.training)
