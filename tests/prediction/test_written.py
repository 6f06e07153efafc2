"""What a layer writes for layers above is read where its call ends, if it is written by then."""

from typing import Any

import pytest
import torch

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.layer.float64 import keep_double
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.written import is_written_before_attention, noting_written
from prediction.chain_of_family import chained, runs_of_family
from prediction.oracle_families import FAMILIES

FAMILY = FAMILIES["gemma4"]
NAMES = {("shared_kv_states", "sliding_attention", n): f"{kind} of layer 0" for n, kind in enumerate("kv")}


def test_keys_are_read_where_a_call_is_ended_at_its_attention() -> None:
    runs = runs_of_family(FAMILY, FAMILY.built())
    layer, made = runs.layers[0], runs.real.calls[0].written
    assert set(made) == set(NAMES)
    assert is_written_before_attention(layer, NAMES)
    assert not is_written_before_attention(layer, {("shared_kv_states", "full_attention", 0): "k"})
    with keep_double(), noting_written(layer.module) as written, torch.no_grad():
        layer.forward(layer.hidden[None])
    for path, name in NAMES.items():
        torch.testing.assert_close(written.at(NAMES)[name], made[path], rtol=0, atol=1e-12)


@pytest.mark.parametrize("late", [False, True])
def test_a_layer_that_writes_behind_its_attention_is_one_segment_and_says_so(late: bool, monkeypatch) -> None:
    model = FAMILY.built()
    if late:
        for layer in model.model.layers[:2]:
            _write_late(layer.self_attn, monkeypatch)
    found = chained(FAMILY, model, Accuracy(points=31))
    assert found.kinds == (["layer", "layer"] if late else ["sequential"] * 2) + ["sequential"] * 2
    assert len(found.built.notes) == (2 if late else 0)
    assert all("read what it writes behind its attention" in note for note in found.built.notes)
    assert (found.by_depth.sum(-1) - found.change).abs().max() < 1e-9


def _write_late(attention: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values are put where others read them when the attention is done."""
    own = attention.forward

    def forward(*args: Any, shared_kv_states: dict[str, Any], **kwargs: Any) -> Any:
        apart = type(shared_kv_states)(shared_kv_states)
        result = own(*args, shared_kv_states=apart, **kwargs)
        shared_kv_states.update(apart)
        return result

    monkeypatch.setattr(attention, "forward", forward)


def test_layers_above_find_nothing_new_where_nothing_is_written() -> None:
    family = FAMILIES["llama"]
    copy = PreparedModel(family.built()).now()
    layer = recorded_layers(copy, family.inputs(), None).layers[0]
    assert is_written_before_attention(layer, {})
