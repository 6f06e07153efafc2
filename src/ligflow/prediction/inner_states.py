"""Vectors inside layers that a run of the model computes anyway, noted at the cuts that are known.

What a layer's segments give at both ends of their paths then need not be computed again. That they give what
the layer gave is looked at once for each layer on the same weights, and on as many tokens; the vectors are
those of the runs then too, so that a question asked again has the same answer, bit by bit.
"""

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.layer.closed_form import is_leaf
from ligflow.layer.findings import Findings
from ligflow.layer.interface import Captured, attention_action, plain
from ligflow.layer.layer import Layer
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.cuts import Call, sites_of
from ligflow.prediction.known_forms import form_seen, known_form
from ligflow.prediction.layer_form import Site
from ligflow.prediction.two_runs import LayerRun, Run, run_noting

Noted = Mapping[nn.Module, "list[InnerStates]"]
_known: "weakref.WeakKeyDictionary[Findings, dict[Any, int]]" = weakref.WeakKeyDictionary()
_PRODUCTS = 2**26  # bytes of what matrices give that are kept of a run at most; the rest is computed again


@dataclass(eq=False)
class InnerStates:
    """What one call of a layer had at sites, and what its attentions and matrices gave, with their versions.

    Of a matrix that is called more than once there are several products; None where there was no room.
    """

    sites: dict[Site, tuple[Tensor, int]] = field(default_factory=dict)
    attended: list[tuple[Tensor, int]] = field(default_factory=list)
    counts: dict[tuple[nn.Module, str], int] = field(default_factory=dict)
    products: dict[nn.Module, list[tuple[Tensor, int] | None]] = field(default_factory=dict)

    def at(self, site: Site | None, tokens: int) -> Float[Tensor, "1 token ..."] | None:
        """The vectors at a site, or what its one attention gave; None where they are not there any more."""
        seen = self.sites.get(site) if site else self.attended[0] if len(self.attended) == 1 else None
        if seen is None or seen[0]._version != seen[1] or seen[0].numel() % tokens:
            return None  # the model has changed them in place, or they are of other tokens
        return seen[0].reshape(1, tokens, -1) if site else seen[0].transpose(1, 2)


@contextmanager
def noting_inner(model: nn.Module, products: bool = False) -> Iterator[Noted]:
    """What stands inside each call of the layers whose form is known, in runs that are made meanwhile.

    With `products` what their matrices give too, as long as that is not too much.
    """
    noted: dict[nn.Module, list[InnerStates]] = {}
    current: list[InnerStates] = []
    room = _PRODUCTS if products else 0

    def enter(module: nn.Module, _args: Any) -> None:
        current.append(InnerStates())
        noted.setdefault(module, []).append(current[-1])

    def leave(*_: Any) -> None:
        current.pop()

    def see(end: str, sites: list[Site], module: nn.Module, args: Any, output: Any = None) -> None:
        if current:
            counts, key = current[-1].counts, (module, end)
            counts[key] = counts.get(key, -1) + 1
            value = output if end == "output" else next(iter(args), None)
            for site in sites:
                if site.call == counts[key] and isinstance(value, Tensor) and not value.is_inference():
                    current[-1].sites[site] = value, value._version

    def multiply(module: nn.Module, _args: Any, output: Any) -> None:
        nonlocal room
        if current and isinstance(output, Tensor) and not output.is_inference():
            room -= output.nbytes
            kept = (output, output._version) if room >= 0 else None
            current[-1].products.setdefault(module, []).append(kept)

    def attend(captured: Captured) -> Tensor:
        u = plain(captured)
        if current and not u.is_inference():
            current[-1].attended.append((u, u._version))
        return u

    with ExitStack() as stack:
        for layer, sites in _sites(model).items():
            handles = [layer.register_forward_pre_hook(enter)]
            for module in {site.module for site in sites}:
                by_end = {end: [s for s in sites if (s.module, s.end) == (module, end)] for end in _ENDS}
                if by_end["input"]:
                    handles.append(module.register_forward_pre_hook(partial(see, "input", by_end["input"])))
                if by_end["output"]:
                    handles.append(module.register_forward_hook(partial(see, "output", by_end["output"])))
            if products:
                handles += [
                    part.register_forward_hook(multiply) for part in layer.modules() if _is_matrix(part)
                ]
            handles.append(layer.register_forward_hook(leave, always_call=True))
            for handle in handles:
                stack.callback(handle.remove)
        stack.enter_context(attention_action(attend))
        yield noted


_ENDS = ("input", "output")


def _is_matrix(module: nn.Module) -> bool:
    """Whether it may be one: which are, is seen where a segment begins with them."""
    weight = getattr(module, "weight", None)
    return is_leaf(module) and isinstance(weight, Tensor) and weight.ndim == 2


def _sites(model: nn.Module) -> dict[nn.Module, list[Site]]:
    """The sites of the layers whose form is known."""
    forms = {module: form for module in model.modules() if (form := form_seen(module)) is not None}
    return {
        module: [site for site in (form.after and form.after.site, form.branch, form.last) if site]
        for module, form in forms.items()
    }


def with_inner(run: Run, noted: Noted) -> Run:
    """The run, with what stood inside its layers."""
    waiting = {module: [*calls] for module, calls in noted.items()}
    calls = [
        replace(call, inner=waiting[call.module].pop(0)) if waiting.get(call.module) else call
        for call in run.calls
    ]
    return replace(run, calls=calls)


def run_noting_inner(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    modules: Sequence[nn.Module],
    embeddings: Tensor | None,
    positions: Sequence[int] | None,
    products: bool = False,
) -> Run:
    """A run of the model in which its layers' calls are noted, and what stands inside them."""
    with noting_inner(model, products) as inner:
        run = run_noting(model, inputs, modules, embeddings, positions)
    return with_inner(run, inner)


def recognise_forms(model: nn.Module, layers: Iterable[Layer]) -> None:
    """The forms of layers are known from now on, so that runs note what stands inside them."""
    with AttentionSwitch(model) as attention:
        for layer in layers:
            attention.to(layer.implementation)
            known_form(layer)


def is_noted(run: Run) -> bool:
    """Whether it was noted what stands inside all layers whose form is known."""
    return all(call.inner is not None or form_seen(call.module) is None for call in run.calls)


def inner_of(call: Call, real: LayerRun, reference: LayerRun) -> dict[str, tuple[Tensor, Tensor]] | None:
    """The variables inside a layer in both runs, by name; None where they were not noted."""
    sites, tokens = sites_of(call), len(call.layer.hidden)
    if sites is None:
        return None
    ends = {
        name: [None if run.inner is None else run.inner.at(site, tokens) for run in (real, reference)]
        for name, site in sites.items()
    }
    inner = {name: (a[0], b[0]) for name, (a, b) in ends.items() if a is not None and b is not None}
    fitting = all(a.shape == b.shape and len(a) == tokens for a, b in inner.values())
    return inner if fitting and len(inner) == len(sites) else None


def is_known(call: Call) -> bool:
    """Whether segments of the layer gave what it gave before, on the same weights and as many tokens."""
    return _known.get(call.layer.findings, {}).get(_kind(call), 0) >= len(call.layer.hidden)


def note_known(call: Call) -> None:
    """Segments of the layer have given what it gave, in both runs."""
    known = _known.setdefault(call.layer.findings, {})
    known[_kind(call)] = max(known.get(_kind(call), 0), len(call.layer.hidden))


def _kind(call: Call) -> Any:
    return call.layer.index, call.form.kind, tuple(call.moving), tuple(call.written)
