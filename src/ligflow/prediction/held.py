"""What is held at the input in both runs and on every path: the experts of tokens, or attention weights.

Held experts are those that each token has in the input, with the weights that their scores give them where
they are; held attention is the input's, so that heads carry what their values carry and nothing else. The
reference is run again through what is held, and has another score there.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.experts import choices, holding_each
from ligflow.layer.interface import IMPLEMENTATION, Captured, attention_action
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared, replaced_forwards
from ligflow.method.attention import Weights, attention_output, attention_weights, by_target_blocks


@dataclass(frozen=True, eq=False)
class HeldAttention:
    """An attention that has the weights of the input, whatever its queries and keys: `u_j = Σ_k p_jk v_k`.

    The input's queries and keys (`real`) make them anew wherever they are used: the weights of all layers of
    a long text take more than the rest of a prediction.
    """

    real: Captured

    @property
    def weights(self) -> Weights:
        """Those of the input."""
        return attention_weights(self.real.query, self.real.key, self.real.form)

    def __call__(self, captured: Captured) -> Tensor:
        """The heads' outputs u for these values."""
        query, key, form = self.real.query, self.real.key, self.real.form

        def u(targets: slice) -> Tensor:
            weights = attention_weights(query[:, :, targets], key, form.of_targets(targets))
            expanded = weights.p.expand(len(captured.value), -1, -1, -1)
            return attention_output(replace(weights, p=expanded), captured.value)

        return by_target_blocks(query, key, u)


@dataclass(frozen=True, eq=False)
class Held:
    """By the number of a layer's call, what each token's routers chose, and what its attentions are given."""

    experts: Mapping[int, list[Tensor]] = field(default_factory=dict)
    attention: Mapping[int, list[Captured]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.experts or self.attention)

    def __str__(self) -> str:
        return " and ".join(
            name for name, what in (("experts", self.experts), ("attention", self.attention)) if what
        )

    @contextmanager
    def at(self, number: int) -> Iterator[None]:
        """A run of this layer alone, on any number of examples, in which these are held."""
        with ExitStack() as stack:
            if number in self.experts:
                stack.enter_context(holding_each(self.experts[number]))
            if number in self.attention:
                stack.enter_context(attention_action(self._in_turn(number)))
            yield

    def attends(self, number: int) -> list[HeldAttention]:
        """What the layer's attentions do with values, if they are held."""
        return [HeldAttention(real) for real in self.attention.get(number, ())]

    def _in_turn(self, number: int) -> Callable[[Captured], Tensor]:
        turns = itertools.cycle(self.attends(number))
        return lambda captured: next(turns)(captured)

    @contextmanager
    def through(self, modules: Sequence[nn.Module]) -> Iterator[None]:
        """Runs of a whole model, whose layers are `modules` in the order of their calls."""
        calls = itertools.count()

        def held(own: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(own)
            def forward(*args: Any, **kwargs: Any) -> Any:
                with self.at(next(calls) % len(modules)):
                    return own(*args, **kwargs)

            return forward

        with replaced_forwards({module: held(module.forward) for module in modules}):
            yield


def held_at(model: PreTrainedModel, layers: Sequence[Layer], experts: bool, attention: bool) -> Held:
    """What layers, in the order of their calls, hold.

    Raises LigflowError where there is nothing to hold, UnsupportedModel where it cannot be held.
    """
    chosen = _experts(model, layers) if experts else {}
    if experts and not chosen:
        raise LigflowError(
            "No layer of this model chooses experts, so that there is nothing to hold: leave "
            "experts='held' out."
        )
    return Held(chosen, _attention(model, layers) if attention else {})


def _experts(model: PreTrainedModel, layers: Sequence[Layer]) -> dict[int, list[Tensor]]:
    chosen: dict[int, list[Tensor]] = {}
    for number, layer in enumerate(layers):
        with prepared(model, layer.implementation):
            try:
                chosen[number] = choices(layer)
            except UnsupportedModel:
                raise
            except LigflowError:  # a layer without experts, beside others that have them
                continue
    return chosen


def _attention(model: PreTrainedModel, layers: Sequence[Layer]) -> dict[int, list[Captured]]:
    held: dict[int, list[Captured]] = {}
    for number, layer in enumerate(layers):
        findings = layer.findings
        if layer.implementation != IMPLEMENTATION or layer.mode != "split" or layer.calls or findings.windows:
            reason = findings.reason or "its attention is not one map of all its tokens"
            raise UnsupportedModel(
                f"The attention of layer {number} ({layer.name}) cannot be held: {reason}; leave "
                "attention='held' out."
            )
        with prepared(model, layer.implementation):
            held[number] = [layer.capture(layer.hidden[None])]
            if findings.memory:
                held[number].append(layer.capture_second(layer.encoded[None]))
    return held


def both_scores(score: Callable[[Any], Tensor], alone: Any, outputs: Any, held: Held) -> str:
    """What the reference scores through what is held, and by itself, for readers."""
    with torch.no_grad():
        own, through = (", ".join(f"{each:.4g}" for each in score(given)[0]) for given in (alone, outputs))
    return f"with {held} held as in the input the reference scores {through}; by itself it scores {own}"
