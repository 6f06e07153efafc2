"""One layer of a model, recorded once and replayed: the only file that knows the attention interface.

`transformers` hands queries, keys and values to a registered attention function. Ours either
*captures* them and stops the layer there, or *substitutes* an attention output u of our choice, so
that the model's own unmodified layer does everything before and after.
"""

import contextlib
import copy
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from ligflow.attention import Form, additive, causal_mask, mix, weigh
from ligflow.double import keep_double
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layout import USUAL, Layout
from ligflow.precision import products_in
from ligflow.recipes import Shortcut, on_copy
from ligflow.softmax import Watch, finding
from ligflow.windows import Windows

IMPLEMENTATION = "ligflow"
_PROJECTED = ("query", "key", "value")
CACHE_NAMES = ("past_key_values", "past_key_value", "layer_past", "cache_params", "cache")
# Arguments without an effect on the value of the attention in a single, unpacked, uncached forward:
# windows are already in the mask, and positions already in the rotated queries and keys.
_NO_EFFECT = frozenset(
    (
        "sliding_window",
        "position_ids",
        "input_ids",
        "grid_thw",
        "cache_position",
        "deterministic",
        "use_cache",
        "training",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "output_router_logits",
        *CACHE_NAMES,
    )
)


@dataclass(frozen=True, eq=False)
class Captured:
    """What reached the attention function: projections (with their tangents along a path) and form."""

    query: Float[Tensor, "batch head target dim"]
    key: Float[Tensor, "batch group source dim"]
    value: Float[Tensor, "batch group source value_dim"]
    form: Form
    module: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class Path:
    """Captured projections at points of a path, and their derivatives along it."""

    at: Captured
    query_step: Float[Tensor, "batch head target dim"]
    key_step: Float[Tensor, "batch group source dim"]
    value_step: Float[Tensor, "batch group source value_dim"]


class _Stop(Exception):
    """Ends a layer at its attention function."""


# PyTorch has one forward-mode level for the whole process; threads take turns.
_forward_mode = threading.RLock()
_action: ContextVar[Callable[[Captured], Tensor] | None] = ContextVar("action", default=None)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """The registered function: `[batch, head, token, dim]` in, `[batch, token, head, dim]` out."""
    if query.ndim != 4:
        raise UnsupportedModel(
            f"{type(module).__name__} hands over queries of shape {tuple(query.shape)}, not [1, heads, "
            "tokens, size]"
        )
    captured = Captured(query, key, value, _read_form(module, query, key, attention_mask, kwargs), module)
    return _acted(captured).transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)


def _acted(captured: Captured) -> Float[Tensor, "batch head target value_dim"]:
    action = _action.get()
    return plain(captured) if action is None else action(captured)


def plain(captured: Captured) -> Float[Tensor, "batch head target value_dim"]:
    """Attention as it is defined."""
    return mix(weigh(captured.query, captured.key, captured.form), captured.value)


def _read_form(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
) -> Form:
    """Everything else that the function was given; an argument that is not understood is refused."""
    given = {name: value for name, value in kwargs.items() if value is not None}
    scaling = given.pop("scaling", None)
    softcap = given.pop("softcap", None)
    sink = given.pop("s_aux", None)
    bias = given.pop("position_bias", None)
    chosen = given.pop("indices", None)
    if chosen is not None and chosen.shape[-1] < key.shape[2]:
        raise UnsupportedModel(
            f"{type(module).__name__} lets its tokens see {chosen.shape[-1]} of {key.shape[2]} keys, chosen "
            "from the hidden states"
        )
    if given.pop("dropout", 0.0) and module.training:
        raise UnsupportedModel(f"{type(module).__name__} applies attention dropout; call model.eval() first")
    if given.pop("is_causal", False) and mask is None and query.shape[2] > 1:
        mask = causal_mask(query, key)
    unknown = sorted(name for name in given if name not in _NO_EFFECT)
    if unknown:
        raise UnsupportedModel(
            f"{type(module).__name__} passes attention argument {unknown[0]!r}, which ligflow does not "
            "understand"
        )
    bias = _join(additive(mask, query), bias)
    if sink is not None:
        sink = sink.detach().reshape(-1)
    return Form(query.shape[-1] ** -0.5 if scaling is None else float(scaling), bias, softcap, sink)


