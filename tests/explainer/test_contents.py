"""Whether objects still hold what they held, seen by identity."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from ligflow.explainer.contents import Contents
from ligflow.explainer.fingerprint import Structure


class Scale:
    """Something that is no module, as a hook or a wrapper may be."""

    def __init__(self, factor: float) -> None:
        self.factor, self.limits = factor, {"least": 0.0}

    def __call__(self, *_arguments: Any) -> None:
        """A hook that changes nothing."""


def gpt2() -> Any:
    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=16)).eval()
    model.h[0].scale = Scale(2.0)
    model.h[0].ends = [1, 2, {"of": "three"}]
    model.h[1].act = partial(torch.add, Scale(1.0))
    return model


def _attribute(name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(model.h[1], name, value)


def _of(path: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda model: change(eval(f"model.{path}", {"model": model}))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a hook where there was none": _of("h[1].mlp", lambda m: m.register_forward_hook(Scale(0.0))),
    "a hook before": _of("h[0].attn", lambda m: m.register_forward_pre_hook(lambda *_: None)),
    "a setting": _of("config", lambda c: setattr(c, "scale_attn_weights", False)),
    "a new setting": _of("config", lambda c: setattr(c, "mine", 1)),
    "an attribute": _attribute("crossed", True),
    "a forward of one's own": _of("h[0].mlp", lambda m: setattr(m, "forward", lambda *_: None)),
    "a layer less": _of("h", lambda layers: layers.__delitem__(1)),
    "layers that change places": lambda model: setattr(model, "h", nn.ModuleList([model.h[1], model.h[0]])),
    "other numbers under a weight": _of("h[0].mlp.c_fc.weight", lambda w: setattr(w, "data", w.data.clone())),
    "another type of numbers": _of("h[0].mlp.c_fc.weight", lambda w: setattr(w, "data", w.data.double())),
    "a weight in another's place": _of(
        "h[0].ln_1", lambda m: setattr(m, "weight", nn.Parameter(torch.ones(16)))
    ),
    "a buffer": _of("h[0].ln_1", lambda m: m.register_buffer("extra", torch.ones(2))),
    "another class": _of("h[0].mlp", lambda m: setattr(m, "__class__", type("Mine", (type(m),), {}))),
    "an entry of a list": _of("h[0].ends", lambda ends: ends.append(3)),
    "an entry of a dict in a list": _of("h[0].ends[2]", lambda ends: ends.update(of="four")),
    "what an object holds": _of("h[0].scale", lambda scale: setattr(scale, "factor", 3.0)),
    "what an object holds deeper": _of("h[0].scale.limits", lambda limits: limits.update(most=1.0)),
    "what a partial holds": _of("h[1].act.args[0]", lambda scale: setattr(scale, "factor", 3.0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_noticed(change: Callable[[Any], Any]) -> None:
    model = gpt2()
    structure = Structure(model)
    for _ in range(2):
        model(torch.ones(1, 3, dtype=torch.long))
        assert structure.is_now_of(model)
    change(model)
    assert not structure.is_now_of(model)


def test_the_fast_look_sees_whatever_the_slow_one_sees() -> None:
    """Where the slow look finds a difference, the fast one does: never the other way round."""
    for name, change in CHANGES.items():
        model = gpt2()
        structure = Structure(model)
        change(model)
        assert structure.is_now_of(model) <= (Structure(model) == structure), name


def test_settings_that_are_set_again_are_equal_though_not_the_same() -> None:
    model = gpt2()
    model.config.factor = 1234.5
    structure = Structure(model)
    model.config.factor = float("1234.5")
    assert not structure.is_now_of(model)
    assert Structure(model) == structure


def test_without_hold_nothing_is_certain() -> None:
    model = gpt2()
    assert not Structure(model, hold=False).is_now_of(model)


def test_a_structure_is_of_its_own_model() -> None:
    assert not Structure(gpt2()).is_now_of(gpt2())


def test_contents_hold_what_was_there() -> None:
    """What takes the place of something never gets its identity."""
    held: dict[str, Any] = {"numbers": [1, 2]}
    contents = Contents([held])
    for _ in range(100):
        held["numbers"] = [1, 2]
        assert not contents.are_as_before()
