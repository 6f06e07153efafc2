"""What the head of a model predicts."""

import pytest
import transformers
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, build
from ligflow.explainer.head import Head, head_of

KINDS = [
    ("gpt2", "GPT2LMHeadModel", "causal"),
    ("llama", "LlamaForCausalLM", "causal"),
    ("bert", "BertForMaskedLM", "masked"),
    ("t5", "T5ForConditionalGeneration", "seq2seq"),
    ("bart", "BartForConditionalGeneration", "seq2seq"),  # in the table of masked language models too
    ("bert", "BertForQuestionAnswering", "question answering"),
    ("bert", "BertModel", "none"),
    ("bert", "BertForPreTraining", "none"),
]
CLASSIFIERS = [
    ("bert", "BertForSequenceClassification", "sequence classifier"),
    ("bert", "BertForTokenClassification", "token classifier"),
    ("vit", "ViTForImageClassification", "image classifier"),
]


def model_of(name: str, kind: str, **changed: object) -> PreTrainedModel:
    config = build(ARCHITECTURES[name]).config
    for key, value in changed.items():
        setattr(config, key, value)
    return getattr(transformers, kind)(config)


@pytest.mark.parametrize(("name", "kind", "head"), KINDS)
def test_heads_by_the_class_of_the_model(name: str, kind: str, head: str) -> None:
    assert head_of(model_of(name, kind)) == Head(head)


@pytest.mark.parametrize(("name", "kind", "head"), CLASSIFIERS)
def test_classifiers_have_labels_in_the_order_of_their_numbers(name: str, kind: str, head: str) -> None:
    names = {2: "neither", 0: "no", 1: "yes"}
    assert head_of(model_of(name, kind, id2label=names)) == Head(head, ("no", "yes", "neither"))


def test_a_class_of_ones_own_has_the_head_of_its_base() -> None:
    class Mine(transformers.GPT2LMHeadModel):
        """A user's own."""

    assert head_of(Mine(transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2))) == Head("causal")


def test_a_class_of_two_tables_is_what_its_config_says() -> None:
    config = transformers.XLMConfig(vocab_size=20, emb_dim=8, n_layers=1, n_heads=2)
    assert head_of(transformers.XLMWithLMHeadModel(config)) == Head("masked")
    config.causal = True
    assert head_of(transformers.XLMWithLMHeadModel(config)) == Head("causal")