def literal(mask: Any, captured: Captured) -> Any:
    """The additive mask `[1, 1, T, T]` that the module's own attention implementation takes `mask` for.

    Fused kernels take masks of truth values, and none at all for a causal module. The eager attention
    takes none for no mask, which a causal model never means: raises LigflowError.
    """
    module, query = captured.module, captured.query
    own = getattr(getattr(module, "config", None), "_attn_implementation", "eager")
    eager, bare = own in ("eager", IMPLEMENTATION), captured.form.bias is None and query.shape[2] > 1
    if eager and bare and getattr(module, "is_causal", False):
        raise LigflowError(
            f"{type(module).__name__} is causal, and without a mask its eager attention would look ahead; "
            "pass the attention_mask that the model passes to the layer."
        )
    if eager:
        return mask
    if mask is None and bare and getattr(module, "is_causal", True):
        mask = causal_mask(query, captured.key)
    return additive(mask, query) if isinstance(mask, Tensor) else mask


def _join(mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
    if mask is None or bias is None:
        return bias if mask is None else mask
    return mask + bias


@dataclass(frozen=True, eq=False)
class Layer:
    """A recorded call of one layer: the module, its other arguments, and what went in and came out.

    `hidden` is z `[T, D]`, `output` is z' as the model itself computed it. What validation found:

    - `refusal`: why the layer cannot be split at its attention ('' where it can);
    - `entangled`: why the engine takes its attention as one map of all hidden states, to be differentiated by
      plain autograd ('' where every token has a query, a key and a value of its own);
    - `layout`: which axes of its own hidden states are tokens;
    - `one_by_one`: it takes one example at a time;
    - `tiled`: the arguments to be repeated for each example, e.g. where heads and examples share an axis;
    - `forms` of its attentions, and `groups` of heads that share keys, where they are not on the interface
      but seen at their softmax;
    - `windows`: the parts of the tokens that its attention sees, where it does not see all at once;
    - `calls`: the heads of each of its attention calls, where several see all tokens;
    - `memory`: the argument that holds the encoder's states e, where a second attention takes them, and
      `cross_heads`, its heads;
    - `projections`: the modules (and output sizes) that only feed attention;
    - `anywhere`: what follows attention knows no positions;
    - `shortcut`: how projections are made, or `no_shortcut`: why that is not known;
    - `repeats`: it gives its recorded output again, to rounding;
    - `as_loaded`: its eager attention is not what the model runs, so that what is not split is replayed
      under the implementation that the model was loaded with;
    - `positional`: the arguments that the model passes without their names;
    - `note`: what a reader must know of how the model as loaded and its eager attention differ;
    - `cost`: how many numbers a token keeps in memory while it is differentiated after its attention.
    """

    index: int
    name: str
    module: nn.Module
    first: str
    arguments: dict[str, Any]
    hidden: Float[Tensor, "token dim"]
    output: Float[Tensor, "token dim"]
    refusal: str = ""
    entangled: str = ""
    layout: Layout = USUAL
    one_by_one: bool = False
    tiled: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()
    groups: tuple[int, ...] = ()
    windows: Windows | None = None
    calls: tuple[int, ...] = ()
    memory: str = ""
    cross_heads: int = 0
    projections: Mapping[nn.Module, int] = field(default_factory=dict)
    anywhere: bool = False
    shortcut: Shortcut | None = None
    no_shortcut: str = ""
    cost: int = 0
    repeats: bool = False
    as_loaded: bool = False
    positional: tuple[str, ...] = ()
    note: str = ""

    @property
    def implementation(self) -> str | None:
        """The attention implementation under which this layer is replayed; None is the model's own."""
        if self.refusal or self.forms:
            return None if self.as_loaded else "eager"
        return IMPLEMENTATION

    def forward(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """z -> z' through the unmodified layer."""
        return torch.cat([self._call(one) for one in self._calls(hidden)])

    def capture(self, hidden: Float[Tensor, "batch token dim"]) -> Captured:
        """The projections of `hidden`, as they reach the attention function."""
        return _batched([self._captured(one) for one in self._calls(hidden)])

    def _captured(self, hidden: Tensor) -> Captured:
        seen = self._seen(hidden)
        return side_by_side(seen, self.windows) if self.windows else seen[0]

    def _seen(self, hidden: Tensor) -> list[Captured]:
        """What reaches its attention function: once, or in each call for windows."""
        seen: list[Captured] = []

        def stop(captured: Captured) -> Tensor:
            seen.append(captured)
            if len(seen) >= (len(self.windows.calls) if self.windows else 1):
                raise _Stop
            return captured.query.new_zeros(*captured.query.shape[:3], captured.value.shape[-1])

        with acting(stop):
            try:
                self._call(hidden)
            except _Stop:
                return seen
        raise UnsupportedModel(f"Layer {self.index} ({self.name}) did not reach its attention function.")

    def capture_path(
        self, hidden: Float[Tensor, "batch token dim"], step: Float[Tensor, "batch token dim"]
    ) -> Path:
        """The projections of `hidden` and their derivatives along `step`, by forward-mode AD."""
        with _forward_mode, torch.no_grad(), forward_ad.dual_level():
            return _path(self, self.capture(forward_ad.make_dual(hidden, step)))

    @property
    def encoded(self) -> Float[Tensor, "memory memory_dim"]:
        """The encoder's states e that the second attention sees."""
        return self.layout.rows(self.arguments[self.memory])[0]

    def with_encoded(self, memory: Float[Tensor, "batch memory memory_dim"]) -> "Layer":
        """The same call with other states of the encoder."""
        return replace(self, arguments=self.arguments | {self.memory: self.layout.own(memory)})

    def capture_second(self, memory: Float[Tensor, "batch memory memory_dim"]) -> Captured:
        """What reaches the second attention, the first one being as it is."""
        seen: list[Captured] = []

        def stop(captured: Captured) -> Tensor:
            seen.append(captured)
            raise _Stop

        hidden = self.hidden.expand(len(memory), -1, -1)
        with contextlib.suppress(_Stop):
            self.with_encoded(memory).finish(hidden, self.attend(hidden), stop)
        return seen[0]

    def capture_second_path(
        self, memory: Float[Tensor, "batch memory memory_dim"], step: Float[Tensor, "batch memory memory_dim"]
    ) -> Path:
        """The same, and the derivatives along `step`, by forward-mode AD."""
        with _forward_mode, torch.no_grad(), forward_ad.dual_level():
            return _path(self, self.capture_second(forward_ad.make_dual(memory, step)))

    def finish(
        self,
        hidden: Float[Tensor, "batch token dim"],
        u: Float[Tensor, "batch token head value_dim"],
        second: Callable[[Captured], Tensor] = plain,
    ) -> Float[Tensor, "batch token dim"]:
        """z' when the attention output is `u`: output projection, residual, norms, MLP, as they are.

        Projections that only feed attention are not computed. `second` is what a second attention (to the
        encoder's states) gives.
        """
        unused = {module: hidden.new_zeros(1, 1, width) for module, width in self.projections.items()}
        done = []
        for one, given in zip(self._calls(hidden), self._calls(u), strict=True):
            parts = self._parts(given)
            with acting(_substitute(parts, second)), standing_in(unused):
                done.append(self._call(one))
        return torch.cat(done)

    def on_input(self, hidden: Float[Tensor, "token dim"]) -> "Layer":
        """The same call on other hidden states, with what the layer makes of them."""
        with torch.no_grad():
            return replace(self, hidden=hidden, output=self.forward(hidden[None])[0])

    def attend(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token head value_dim"]:
        """u, by the plain definition of attention (differentiable)."""
        return torch.cat([self._attended(one) for one in self._calls(hidden)]).transpose(1, 2)

    def _attended(self, hidden: Tensor) -> Tensor:
        if self.calls:
            return torch.cat([u for _, u in self.each_attention(hidden)], dim=1)
        if self.windows and self.entangled:  # a bias of its own for each example
            return self.windows.whole([plain(one) for one in self._seen(hidden)])
        return plain(self._captured(hidden))

    def each_attention(self, hidden: Tensor) -> list[tuple[Captured, Tensor]]:
        """What reaches each of several attention calls, and what it gives."""
        found: list[tuple[Captured, Tensor]] = []

        def note(captured: Captured) -> Tensor:
            found.append((captured, plain(captured)))
            if len(found) == len(self.calls):
                raise _Stop
            return found[-1][1]

        with acting(note), contextlib.suppress(_Stop):
            self._call(hidden)
        return found

    def _parts(self, u: Tensor) -> list[Tensor]:
        """u as each attention call gives it."""
        if self.windows:
            return self.windows.parts(u)
        return [part.transpose(1, 2) for part in u.split(self.calls or u.shape[2], dim=2)]

    def in_double(self, module: nn.Module | None = None) -> "Layer":
        """The same layer and call in float64, on a copy of its module (made here if none is given)."""
        module = module or copy.deepcopy(self.module).double()
        doubles = dict(zip(self.module.modules(), module.modules(), strict=True))
        return replace(
            self, module=module, arguments=snapshot(self.arguments, _to_double),
            hidden=self.hidden.double(), output=self.output.double(),
            forms=tuple(_form(form, _to_double) for form in self.forms),
            projections={doubles[part]: width for part, width in self.projections.items()},
            shortcut=on_copy(self.shortcut, doubles) if self.shortcut else None,
        )  # fmt: skip

    def on(self, device: torch.device) -> "Layer":
        """The same call with its tensors on a device; the module stays where it is."""

        def move(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        return replace(
            self, arguments=snapshot(self.arguments, move), hidden=move(self.hidden),
            output=move(self.output), windows=self.windows and self.windows.on(device),
            forms=tuple(_form(form, move) for form in self.forms),
        )  # fmt: skip

    def _calls(self, batch: Tensor) -> Sequence[Tensor]:
        """The parts of a batch that go through the module at once."""
        return batch.split(1) if self.one_by_one else [batch]

    def _call(self, hidden: Tensor) -> Tensor:
        arguments = snapshot(self.arguments) | {self.first: self.layout.own(hidden).contiguous()}
        arguments |= {name: torch.cat([arguments[name]] * len(hidden)) for name in self.tiled}
        if self.memory:
            memory = self.layout.rows(arguments[self.memory])
            arguments[self.memory] = self.layout.own(memory.expand(len(hidden), -1, -1)).contiguous()
        given = [arguments.pop(name) for name in self.positional]
        with self._watched(len(hidden)):
            return self.layout.rows(first_tensor(self.module(*given, **arguments)))

    def _watched(self, examples: int) -> AbstractContextManager[Any]:
        """Attentions off the interface act like those on it, where they are to do anything."""
        if not self.forms or _action.get() is None:
            return nullcontext()
        examples = 1 if self.layout.examples is None else examples * self.layout.parts
        known = list(zip(self.forms, self.groups, strict=True))
        return Watch(partial(_hand_over, self.module), examples, known, moves=bool(self.entangled))


def _hand_over(module: nn.Module | None, query: Tensor, key: Tensor, value: Tensor, form: Form) -> Tensor:
    return _acted(Captured(query, key, value, form, module))


@contextmanager
def seen_at_softmax() -> Iterator[None]:
    """Attentions off the interface are seen by what they compute, in a run of one example."""
    with _forward_mode, finding(partial(_hand_over, None)):
        yield


def _form(form: Form, change: Callable[[Any], Any]) -> Form:
    return replace(form, bias=change(form.bias), sink=change(form.sink), by_head=change(form.by_head))


def _substitute(
    parts: Sequence[Tensor], second: Callable[[Captured], Tensor]
) -> Callable[[Captured], Tensor]:
    """An attention that gives u part by part, and then what `second` gives."""
    waiting = iter(parts)

    def action(captured: Captured) -> Tensor:
        part = next(waiting, None)
        return second(captured) if part is None else part

    return action


def side_by_side(seen: Sequence[Captured], windows: Windows) -> Captured:
    """Attention calls for windows as one call for all tokens, in which no window sees another."""
    first = seen[0]
    query, key, value = (windows.whole([getattr(one, name) for one in seen]) for name in _PROJECTED)
    bias = windows.bias([one.form.bias for one in seen], first.query)
    return Captured(query, key, value, replace(first.form, bias=bias), first.module)


def _batched(seen: Sequence[Captured]) -> Captured:
    """Calls for single examples as one call for all."""
    first, *others = seen
    if not others:
        return first
    query, key, value = (torch.cat([getattr(one, name) for one in seen]) for name in _PROJECTED)
    return Captured(query, key, value, first.form, first.module)


def snapshot(value: Any, leaf: Callable[[Any], Any] = lambda leaf: leaf) -> Any:
    """The value with its containers copied, since layers write into those that they share."""
    if isinstance(value, MutableMapping):
        copied = copy.copy(value)
        copied.update({key: snapshot(part, leaf) for key, part in value.items()})
        return copied
    if type(value) in (tuple, list):
        return type(value)(snapshot(part, leaf) for part in value)
    return leaf(value)


def flat_tensors(value: Any) -> list[Tensor]:
    """All tensors in nested containers."""
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in flat_tensors(part)]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in flat_tensors(part)]
    return [value] if isinstance(value, Tensor) else []


@contextmanager
def standing_in(outputs: Mapping[nn.Module, Float[Tensor, "#batch 1 width"]]) -> Iterator[None]:
    """Modules that return given outputs instead of computing them (the model is borrowed meanwhile).

    What is called on another number of examples, such as all unit vectors (DoRA), is computed.
    """

    def stand_in(own: Callable[..., Tensor], output: Tensor) -> Callable[..., Tensor]:
        def forward(given: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if len(output) not in (1, len(given)):
                return own(given, *args, **kwargs)
            shape = (len(output), *[1] * (given.ndim - 2), output.shape[-1])
            return output.reshape(shape).expand(*given.shape[:-1], -1)

        return forward

    before = {module: vars(module).get("forward") for module in outputs}
    try:
        for module, output in outputs.items():
            vars(module)["forward"] = stand_in(module.forward, output)
        yield
    finally:
        for module, forward in before.items():
            if forward is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


def _to_double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _path(layer: Layer, dual: Captured) -> Path:
    _refuse_moving_form(layer, dual.form)
    query, query_step = _unpack(dual.query)
    key, key_step = _unpack(dual.key)
    value, value_step = _unpack(dual.value)
    return Path(Captured(query, key, value, dual.form), query_step, key_step, value_step)


def _unpack(dual: Tensor) -> tuple[Tensor, Tensor]:
    primal, tangent = forward_ad.unpack_dual(dual)
    return primal, torch.zeros_like(primal) if tangent is None else tangent


def _refuse_moving_form(layer: Layer, form: Form) -> None:
    for name, tensor in (("mask or position bias", form.bias), ("attention sink", form.sink)):
        if tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None:
            raise UnsupportedModel(f"Layer {layer.index}: its {name} depends on the hidden states.")


@contextmanager
def acting(action: Callable[[Captured], Tensor]) -> Iterator[None]:
    """What our attention function does, for the calls of this thread: captured in, u out."""
    token = _action.set(action)
    try:
        yield
    finally:
        _action.reset(token)


def first_tensor(output: Any) -> Tensor:
    """A layer's hidden states: the tensor itself, or the first of a tuple."""
    tensor = output if isinstance(output, Tensor) else output[0]
    if not isinstance(tensor, Tensor):
        raise UnsupportedModel(f"A layer returned {type(tensor).__name__} where hidden states were expected.")
    return tensor


# --- the model, borrowed and given back -----------------------------------------------------------

_locks: dict[int, threading.RLock] = {}  # by the id of a config, for as long as that lives
_locks_guard = threading.Lock()


@contextmanager
def exact_mode(device: torch.device, precision: str = "float32") -> Iterator[None]:
    """Out of the caller's inference mode and autocast, in which gradients are missing or rounded.

    Float32 products are computed in `precision` (see `precision`), whatever the process has set.
    """
    kinds = {"cpu", device.type, *(["cuda"] if torch.cuda.is_available() else [])}
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(products_in(precision))
        yield


@contextmanager
def borrowed(model: nn.Module, implementation: str | None = IMPLEMENTATION) -> Iterator[None]:
    """The model, or a layer of it, in eval mode, without parameter gradients, on an attention implementation.

    With None on its own one. One thread at a time has a model; all settings are put back on leaving,
    also after an error.
    """
    double = keep_double() if is_double(model) else nullcontext()
    with owned(model), _implementation(model, implementation), _frozen(model), double:
        yield


@contextmanager
def owned(model: nn.Module) -> Iterator[None]:
    """The model for this thread alone, with all that shares its configs: its layers, taken one by one."""
    with ExitStack() as stack:
        for config in sorted(_configs(model), key=id):
            stack.enter_context(_lock(config))
        yield


def _lock(config: Any) -> threading.RLock:
    with _locks_guard:
        if id(config) not in _locks:
            _locks[id(config)] = threading.RLock()
            weakref.finalize(config, _locks.pop, id(config))
        return _locks[id(config)]


@contextmanager
def _implementation(model: nn.Module, name: str | None) -> Iterator[None]:
    """Sets every config in the model; float64 needs the plain experts, fused kernels have none."""
    names = {"_attn_implementation_internal": name} if name else {}
    if is_double(model):
        names["_experts_implementation_internal"] = "eager"
    before = [(c, {k: getattr(c, k, None) for k in names}) for c in _configs(model)]
    try:
        for config, _ in before:
            vars(config).update(names)
        yield
    finally:
        for config, values in before:
            vars(config).update(values)


def is_double(model: nn.Module) -> bool:
    """Whether a model computes in float64: the type of its first weights."""
    floating = (one.dtype for one in model.parameters() if one.is_floating_point())
    return next(floating, None) == torch.float64


def _configs(model: nn.Module) -> list[Any]:
    found: dict[int, Any] = {}
    waiting = [m.config for m in model.modules() if hasattr(getattr(m, "config", None), "to_dict")]
    while waiting:
        config = waiting.pop()
        if id(config) not in found:
            found[id(config)] = config
            parts = (getattr(config, key, None) for key in getattr(config, "sub_configs", {}))
            waiting += [part for part in parts if part is not None]
    return list(found.values())


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)
