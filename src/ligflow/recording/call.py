"""One recorded call of a module, with the attention calls inside it, and the layer that it is."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MethodType
from typing import Any, NoReturn

from torch import Tensor, nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.arguments import first_tensor
from ligflow.layer.findings import Findings, Mode
from ligflow.layer.interface import CACHE_NAMES, Captured
from ligflow.layer.layer import Layer
from ligflow.layer.token_axes import USUAL, Layout, layout_of, layout_of_parts
from ligflow.layer.windows import Windows, windows_of

_ENCODER_STATES = "encoder_hidden_states"


@dataclass(eq=False)
class Call:
    """One call of a member of a ModuleList, with the attention calls made inside it.

    `after` are its arguments once more when it ends: into containers it may have put something.
    """

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any = None
    attentions: list[Captured] = field(default_factory=list)
    inner: "list[Call]" = field(default_factory=list)
    at_softmax: bool = False
    after: tuple[tuple[Any, ...], dict[str, Any]] | None = None


def keeps_shape(call: Call) -> bool:
    """Whether the call gives hidden states of the shape that it takes."""
    hidden = hidden_of(call)
    output = call.output if isinstance(call.output, Tensor) else next(iter(call.output or ()), None)
    if hidden is None or not isinstance(output, Tensor) or output.shape != hidden.shape:
        return False
    return hidden.is_floating_point() and (hidden.ndim == 3 or _layout(call, hidden) is not None)


def _layout(call: Call, hidden: Tensor, single: bool = False) -> Layout | None:
    """How the call's hidden states are laid out, judged by the queries of its attention.

    If what the model was given is a `single` example, several in a layer are its parts.
    """
    counts = [(len(captured.query), captured.query.shape[2]) for captured in call.attentions]
    shape = tuple(hidden.shape)
    parts = layout_of_parts(shape, counts) if single else None
    if hidden.ndim == 3:  # whose windows would look like examples
        counts = [(examples, tokens) for examples, tokens in counts if examples == 1]
    totals = [windows * tokens for windows, tokens in counts]
    return layout_of(shape, {*totals[:1], sum(totals)} if call.attentions else ()) or parts


def meet_in_attention(call: Call) -> bool:
    """Whether an attention is about what counts as several examples: they are parts of one."""
    hidden = hidden_of(call)
    if hidden is None or hidden.ndim != 3 or call.at_softmax:  # where heads may count as examples
        return False
    parts, tokens = hidden.shape[:2]
    queries = [captured.query for captured in call.attentions]
    return parts > 1 and any(
        len(query) == 1 and query.shape[2] in (parts, parts * tokens) for query in queries
    )


def hidden_of(call: Call) -> Tensor | None:
    """Its first argument, if that is a tensor."""
    first = call.args[0] if call.args else next(iter(call.kwargs.values()), None)
    return first if isinstance(first, Tensor) else None


def layer_of(index: int, call: Call, refusal: str, single: bool = False) -> Layer:
    """The call with its arguments by name, without caches; `single` as for `_layout`."""
    first, arguments = by_name(call)
    own = arguments.pop(first)
    layout = _layout(call, own, single) or _refuse_batch(len(own))
    hidden, output = layout.rows(own), layout.rows(first_tensor(call.output))
    memory = _memory(call, layout, hidden, arguments)
    windows = None if memory else _windows(call, hidden)
    calls = () if memory or windows else _calls_of_all(call, hidden)
    in_parts = bool(memory or windows or calls)
    mode, reason = _mode(call, hidden, in_parts, calls, refusal)
    findings = Findings(
        mode, reason, one_by_one=layout.examples is None, windows=windows, memory=memory,
        cross_heads=call.attentions[1].query.shape[1] if memory else 0,
    )  # fmt: skip
    layer = Layer(
        index, call.name, call.module, first, arguments, hidden[0], output[0],
        positional=tuple(signature_of(call.module).parameters)[: len(call.args)], layout=layout, calls=calls,
        forms=tuple(seen.form for seen in call.attentions) if call.at_softmax else (),
        groups=tuple(seen.key.shape[1] for seen in call.attentions) if call.at_softmax else (),
        findings=findings,
    )  # fmt: skip
    return layer.on(output.device)  # of a model on several devices, where its weights are


def _mode(
    call: Call, hidden: Tensor, in_parts: bool, calls: tuple[int, ...], refusal: str
) -> tuple[Mode, str]:
    """What the attention is to the engine, as far as its shapes tell, and why it is not split."""
    if reason := refusal or _why_not(call, hidden, in_parts):
        return "whole", reason
    reason = _why_coupled(call, hidden, in_parts, calls)
    return ("coupled" if reason else "split"), reason


def _windows(call: Call, hidden: Tensor) -> Windows | None:
    """The parts of the tokens that attention calls are about, if they are about parts."""
    queries, keys = (
        [(len(part), part.shape[2]) for part in (getattr(captured, name) for captured in call.attentions)]
        for name in ("query", "key")
    )
    forms = [captured.form for captured in call.attentions]
    same = {(form.scaling, form.softcap, form.sink is None) for form in forms}
    return windows_of(queries, keys, hidden.shape[1]) if len(same) == 1 else None


def _memory(call: Call, layout: Layout, hidden: Tensor, arguments: Mapping[str, Any]) -> str:
    """The argument that a second attention, after one among the tokens, takes its keys and values from."""
    states: Any = arguments.get(_ENCODER_STATES)
    if len(call.attentions) != 2 or not takes_encoded(arguments) or states.ndim != 3:
        return ""
    if layout != USUAL and (layout.examples, layout.tokens) != (1, (0,)):
        return ""
    tokens, encoded = hidden.shape[1], states.shape[layout.tokens[0]]
    own, cross = ((captured.query.shape[2], captured.key.shape[2]) for captured in call.attentions)
    if states.shape[layout.examples or 0] != 1:
        return ""
    return _ENCODER_STATES if (own, cross) == ((tokens, tokens), (tokens, encoded)) else ""


def takes_encoded(arguments: Mapping[str, Any]) -> bool:
    """Whether a layer is given the states of an encoder."""
    return isinstance(arguments.get(_ENCODER_STATES), Tensor)


def by_name(call: Call) -> tuple[str, dict[str, Any]]:
    """The name of the layer's input, and all arguments by name, without caches."""
    signature = signature_of(call.module)
    arguments = dict(signature.bind(*call.args, **call.kwargs).arguments)
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    arguments |= arguments.pop(kinds.get(inspect.Parameter.VAR_KEYWORD, ""), {})
    extra = arguments.pop(kinds.get(inspect.Parameter.VAR_POSITIONAL, ""), ())
    if extra:
        raise UnsupportedModel(
            f"{call.name} ({type(call.module).__name__}) takes unnamed positional arguments, so it cannot be "
            "replayed: a wrapper around the layer? Pass the model as transformers loads it."
        )
    arguments.update({name: None for name in CACHE_NAMES if name in arguments})
    arguments.update({"use_cache": False} if "use_cache" in arguments else {})
    return next(iter(signature.parameters)), arguments


