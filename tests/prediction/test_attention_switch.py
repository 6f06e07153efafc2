"""The attention that a model has for one segment after the other, and its own behind them."""

import pytest

from ligflow.layer import model_state
from ligflow.prediction import attention_switch
from ligflow.prediction.attention_switch import AttentionSwitch
from prediction.tiny import gpt2


def test_a_model_is_made_ready_once_for_segments_of_one_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = gpt2(), list[str | None]()
    own = model.config._attn_implementation

    def prepared(module, implementation):
        asked.append(implementation)
        return model_state.prepared(module, implementation)

    monkeypatch.setattr(attention_switch, "prepared", prepared)
    with AttentionSwitch(model) as attention:
        for wanted in ("eager", "eager", None, None, "eager"):
            attention.to(wanted)
            assert model.config._attn_implementation == (wanted or own)
    assert asked == ["eager", None, "eager"]
    assert model.config._attn_implementation == own
