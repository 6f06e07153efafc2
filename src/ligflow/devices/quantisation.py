"""Weights whose numbers mean something only with others (scales, codes): made plain, or refused by name.

A weight of 8 bits, a packed one, or one of a class of its own is never cast. What made it says what it
means: tensors that can `dequantize`, modules that can, and the scales of FP8 checkpoints. Where nobody does,
the model is refused.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from ligflow.errors import LigflowError

M = TypeVar("M", bound=nn.Module)
_PACKED = (torch.int8, torch.uint8, torch.int16, torch.int32)
_SCALE = "_scale_inv"  # behind the name of a weight of 8 bits, in the modules of transformers
SHARDS = (
    "each process of FSDP holds a part of the weights; put all of them into a model that is not sharded, "
    "and explain that: model.load_state_dict(get_model_state_dict(sharded, options=StateDictOptions("
    "full_state_dict=True))) (torch.distributed.checkpoint.state_dict)"
)
_BEHIND = "dequantised to float32; activations are not rounded, as the model itself may do"


@dataclass
class Quantised:
    """The quantised parts of a model: how a plain module, or plain numbers, are made for each.

    Weights are told apart by their ids; `kinds` names them in words, `places` the modules that hold them.
    `packed` are names of others that run as they are, and cannot be copied.
    """

    modules: dict[nn.Module, Callable[[], nn.Module]] = field(default_factory=dict)
    weights: dict[int, Callable[[], Tensor]] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    places: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)

    def note(self) -> list[str]:
        """For readers: what is dequantised."""
        return [f"weights in {' and '.join(sorted(self.kinds))}, {_BEHIND}"] if self.kinds else []

    def refuse_copy(self, why: str) -> None:
        """Raises LigflowError where packed weights would have to be copied."""
        if self.packed:
            raise LigflowError(
                f"The weights of {self.packed[0]!r} are packed, and cannot be copied, as is needed here: "
                f"{why}. Load the model unquantised, or all of it in float32 where it is explained."
            )


def quantised(model: nn.Module) -> Quantised:
    """What is quantised in a model.

    Raises LigflowError, with the name of the first weight, where nobody says what its numbers mean.
    """
    parts, inner = Quantised(), set[nn.Module]()
    for name, module in model.named_modules():
        kind = None if module in inner else _kind_of_linear(module)
        if kind is not None:
            parts.modules[module] = partial(_plain_linear, module)
            parts.kinds.add(kind)
            inner.update(module.modules())
        elif module not in inner:
            _note_weights(name, module, parts)
    return parts


def meanings(modules: Iterable[nn.Module]) -> dict[int, Callable[[], Tensor]]:
    """What makes plain numbers of each quantised weight that modules hold themselves, by the ids of these."""
    parts = Quantised()
    for module in modules:
        _note_weights("", module, parts)
    return parts.weights


def without_kernels(model: M, names: Iterable[str]) -> M:
    """The copy of a model, in which experts with plain weights need no kernels for quantised ones."""
    for name in names:
        config = getattr(model.get_submodule(name), "config", None)
        if hasattr(config, "_experts_implementation"):
            vars(config)["_experts_implementation_internal"] = "eager"
    return model


def _note_weights(name: str, module: nn.Module, parts: Quantised) -> None:
    own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    for key, weight in own.items():
        place, narrow = f"{name}.{key}" if name else key, _is_narrow(weight)
        if narrow and key + _SCALE in own:
            blocks = getattr(module, "block_size", None)
            parts.weights[id(weight)] = partial(_by_blocks, weight, own[key + _SCALE], blocks)
            parts.places.append(name)
            parts.kinds.add(f"{_type(weight)} with scales")
        elif type(weight).__name__ == "DTensor":
            raise LigflowError(f"The weights of {place!r} are sharded: {SHARDS}.")
        elif _is_own_class(weight):
            if not _can_dequantise(weight):
                _refuse(place, module, type(weight).__name__)
            parts.weights[id(weight)] = partial(_dequantised, weight)
            parts.kinds.add(type(weight).__name__)
        elif narrow and _is_scale(key, own):  # a power of two
            parts.weights[id(weight)] = weight.float
        elif narrow and not _scales_rows(module):
            _refuse(place, module, _type(weight))
        elif weight.dtype in _PACKED and weight.ndim > 1 and any("scale" in other for other in own):
            parts.packed.append(place)


# --- weights --------------------------------------------------------------------------------------


def _is_narrow(weight: Tensor) -> bool:
    """Floating-point numbers of 8 bits or less."""
    return weight.is_floating_point() and weight.element_size() == 1


def _is_scale(key: str, own: dict[str, Tensor]) -> bool:
    """Whether this is itself the scale of a weight."""
    return key.endswith(_SCALE) and key.removesuffix(_SCALE) in own


def _scales_rows(module: nn.Module) -> bool:
    """Whether a table of embeddings multiplies what is looked up with its scale by itself."""
    return isinstance(module, nn.Embedding) and hasattr(module, "weight_scale")


def _is_own_class(weight: Tensor) -> bool:
    """A tensor that is computed with by rules of its own; a mere name of a class is none."""
    rules = _rules(type(weight))
    return rules not in (_rules(Tensor), _rules(nn.Parameter))


def _rules(kind: Any) -> tuple[Any, Any]:
    function = kind.__torch_function__
    return getattr(function, "__func__", function), getattr(kind, "__torch_dispatch__", None)


def _can_dequantise(weight: Tensor) -> bool:
    return getattr(type(weight), "dequantize", None) is not Tensor.dequantize


def _dequantised(weight: Any) -> Tensor:
    """What a tensor says of its own numbers, in float32 if it can."""
    wide = "output_dtype" in inspect.signature(weight.dequantize).parameters
    plain: Tensor = weight.dequantize(**({"output_dtype": torch.float32} if wide else {}))
    return plain.detach().float()


def _by_blocks(weight: Tensor, scale: Tensor, block: Any) -> Tensor:
    """Numbers times the scales of their blocks, the last of which may be cut; one scale may hold for all."""
    wide, factor = weight.detach().float(), scale.detach().float()
    if block is not None and factor.ndim > 1:
        rows, columns = wide.shape[-2:]
        factor = factor.repeat_interleave(block[0], -2)[..., :rows, :]
        factor = factor.repeat_interleave(block[1], -1)[..., :columns]
    return wide * factor


def _type(weight: Tensor) -> str:
    return str(weight.dtype).removeprefix("torch.")


def _refuse(place: str, module: nn.Module, what: str) -> NoReturn:
    raise LigflowError(
        f"The weights of {place!r} ({type(module).__name__}) are {what}, and what their numbers mean is not "
        "known to ligflow. Load the model in bfloat16 or float32, or dequantised (model.dequantize(), or "
        "dequantize=True in its quantization config)."
    )


# --- linear maps ----------------------------------------------------------------------------------


def _kind_of_linear(module: Any) -> str | None:
    """The kind of a quantised linear map's weights, if its library says what they are, else None."""
    weight, qweight = getattr(module, "weight", None), getattr(module, "qweight", None)
    if not hasattr(module, "in_features"):
        return None
    if _is_of_bitsandbytes(module):
        return type(weight).__name__
    if isinstance(qweight, Tensor) and _can_dequantise(qweight):
        return type(qweight).__name__
    if callable(getattr(module, "dequantize", None)):
        return type(module).__name__
    if _is_of_torch_ao(module):
        return f"packed {_type(module.weight())}"
    return None


def _matrix(module: Any) -> Tensor:
    if _is_of_bitsandbytes(module):
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        return dequantize_bnb_weight(module.weight, getattr(module, "state", None))
    if _is_of_torch_ao(module):
        return module.weight().dequantize()
    return module.dequantize() if hasattr(module, "dequantize") else _dequantised(module.qweight)


def _is_of_bitsandbytes(module: Any) -> bool:
    return type(getattr(module, "weight", None)).__name__ in ("Int8Params", "Params4bit")


def _is_of_torch_ao(module: Any) -> bool:
    return type(module).__module__.startswith("torch.ao.nn.quantized") and callable(module.weight)


def _plain_linear(module: Any) -> nn.Module:
    """The linear map with its matrix in float32, and what hooks it has."""
    weight, bias = _matrix(module), module.bias() if callable(module.bias) else module.bias
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    plain.weight = nn.Parameter(weight.detach().float(), requires_grad=False)
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach().float(), requires_grad=False)
    for name, hooks in vars(module).items():
        if isinstance(hooks, OrderedDict) and "hooks" in name:
            vars(plain)[name] = OrderedDict(hooks)
    return plain.train(module.training)