def signature_of(module: nn.Module) -> inspect.Signature:
    """What `forward` takes; a wrapper in its place may show the signature of the function, with `self`."""
    forward = module.forward
    if isinstance(forward, MethodType) and "forward" not in vars(module):
        return _of_method(forward.__func__)
    return _without_self(forward)


@lru_cache(maxsize=256)
def _of_method(function: Callable[..., Any]) -> inspect.Signature:
    """Of the functions of classes: these are few, and hold no model."""
    return _without_self(MethodType(function, object()))


def _without_self(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    own = parameters[1:] if parameters and parameters[0].name == "self" else parameters
    return signature.replace(parameters=own)


def _refuse_batch(examples: int) -> NoReturn:
    raise LigflowError(
        f"explain takes one example at a time, and the layers see {examples}: in these inputs, or in what "
        "the model makes of one (frames, tiles, pairs)."
    )


def _why_not(call: Call, hidden: Tensor, in_parts: bool) -> str:
    """The reason why a layer cannot be split at its attention, '' if it can."""
    tokens, kind = hidden.shape[1], type(call.module).__name__
    if not call.attentions:
        return f"{kind} makes no attention call"
    if in_parts:
        return ""
    if len(call.attentions) > 1:
        return f"{kind} calls attention {len(call.attentions)} times"
    captured = call.attentions[0]
    if (len(captured.query), captured.query.shape[2]) != (1, tokens):
        return (
            f"the attention of {kind} sees {tuple(captured.query.shape)} queries and "
            f"{tuple(captured.key.shape)} keys, not the {tokens} tokens of the layer"
        )
    return ""


def _calls_of_all(call: Call, hidden: Tensor) -> tuple[int, ...]:
    """The heads of each attention call, where several see all tokens and give values of one size."""
    captures, tokens = call.attentions, hidden.shape[1]
    alike = all(
        (len(captured.query), captured.query.shape[2], captured.key.shape[2], captured.value.shape[-1])
        == (1, tokens, tokens, captures[0].value.shape[-1])
        for captured in captures
    )
    return tuple(captured.query.shape[1] for captured in captures) if len(captures) > 1 and alike else ()


def _why_coupled(call: Call, hidden: Tensor, in_parts: bool, calls: tuple[int, ...]) -> str:
    """Why the attention is no map of one query, key and value for each token."""
    if calls:
        return f"it is {len(calls)} attention calls, which may follow one another"
    tokens, keys = hidden.shape[1], call.attentions[0].key.shape[2]
    if in_parts or keys == tokens:
        return ""
    return f"it sees {keys} keys for {tokens} tokens (keys that are made of something else are held)"


def flat(calls: Sequence[Call]) -> Iterator[Call]:
    """All calls, each before those inside it."""
    for call in calls:
        yield call
        yield from flat(call.inner)
