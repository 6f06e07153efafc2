"""Questions to classifiers, and functions of outputs: which numbers are asked about, and what is refused."""

from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from asked_models import bert_base, bert_classes, bert_tags, gpt2, pair_tokenizer, stirred, t5, vit, whole
from ligflow import Explainer, LigflowError, Pair
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.own_run import own_run
from ligflow.prediction.question import Question
from ligflow.prediction.replaced import spanned
from ligflow.prediction.targets import question, top_of

TEXT = "the cat sat"


def outputs_of(prepared: PreparedModel, asked: Question) -> Any:
    return own_run(prepared, asked.inputs, asked.positions).outputs


def own(prepared: PreparedModel, **inputs: Any) -> torch.Tensor:
    inputs = inputs or dict(prepared.tokenizer(TEXT, return_tensors="pt"))
    with torch.no_grad():
        return prepared.model(**inputs).logits[0]


def test_a_class_by_default_by_name_and_by_number() -> None:
    prepared = bert_classes()
    logits = own(prepared)
    best = int(logits.argmax())
    asked = question(prepared, TEXT)
    assert asked.rows == (("bad", "fair", "good")[best],)
    assert asked.positions is None
    torch.testing.assert_close(asked.score(outputs_of(prepared, asked))[0, 0], logits.log_softmax(-1).max())
    for name in ("GOOD", "good", 2, "2"):
        named = question(prepared, TEXT, answer=name, score="logit")
        torch.testing.assert_close(named.score(outputs_of(prepared, named))[0, 0], logits[2])
    between = question(prepared, TEXT, answer="good", contrast="bad")
    torch.testing.assert_close(between.score(outputs_of(prepared, between))[0, 0], logits[2] - logits[0])
    assert between.rows == ("good rather than bad",)
    top = top_of(asked, outputs_of(prepared, asked), 2)
    assert [share for _, share in top] == pytest.approx(logits.softmax(-1).topk(2).values.tolist())


def test_classes_that_may_hold_at_once_have_probabilities_of_their_own() -> None:
    prepared = bert_classes(problem="multi_label_classification")
    logits = own(prepared)
    asked = question(prepared, TEXT, answer="fair")
    torch.testing.assert_close(asked.score(outputs_of(prepared, asked))[0, 0], logits[1].sigmoid().log())
    top = dict(top_of(asked, outputs_of(prepared, asked), 3))
    assert top["fair"] == pytest.approx(float(logits[1].sigmoid()))


def test_two_texts_are_one_input_of_a_classifier() -> None:
    prepared = bert_classes()
    asked = question(prepared, Pair("the cat sat", "a dog ran"), answer="good", score="logit")
    ids = prepared.tokenizer("the cat sat", "a dog ran", return_tensors="pt")
    assert asked.tokens.labels == ("[CLS]", "the", "cat", "sat", "[SEP]", "a", "dog", "ran", "[SEP]")
    torch.testing.assert_close(asked.score(outputs_of(prepared, asked))[0, 0], own(prepared, **ids)[2])
    assert spanned(asked.tokens, "dog") == [6]


def test_one_number_is_its_own_score() -> None:
    prepared = bert_classes(("score",))
    asked = question(prepared, TEXT)
    outputs = outputs_of(prepared, asked)
    torch.testing.assert_close(asked.score(outputs)[0], own(prepared))
    assert top_of(asked, outputs) == ()
    assert any("a number of its own" in note for note in asked.notes)


def test_a_token_has_a_class() -> None:
    prepared = bert_tags()
    logits = own(prepared)
    asked = question(prepared, TEXT, answer="VERB", position="sat")
    torch.testing.assert_close(asked.score(outputs_of(prepared, asked))[0, 0], logits[3].log_softmax(-1)[1])
    alone = question(prepared, "cat")
    assert alone.rows[0] in ("NOUN", "VERB", "OTHER")


def test_an_image_has_a_class_and_its_tokens_are_those_of_the_layers() -> None:
    prepared = vit()
    pixels = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    asked = question(prepared, {"pixel_values": pixels}, answer="dog")
    assert asked.tokens.labels == ("[CLS]", "r0c0", "r0c1", "r1c0", "r1c1")
    assert asked.special == (True, False, False, False, False)
    assert asked.of_image
    wanted = own(prepared, pixel_values=pixels).log_softmax(-1)[1]
    torch.testing.assert_close(asked.score(outputs_of(prepared, asked))[0, 0], wanted)


