"""One layer of a model, recorded once and replayed: the only file that knows the attention interface.

`transformers` hands queries, keys and values to a registered attention function. Ours either
*captures* them and stops the layer there, or *substitutes* an attention output u of our choice, so
that the model's own unmodified layer does everything before and after.
"""

import contextlib
import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import first_tensor, snapshot
from ligflow.layer.captured_path import CapturedPath, captured_path
from ligflow.layer.findings import Findings, Mode
from ligflow.layer.float64 import to_double
from ligflow.layer.interface import (
    IMPLEMENTATION,
    Captured,
    Stop,
    attention_action,
    batched,
    current_action,
    forward_mode,
    hand_over,
    plain,
    side_by_side,
    substitute,
)
from ligflow.layer.model_state import replaced_outputs
from ligflow.layer.softmax_watch import Watch
from ligflow.layer.token_axes import USUAL, Layout
from ligflow.method.attention import ScoreTerms


@dataclass(frozen=True, eq=False)
class Layer:
    """A recorded call of one layer: the module, its arguments, what went in and came out, and the findings.

    `hidden` is z `[T, D]`, given as the argument `first`, and `output` is z' as the model itself computed it.
    What recording saw of the call:

    - `positional`: the arguments that the model passes without their names;
    - `layout`: which axes of its own hidden states are tokens;
    - `forms` of its attentions, and `groups` of heads that share keys, where they are not on the interface
      but seen at their softmax;
    - `calls`: the heads of each of its attention calls, where several see all tokens;
    - `note`: what a reader must know of how the model as loaded and its eager attention differ.
    """

    index: int
    name: str
    module: nn.Module
    first: str
    arguments: dict[str, Any]
    hidden: Float[Tensor, "token dim"]
    output: Float[Tensor, "token dim"]
    positional: tuple[str, ...] = ()
    layout: Layout = USUAL
    forms: tuple[ScoreTerms, ...] = ()
    groups: tuple[int, ...] = ()
    calls: tuple[int, ...] = ()
    note: str = ""
    findings: Findings = field(default_factory=Findings)

    @property
    def mode(self) -> Mode:
        """What its attention is to the engine: `split`, `coupled` or `whole` (see `Findings`)."""
        return self.findings.mode

    def with_findings(self, **changes: Any) -> "Layer":
        """This layer with some findings changed."""
        return replace(self, findings=replace(self.findings, **changes))

    def coupled(self, reason: str) -> "Layer":
        """This layer, its attention taken as one map of all hidden states."""
        return self.with_findings(mode="coupled", reason=reason)

    def whole(self, reason: str) -> "Layer":
        """This layer, not to be split at its attention."""
        return self.with_findings(mode="whole", reason=reason)

    @property
    def implementation(self) -> str | None:
        """The attention implementation under which this layer is replayed; None is the model's own."""
        if self.mode == "whole" or self.forms:
            return None if self.findings.as_loaded else "eager"
        return IMPLEMENTATION

    def forward(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """z -> z' through the unmodified layer."""
        return _joined([self._call(part) for part in self._runs(hidden)])

    def capture(self, hidden: Float[Tensor, "batch token dim"]) -> Captured:
        """The projections of `hidden`, as they reach the attention function."""
        return batched([self._captured(part) for part in self._runs(hidden)])

    def _captured(self, hidden: Tensor) -> Captured:
        captures = self._captures(hidden)
        windows = self.findings.windows
        return side_by_side(captures, windows) if windows else captures[0]

    def _captures(self, hidden: Tensor) -> list[Captured]:
        """What reaches its attention function: once, or in each call for windows."""
        captures: list[Captured] = []
        count = len(self.findings.windows.calls) if self.findings.windows else 1

        def stop(captured: Captured) -> Tensor:
            captures.append(captured)
            if len(captures) >= count:
                raise Stop
            return captured.query.new_zeros(*captured.query.shape[:3], captured.value.shape[-1])

        with attention_action(stop):
            try:
                self._call(hidden)
            except Stop:
                return captures
        raise UnsupportedModel(f"Layer {self.index} ({self.name}) did not reach its attention function.")

    def capture_path(
        self, hidden: Float[Tensor, "batch token dim"], step: Float[Tensor, "batch token dim"]
    ) -> CapturedPath:
        """The projections of `hidden` and their derivatives along `step`, by forward-mode AD."""
        with forward_mode, torch.no_grad(), forward_ad.dual_level():
            return captured_path(self.index, self.capture(forward_ad.make_dual(hidden, step)))

    @property
    def encoded(self) -> Float[Tensor, "memory memory_dim"]:
        """The encoder's states e that the second attention sees."""
        return self.layout.rows(self.arguments[self.findings.memory])[0]

    def with_encoded(self, memory: Float[Tensor, "batch memory memory_dim"]) -> "Layer":
        """This call with other states of the encoder."""
        return replace(self, arguments=self.arguments | {self.findings.memory: self.layout.own(memory)})

    def capture_second(self, memory: Float[Tensor, "batch memory memory_dim"]) -> Captured:
        """What reaches the second attention, the first one being as it is."""
        captures: list[Captured] = []

        def stop(captured: Captured) -> Tensor:
            captures.append(captured)
            raise Stop

        hidden = self.hidden.expand(len(memory), -1, -1)
        with contextlib.suppress(Stop):
            self.with_encoded(memory).finish(hidden, self.attend(hidden), stop)
        return captures[0]

    def capture_second_path(
        self, memory: Float[Tensor, "batch memory memory_dim"], step: Float[Tensor, "batch memory memory_dim"]
    ) -> CapturedPath:
        """What reaches the second attention, and its derivatives along `step`, by forward-mode AD."""
        with forward_mode, torch.no_grad(), forward_ad.dual_level():
            return captured_path(self.index, self.capture_second(forward_ad.make_dual(memory, step)))

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
        unused = {
            module: hidden.new_zeros(1, 1, width) for module, width in self.findings.projections.items()
        }
        outputs = []
        for part, own_u in zip(self._runs(hidden), self._runs(u), strict=True):
            parts = self._parts(own_u)
            with attention_action(substitute(parts, second)), replaced_outputs(unused):
                outputs.append(self._call(part))
        return _joined(outputs)

    def on_input(self, hidden: Float[Tensor, "token dim"]) -> "Layer":
        """This call on other hidden states, with what the layer makes of them."""
        with torch.no_grad():
            return replace(self, hidden=hidden, output=self.forward(hidden[None])[0])

    def attend(self, hidden: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token head value_dim"]:
        """u, by the plain definition of attention (differentiable)."""
        return _joined([self._attended(part) for part in self._runs(hidden)]).transpose(1, 2)

    def _attended(self, hidden: Tensor) -> Tensor:
        if self.calls:
            return torch.cat([u for _, u in self.each_attention(hidden)], dim=1)
        windows = self.findings.windows
        if windows and self.mode == "coupled":  # a bias of its own for each example
            return windows.whole([plain(captured) for captured in self._captures(hidden)])
        return plain(self._captured(hidden))

    def each_attention(self, hidden: Tensor) -> list[tuple[Captured, Tensor]]:
        """What reaches each of several attention calls, and what it gives."""
        attended: list[tuple[Captured, Tensor]] = []

        def note(captured: Captured) -> Tensor:
            attended.append((captured, plain(captured)))
            if len(attended) == len(self.calls):
                raise Stop
            return attended[-1][1]

        with attention_action(note), contextlib.suppress(Stop):
            self._call(hidden)
        return attended

    def _parts(self, u: Tensor) -> list[Tensor]:
        """u as each attention call gives it."""
        if self.findings.windows:
            return self.findings.windows.parts(u)
        return [part.transpose(1, 2) for part in u.split(self.calls or u.shape[2], dim=2)]

    def in_double(self, module: nn.Module | None = None) -> "Layer":
        """This layer and call in float64, on a copy of its module (made here if none is given)."""
        module = module or copy.deepcopy(self.module).double()
        doubles = dict(zip(self.module.modules(), module.modules(), strict=True))
        return replace(
            self, module=module, arguments=snapshot(self.arguments, to_double),
            hidden=self.hidden.double(), output=self.output.double(),
            forms=tuple(_form(form, to_double) for form in self.forms),
            findings=self.findings.on_copy(doubles),
        )  # fmt: skip

    def on(self, device: torch.device) -> "Layer":
        """This call with its tensors on a device; the module stays where it is."""

        def move(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        return replace(
            self, arguments=snapshot(self.arguments, move), hidden=move(self.hidden),
            output=move(self.output), forms=tuple(_form(form, move) for form in self.forms),
            findings=self.findings.on(device),
        )  # fmt: skip

    def _runs(self, batch: Tensor) -> Sequence[Tensor]:
        """The parts of a batch that go through the module at once."""
        return batch.split(1) if self.findings.one_by_one else [batch]

    def _call(self, hidden: Tensor) -> Tensor:
        arguments = snapshot(self.arguments) | {self.first: self.layout.own(hidden).contiguous()}
        arguments |= {name: torch.cat([arguments[name]] * len(hidden)) for name in self.findings.tiled}
        if name := self.findings.memory:
            memory = self.layout.rows(arguments[name])
            arguments[name] = self.layout.own(memory.expand(len(hidden), -1, -1)).contiguous()
        unnamed = [arguments.pop(name) for name in self.positional]
        with self._watched(len(hidden)):
            return self.layout.rows(first_tensor(self.module(*unnamed, **arguments)))

    def _watched(self, examples: int) -> AbstractContextManager[Any]:
        """Attentions off the interface act like those on it, where they are to do anything."""
        if not self.forms or current_action.get() is None:
            return nullcontext()
        examples = 1 if self.layout.examples is None else examples * self.layout.parts
        known = list(zip(self.forms, self.groups, strict=True))
        return Watch(partial(hand_over, self.module), examples, known, moves=self.mode == "coupled")


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The parts of a batch below one another; a single one as it is, not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _form(form: ScoreTerms, change: Callable[[Any], Any]) -> ScoreTerms:
    return replace(form, bias=change(form.bias), sink=change(form.sink), by_head=change(form.by_head))
