"""What lies between a layer's attention and its output, recognised by what it computes, not by its family.

With G(z, u) the layer's output when its attention gives u, and unrelated z and u:

- `sequential`: a vector x between them, where `G(x - b, 0) = G(z, u)` (pre-norm; norms after branches);
- `post-norm`: a module's output x on which alone G depends, and a last norm, `G = norm(y)`;
- `parallel`: `G(z, u) - G(z, 0)` does not depend on z, so that the MLP reads z;
- `joined`: none of these: heads and the rest enter one segment;
- `layer`: attention cannot be taken out of the layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.closed_form import is_leaf
from ligflow.layer.interface import Captured, plain
from ligflow.layer.layer import Layer
from ligflow.layer.token_axes import USUAL
from ligflow.recording.tolerances import max_token_error, rounding

Kind = Literal["sequential", "post-norm", "parallel", "joined", "layer"]
Second = Callable[[Captured], Tensor]


@dataclass(frozen=True)
class Site:
    """The input or the output of a module's call in a layer, by how often it was called before."""

    module: nn.Module
    end: Literal["input", "output"]
    call: int = 0


@dataclass(frozen=True, eq=False)
class Stage:
    """A vector x that stands for all before it: at a site, and how the layer is run from it.

    With a `shift` b it is run on hidden states x - b with attention that gives nothing; without one the
    site's output is replaced.
    """

    site: Site
    shift: Tensor | None = None


@dataclass(frozen=True, eq=False)
class LayerForm:
    """The cuts of one layer: `between` its two attentions, `after` attention, and the branch's norm.

    `branch` is the input of a norm that the MLP's output goes through before it is added, `last` that of the
    norm that gives the layer's output.
    """

    kind: Kind
    after: Stage | None = None
    between: Stage | None = None
    branch: Site | None = None
    last: Site | None = None


class _Enough(Exception):
    """Ends a layer at a site."""


@dataclass(eq=False)
class _Note:
    """Inputs and outputs of the leaf modules of a layer, in the order of their calls.

    `alone` are the inputs of calls that take nothing else, such as those of norms.
    """

    sites: list[tuple[Site, Tensor]] = field(default_factory=list)
    alone: set[Site] = field(default_factory=set)
    counts: dict[nn.Module, int] = field(default_factory=dict)