def test_a_classifier_whose_decoder_reads_the_text_too() -> None:
    config = BartConfig(
        vocab_size=10, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=20,
        pad_token_id=0, bos_token_id=2, eos_token_id=1, decoder_start_token_id=1, num_labels=3,
    )  # fmt: skip
    prepared = whole(stirred(BartForSequenceClassification, config), pair_tokenizer())
    asked = question(prepared, "das ist gut", answer=1, score="logit")
    ids = prepared.tokenizer("das ist gut", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(
        asked.score(outputs_of(prepared, asked))[0, 0], own(prepared, input_ids=ids)[1]
    )
    assert any("decoder reads the text too" in note for note in asked.notes)


@pytest.mark.parametrize("model", [bert_base, gpt2, t5])
def test_a_function_of_the_outputs(model: Any) -> None:
    prepared, text = model(), {bert_base: TEXT, gpt2: "The river", t5: "das ist gut"}[model]

    def norm(outputs: Any) -> torch.Tensor:
        return outputs[0].square().sum((1, 2))

    asked = question(prepared, text, score=norm)
    outputs = outputs_of(prepared, asked)
    assert asked.rows == ("score",)
    torch.testing.assert_close(asked.score(outputs), outputs[0].square().sum()[None, None])
    several = question(prepared, text, score=lambda outputs: outputs[0][:, -1, :3])
    assert several.rows == ("score 0", "score 1", "score 2")


def test_a_function_of_an_image_model() -> None:
    pixels = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    asked = question(vit(), {"pixel_values": pixels}, score=lambda outputs: outputs.logits[:, 0])
    assert len(asked.tokens.labels) == 5


def test_a_model_that_gives_numbers_that_are_not_finite() -> None:
    model = stirred(type(bert_classes().model), bert_classes().model.config)
    with torch.no_grad():
        model.bert.pooler.dense.bias.fill_(100)
        model.classifier.weight.fill_(1e308)
    with pytest.raises(LigflowError, match="gives numbers that are not finite on these inputs"):
        question(whole(model, bert_classes().tokenizer), TEXT)


@pytest.mark.parametrize(
    ("model", "wish", "message"),
    [
        (bert_classes, {"answer": "superb"}, "no class 'superb'; there are 0 bad, 1 fair, 2 good"),
        (bert_classes, {"answer": 3}, "no class 3; there are 0 bad"),
        (bert_classes, {"answer": -1}, "no class -1"),
        (bert_classes, {"answer": "bad", "contrast": 0}, "contrast is the answer itself .'bad'"),
        (bert_classes, {"position": 1}, "says one thing of the whole input"),
        (bert_tags, {}, "says something of each token; name one: position= one of 1 the, 2 cat, 3 sat"),
        (bert_tags, {"position": 9}, "There is no position 9"),
        (bert_base, {}, "BertModel has no head that predicts a token or a class.*explain_similarity"),
        (vit, {}, "takes images: pass what its processor makes"),
        (bert_base, {"score": len, "answer": "cat"}, "score is a function of the outputs.*leave out answer"),
        (bert_base, {"score": lambda _: 1.0}, "score gives float; it is called with the outputs for a batch"),
        (bert_base, {"score": lambda outputs: outputs[0][0, :, 0]}, "score gives 5 numbers for a batch of 1"),
        (bert_base, {"score": lambda outputs: outputs[0][:, 0, 0] / 0}, "give a function that is finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(model: Any, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        question(model(), TEXT, **wish)


def test_a_decoder_s_classifier_without_a_padding_token_takes_points_of_its_example_together() -> None:
    """transformers refuses batches of it, since it would look for padding in each."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=61, n_positions=16, n_embd=16, n_layer=1, n_head=2, num_labels=3, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    model = GPT2ForSequenceClassification(config).double().eval()
    ids = torch.tensor([[5, 6, 7, 9]])
    p = Explainer(model).explain_prediction({"input_ids": ids}, answer=1, reference=torch.full((4,), 8))
    with torch.no_grad():
        wanted = float(model(ids).logits[0].log_softmax(-1)[1])
    assert p.value == pytest.approx(wanted, abs=1e-9)
    assert float((p.by_depth.sum(-1) - p.change).abs().max()) <= 1e-3 * p.scale
    assert model.config.pad_token_id is None
