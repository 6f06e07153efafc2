"""Which side of an encoder-decoder is explained."""

import pytest

from architectures import ARCHITECTURES, build
from ligflow import LigflowError
from ligflow.explainer.explained_part import explained_part


def test_an_encoder_unless_another_stack_is_named() -> None:
    model = build(ARCHITECTURES["bart"])
    assert explained_part(model, None) == (model.get_encoder(), None, False)
    assert explained_part(model, "decoder") == (model, "decoder", True)
    assert explained_part(model, "encoder") == (model, "encoder", False)


def test_a_model_of_one_stack_is_itself() -> None:
    model = build(ARCHITECTURES["bert"])
    assert explained_part(model, None) == (model, None, False)


def test_a_stack_is_a_name() -> None:
    with pytest.raises(LigflowError, match="stack is 3; give a part of the stack's name"):
        explained_part(build(ARCHITECTURES["bert"]), 3)  # type: ignore[arg-type]
