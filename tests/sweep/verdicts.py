"""One model type: built tiny, run on made-up inputs, and every stack of its layers checked."""

import importlib
import inspect
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedModel

from ligflow import Explainer, LigflowError, UnsupportedModel
from ligflow.evaluation.conformance import Check, check
from ligflow.layer.interface import Captured, attention_action, plain
from ligflow.layer.model_state import prepared
from ligflow.recording.model_runs import OFF_INTERFACE
from ligflow.recording.record import stacks
from sweep.made_up import given, runs
from sweep.record import Stacks, Verdict, worth_keeping
from sweep.shrink import shrink

_GAIN = 1.7  # of a matrix on random states, at most
_SET = 1e6  # what is beyond is memory that no initialization has set
_MAPPED_TO_DECODER = ("musicgen", "musicgen_melody")  # their "bare model" is of the config of a part
_OF_INPUTS = ("could not run on these inputs", "These are inputs of the encoder alone")  # which we made up
_ABOUT = ("_name_or_path", "architectures", "dtype", "transformers_version")  # of a config, no settings
ByPart = dict[str, Stacks]  # verdicts by the class and the settings of a model or of a part of it
EXCEPTIONS = json.loads(Path(__file__).with_name("exceptions.json").read_text(encoding="utf-8"))


def verdict_of(model_type: str, before: ByPart) -> tuple[Stacks, ByPart]:
    """What became of a type: a verdict for each of its stacks, and those of its parts that can be taken over.

    A part with the class and settings of one that was checked `before` (the image tower of one type is
    often a type of its own) has its verdicts, but where something failed, as with other random weights it
    may not.
    """
    try:
        model = build(model_type)
    except Exception as error:  # any model's own code
        return {"": {"verdict": "unbuilt", "why": _why_unbuilt(error)}}, {}
    found: Stacks = {}
    by_part: ByPart = {}
    for name, part in _parts(model):
        try:
            key = _class_and_settings(part)
            by_part[key] = before[key] if key in before else dict(_of_part(part))
            found |= {f"{name}{stack}": one for stack, one in by_part[key].items()}
        except Exception as error:
            found[name] = {"verdict": "not run", "why": f"{type(error).__name__}: {_line(error)}"}
    return found, {key: stacks for key, stacks in by_part.items() if worth_keeping(stacks)}


def _class_and_settings(part: PreTrainedModel) -> str:
    settings = {name: value for name, value in part.config.to_dict().items() if name not in _ABOUT}
    return f"{type(part).__name__} {json.dumps(settings, sort_keys=True, default=str)}"


def _of_part(part: PreTrainedModel) -> Iterator[tuple[str, Verdict]]:
    inputs, why = runs(part)
    if inputs is None:
        yield "", {"verdict": "not run", "why": _line(why)}
        return
    for stack, one in _of_stacks(part, inputs):
        yield stack, one if one["verdict"] != "refused" else one | {"off": not _attends(part, inputs)}


