"""Which tokens are shown, and which layers can be explained."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, UnsupportedModel
from ligflow.explainer.example import shown, splittable
from ligflow.inputs.tokens import Tokens


def test_tokens_without_padding() -> None:
    tokens = Tokens(("[CLS]", "a", "[PAD]"), (True, False, True), notes=("note",))
    assert shown(tokens, torch.tensor([0, 1])) == Tokens(("[CLS]", "a"), (True, False), notes=("note",))
    assert shown(tokens, torch.arange(3)) is tokens


def test_layers_that_cannot_be_split_are_left_out_unless_chosen() -> None:
    bert = ARCHITECTURES["bert"]
    first, second = Explainer(build(bert)).prepared.record(example(bert, 4))
    layers = [first.whole("it is closed"), second]
    assert splittable(layers, False, ("z2u",)) == ([second], ["layer 0 left out: it is closed"])
    assert splittable(layers, True, ("z2z",)) == (layers, [])
    with pytest.raises(UnsupportedModel, match=r"Layer 0 \(BertLayer\) offers no z2u and u2z: it is closed"):
        splittable(layers, True, ("z2u",))