def run_to(
    layer: Layer,
    hidden: Tensor,
    u: Tensor,
    second: Second = plain,
    replaced: Mapping[Site, Tensor] | None = None,
    stop: Site | None = None,
) -> Tensor:
    """G(z, u), or what stands at a site on the way, with other outputs at some sites."""
    caught: list[Tensor] = []
    counts: dict[tuple[nn.Module, str], int] = {}
    replaced = replaced or {}

    def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
        if stop is not None and stop.end == "input" and stop.module is module:
            number = counts[module, "input"] = counts.get((module, "input"), -1) + 1
            if number == stop.call:
                caught.append(args[0])
                raise _Enough
        return None

    def after(module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        number = counts[module, "output"] = counts.get((module, "output"), -1) + 1
        for site, value in replaced.items():
            if site.module is module and site.call == number:
                output = value.reshape(output.shape)
        if stop is not None and stop.end == "output" and stop.module is module and number == stop.call:
            caught.append(output)
            raise _Enough
        return output

    modules = {site.module for site in replaced} | ({stop.module} if stop else set())
    handles = [module.register_forward_pre_hook(before) for module in modules]
    handles += [module.register_forward_hook(after) for module in modules]
    try:
        result = layer.finish(hidden, u, second)
    except _Enough:
        result = caught[0]
    finally:
        for handle in handles:
            handle.remove()
    return result.reshape(len(hidden), hidden.shape[1], -1) if caught else result


def form_of(layer: Layer) -> LayerForm:
    """The form of a validated layer."""
    if layer.mode == "whole" or layer.findings.one_by_one or layer.mode == "coupled":
        return LayerForm("layer")
    if layer.layout != USUAL:  # modules inside do not say which axes are tokens
        return LayerForm("joined")
    with torch.no_grad():
        probe = _Probe.of(layer)
        if not probe.sites:
            return LayerForm("joined")
        form = _post_norm(probe) or _sequential(probe) or _parallel(probe)
    return form or LayerForm("joined")


@dataclass(frozen=True, eq=False)
class _Probe:
    """A layer on two unrelated examples, and what its leaf modules take and give on them."""

    layer: Layer
    hidden: Tensor
    u: Tensor
    second: Tensor | None
    output: Tensor
    sites: list[tuple[Site, Tensor]]
    alone: set[Site]

    @classmethod
    def of(cls, layer: Layer) -> "_Probe":
        other = layer.hidden.roll(1, 0) - layer.hidden / 2
        hidden = torch.stack([layer.hidden, other])
        u = layer.attend(hidden).flip(0)
        seconds: list[Tensor] = []

        def note(captured: Captured) -> Tensor:
            seconds.append(plain(captured).flip(0))
            return seconds[-1]

        output, sites, alone = _noted(layer, hidden, u, note)
        return cls(layer, hidden, u, seconds[0] if seconds else None, output, sites, alone)

    def given(self, second: Tensor | None = None) -> Second:
        """The second attention gives what it gave, or something else."""
        value = self.second if second is None else second
        return plain if value is None else lambda _captured: value

    def nothing(self) -> Second:
        return plain if self.second is None else self.given(torch.zeros_like(self.second))

    def taken_by(self, site: Site) -> Tensor | None:
        """What the module of a site takes in the same call, None where it takes something else besides."""
        own = replace(site, end="input")
        return next((value for other, value in self.sites if other == own and own in self.alone), None)

    def same(self, output: Tensor) -> bool:
        """Whether this is G(z, u) to rounding."""
        return max_token_error(output, self.output) <= 30 * rounding(self.output)


def _noted(
    layer: Layer, hidden: Tensor, u: Tensor, second: Second
) -> tuple[Tensor, list[tuple[Site, Tensor]], set[Site]]:
    note = _Note()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        number = note.counts[module] = note.counts.get(module, -1) + 1
        if args and isinstance(args[0], Tensor):
            site = Site(module, "input", number)
            note.sites.append((site, args[0]))
            if len(args) == 1 and not kwargs:
                note.alone.add(site)

    def after(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            note.sites.append((Site(module, "output", note.counts[module]), output))

    leaves = [module for module in layer.module.modules() if is_leaf(module)]
    handles = [module.register_forward_pre_hook(before, with_kwargs=True) for module in leaves]
    handles += [module.register_forward_hook(after) for module in leaves]
    try:
        output = layer.finish(hidden, u, second)
    finally:
        for handle in handles:
            handle.remove()
    fitting = [
        (site, value.reshape(hidden.shape)) for site, value in note.sites if value.numel() == hidden.numel()
    ]
    return output, fitting, note.alone


def _sequential(probe: _Probe) -> LayerForm | None:
    """A residual stream x with `G(x - b, 0) = G(z, u)`."""
    after = _residual_stage(probe, probe.nothing())
    between = None if probe.second is None else _residual_stage(probe, probe.given())
    if after is None or (probe.second is not None and between is None):
        return None
    x = next(value for site, value in probe.sites if site is after.site)
    return LayerForm("sequential", after, between, branch=_branch_norm(probe, x))


def _residual_stage(probe: _Probe, second: Second) -> Stage | None:
    """The first input from which the layer goes on as from hidden states of its own, without attention.

    `second` is what a second attention gives from there.
    """
    layer, nothing = probe.layer, torch.zeros_like(probe.u)
    for site, value in probe.sites:
        if site.end != "input":
            continue
        still = run_to(layer, probe.hidden, nothing, second, stop=site)
        shift = still - probe.hidden
        limit = 30 * rounding(shift) * float(probe.hidden.norm(dim=-1).max())
        if float((shift - shift[:1, :1]).norm(dim=-1).max()) > limit or torch.equal(value, still):
            continue
        if probe.same(run_to(layer, value - shift[:1, :1], nothing, second)):
            return Stage(site, shift[0, 0])
    return None


def shift_at(layer: Layer, site: Site) -> Float[Tensor, " dim"]:
    """What a layer without attention adds to its hidden states before a site: the bias of its output."""
    hidden = layer.hidden[None]
    with torch.no_grad():
        still = run_to(layer, hidden, torch.zeros_like(layer.attend(hidden)), stop=site)
        return (still - hidden)[0, 0]


def _output_stage(probe: _Probe, second: Second) -> Stage | None:
    """The first output that decides alone what the layer gives."""
    layer, nothing = probe.layer, torch.zeros_like(probe.u)
    for site, value in probe.sites:
        if site.end == "output" and probe.same(
            run_to(layer, probe.hidden.flip(0), nothing, second, {site: value})
        ):
            return Stage(site)
    return None


def _branch_norm(probe: _Probe, x: Tensor) -> Site | None:
    """The input of the norm that is added to x last, where the last module is no affine one."""
    site, value = probe.sites[-1]
    source = probe.taken_by(site)
    if site.end != "output" or source is None or not probe.same(x + value):
        return None
    if not probe.same(x + site.module(source)) or _is_affine(site.module, source):
        return None
    return replace(site, end="input")


def _is_affine(module: nn.Module, source: Tensor) -> bool:
    zero, single, double = (module(source * factor) for factor in (0, 1, 2))
    return max_token_error(double - single, single - zero) <= 30 * rounding(source)


def _post_norm(probe: _Probe) -> LayerForm | None:
    """`G = norm(y)`, with a module's output x on which alone y depends."""
    site, value = probe.sites[-1]
    source = probe.taken_by(site)
    if site.end != "output" or source is None or not torch.equal(value, probe.output):
        return None
    if not probe.same(site.module(source)):
        return None
    before = replace(probe, sites=probe.sites[:-2])
    after = _output_stage(before, probe.nothing())
    between = None if probe.second is None else _output_stage(before, probe.given())
    if after is None or (probe.second is not None and (between is None or between.site is after.site)):
        return None
    return LayerForm("post-norm", after, between, last=replace(site, end="input"))


def _parallel(probe: _Probe) -> LayerForm | None:
    """`G(z, u) - G(z, 0)` is the same for another z."""
    if probe.second is not None:
        return None
    layer, nothing = probe.layer, torch.zeros_like(probe.u)
    written = [
        layer.finish(hidden, probe.u) - layer.finish(hidden, nothing)
        for hidden in (probe.hidden, probe.hidden.flip(0))
    ]
    size = probe.output.norm(dim=-1).max()
    same = (written[0] - written[1]).norm(dim=-1).max() <= 30 * rounding(probe.output) * size
    return LayerForm("parallel") if bool(same) else None