def _attends(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> bool:
    """Whether attention reaches the interface of transformers."""
    seen = []

    def note(captured: Captured) -> Tensor:
        seen.append(captured)
        return plain(captured)

    try:
        with torch.no_grad(), prepared(model), attention_action(note):
            model(**inputs)
    except UnsupportedModel:  # an attention argument
        return True
    return bool(seen)


def _why_unbuilt(error: Exception) -> str:
    """The reason, shorter where it is a package that is not installed."""
    missing = re.search(r"requires the (\w+) library", str(error))
    return f"needs the package {missing[1]}" if missing else _line(error)


def build(model_type: str) -> PreTrainedModel:
    """The tiny model of a type, with seeded random weights."""
    config_class = CONFIG_MAPPING[model_type]
    config = config_class.from_dict(shrink(config_class().to_dict(), EXCEPTIONS))
    model_class = _class_of(config_class)
    torch.manual_seed(0)
    model = model_class(config).eval()
    _stir(model)
    return model.float()


def _stir(model: PreTrainedModel) -> None:
    """Biases and norms away from 0 and 1; matrices that would saturate every softmax are made small."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                if parameter.numel() and not parameter.abs().max() < _SET:
                    parameter.normal_()
                parameter.add_(0.1 * torch.randn_like(parameter))
                if parameter.ndim > 1:
                    widest = _GAIN / math.sqrt(max(1, parameter[0].numel()))
                    parameter.mul_(min(1.0, widest / float(parameter.std())))


def _class_of(config_class: type) -> Any:
    """The bare model of a config, or else the first model that is made for it."""
    if config_class in MODEL_MAPPING and config_class.model_type not in _MAPPED_TO_DECODER:
        found = MODEL_MAPPING[config_class]
        return found[0] if isinstance(found, tuple) else found
    module = config_class.__module__.replace(".configuration_", ".modeling_")
    there = vars(importlib.import_module(module)).values()
    made = [one for one in there if isinstance(one, type) and issubclass(one, PreTrainedModel)]
    own = [one for one in made if one.config_class is config_class and "PreTrainedModel" not in one.__name__]
    if not own:
        raise LookupError("part of another model")
    return own[0]


def _parts(model: PreTrainedModel) -> Iterator[tuple[str, PreTrainedModel]]:
    """The model, or the models inside it that hold layers of their own (towers)."""
    towers = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, PreTrainedModel) and _holds_layers(part) and not any(map(_is_tower, _below(part)))
    }
    if model.config.is_encoder_decoder or len(towers) < 2:
        yield "", model
    else:
        yield from ((f"{name}: ", part) for name, part in towers.items())


def _below(model: nn.Module) -> list[nn.Module]:
    return list(model.modules())[1:]


def _is_tower(module: nn.Module) -> bool:
    return isinstance(module, PreTrainedModel) and _holds_layers(module)


def _holds_layers(module: nn.Module) -> bool:
    return any(isinstance(part, nn.ModuleList) for part in module.modules())


def _of_stacks(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Iterator[tuple[str, Verdict]]:
    if not _encodes(model):
        names: list[str | None] = [None]
        try:
            found = stacks(model, inputs)
            names = [None] if len(found) == 1 else list(found)
        except LigflowError:
            pass  # the check gives the reason
        for name in names:
            yield name or "", _checked(model, name, inputs)
        return
    try:
        for name in stacks(model, inputs):
            yield name, _checked(model, name, inputs)
    except LigflowError as error:
        yield "", {"verdict": "refused", "why": _line(error)}


def _checked(model: PreTrainedModel, stack: str | None, inputs: Mapping[str, Tensor]) -> Verdict:
    """The conformance checks of one stack."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            explainer = Explainer(model, stack=_asked(model, stack))
            own = inputs if explainer.prepared.decodes else _of_encoder(model, inputs)
            layers, found = explainer.prepared.record(own), check(explainer, [own])
            if _only_jumps(found):
                held = check(explainer, [own], experts="frozen")
                return _summary(layers, held) | {"experts": "frozen"}
            return _summary(layers, found)
        except LigflowError as error:
            ours = any(said in str(error) for said in _OF_INPUTS)
            return {"verdict": "not run" if ours else "refused", "why": _line(error)}
        except Exception as error:
            return {"verdict": "failed", "why": f"{type(error).__name__}: {_line(error)}"}


def _encodes(model: PreTrainedModel) -> bool:
    """Whether it is an encoder-decoder, and not the decoder of one."""
    names = inspect.signature(model.forward).parameters
    return model.config.is_encoder_decoder and any(name.startswith("decoder_") for name in names)


def _asked(model: PreTrainedModel, stack: str | None) -> str | None:
    """The name to ask for; the encoder of an encoder-decoder is what is explained without one."""
    encoder = _encoder(model)
    if encoder is None:
        return stack
    name = next(name for name, part in model.named_modules() if part is encoder)
    return None if str(stack).startswith(f"{name}.") else stack


def _encoder(model: PreTrainedModel) -> PreTrainedModel | None:
    """The encoder of an encoder-decoder, where it is a model of its own."""
    found = model.get_encoder() if model.config.is_encoder_decoder else None
    return found if isinstance(found, PreTrainedModel) and found is not model else None


def _only_jumps(checks: list[Check]) -> bool:
    """Whether nothing but certificates fails: the layers may jump where other experts are chosen."""
    return {one.name.split(",")[0] for one in checks if not one.passed} == {"certificates"}


def _summary(layers: list[Any], checks: list[Check]) -> Verdict:
    split = [layer for layer in layers if layer.mode != "whole"]
    failed = [f"{one.name}: {one.measured} {one.detail}".strip() for one in checks if not one.passed]
    refusals = dict.fromkeys(layer.findings.reason for layer in layers if layer.mode == "whole")
    kinds = {
        "uncertified" if one.name.startswith("certificates") else "failed" for one in checks if not one.passed
    }
    routes = "passes" if len(split) == len(layers) else "partly" if split else "z2z"
    return {
        "verdict": min(kinds, default=routes), "layers": len(layers), "split": len(split),
        "off": OFF_INTERFACE in refusals, "why": "; ".join(failed or refusals),
    } | ({"at_softmax": True} if any(layer.forms for layer in layers) else {})  # fmt: skip


def _of_encoder(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's own inputs, where it has some; else those of the model that are not the decoder's."""
    if not model.config.is_encoder_decoder:
        return dict(inputs)
    encoder = _encoder(model)
    own = {name: one for name, one in inputs.items() if not name.startswith("decoder_")}
    return (None if encoder is None else given(encoder)) or own


def _line(error: object) -> str:
    """An error's text, without the places of files on this machine."""
    return re.sub(r" from '/[^']*'", "", " ".join(str(error).split()))[:300]
