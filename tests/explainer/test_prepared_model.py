"""From inputs to recorded layers, and which of their tokens are explained."""

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification, BertModel

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from ligflow import Explainer, LigflowError
from ligflow.evaluation.conformance import check

SMALL: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 40,
}  # fmt: skip
IDS = {"input_ids": torch.tensor([[3, 7, 11, 19, 4]])}


def test_what_a_model_pads_by_itself_is_no_token() -> None:
    """Longformer has 8 rows for 5 tokens with windows of 4."""
    explainer, inputs = Explainer(build(WHOLE_ONLY["longformer"])), example(WHOLE_ONLY["longformer"], 5)
    layers = explainer.prepared.record(inputs)
    selections = explainer.prepared.selections(inputs, layers)
    assert [len(layer.hidden) for layer in layers] == [8, 8]
    assert [selection.visible.tolist() for selection in selections] == [[0, 1, 2, 3, 4]] * 2
    assert [selection.targets.tolist() for selection in selections] == [[0, 1, 2, 3, 4]] * 2
    encoded = explainer.prepared.encode(inputs)
    explained = explainer.prepared.example(encoded, ("z2z",), None, None).selection
    assert explained.visible.tolist() == [0, 1, 2, 3, 4]
    assert all(result.passed for result in check(explainer, inputs))


def test_tokens_that_a_mask_hides_are_left_out() -> None:
    prepared = Explainer(build(ARCHITECTURES["bert"])).prepared
    inputs = {**IDS, "attention_mask": torch.tensor([[0, 1, 1, 1, 0]])}
    (selection, _) = prepared.selections(inputs, prepared.record(inputs))
    assert selection.visible.tolist() == [1, 2, 3]
    shown = prepared.example(prepared.encode(inputs), ("z2z",), 1, [-1])
    assert shown.tokens.labels == ("#7", "#11", "#19")
    assert (shown.targets, shown.selection.targets.tolist()) == ([2], [3])
    assert [layer.index for layer in shown.layers] == [1]


def test_notes_on_weights_follow_the_model() -> None:
    model = BertModel(BertConfig(**SMALL)).eval()
    explainer = Explainer(model)
    note = "weights in bfloat16, integrated in a float32 copy"
    assert note not in explainer.explain(IDS, routes="z2z").meta["notes"]
    model.to(torch.bfloat16)
    assert note in explainer.explain(IDS, routes="z2z").meta["notes"]
    model.to(torch.float32)
    assert note not in explainer.explain(IDS, routes="z2z").meta["notes"]


def test_a_classifier_is_said_to_have_no_part() -> None:
    for kind in (BertForSequenceClassification, BertForTokenClassification):
        notes = Explainer(kind(BertConfig(**SMALL)).eval()).explain(IDS, routes="z2z").meta["notes"]
        assert (
            f"maps end at the last layer: the classifier of {kind.__name__} above it has no part in them"
            in notes
        )
    assert Explainer(BertModel(BertConfig(**SMALL)).eval()).explain(IDS, routes="z2z").meta["notes"] == []


def test_size_and_labels() -> None:
    prepared = Explainer(build(ARCHITECTURES["bert"])).prepared
    assert prepared.size(IDS) == (2, 4)
    assert prepared.labels(IDS) == ["#3", "#7", "#11", "#19", "#4"]


def test_errors_of_the_model_name_it_and_its_inputs() -> None:
    prepared = Explainer(build(ARCHITECTURES["bert"])).prepared
    with pytest.raises(
        LigflowError, match=r"BertModel could not run on these inputs \(input_ids\[1, 5\], tok"
    ):
        prepared.record({**IDS, "token_type_ids": torch.zeros(1, 4, dtype=torch.long)})
