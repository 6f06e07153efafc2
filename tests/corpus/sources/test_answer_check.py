"""Answers that a tokenizer cannot write are told by their line, before anything is computed."""

from pathlib import Path

from transformers import GPT2ForSequenceClassification

from architectures import ARCHITECTURES
from language_models import tokenizer
from ligflow.corpus.sources.answer_check import with_writable_answers
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import BadLine

PROMPTS = [
    Prompt(0, "the cat", "a:1", "sat"),
    Prompt(1, "the cat", "a:2", "slept"),
    Prompt(2, "the cat", "a:3", "sat", "slept"),
    Prompt(3, "the cat", "a:4"),
]


def test_answers_and_contrasts_that_cannot_be_written(speaker: str) -> None:
    bad = BadLine(4, "a:5", "no object")
    items = list(with_writable_answers([*PROMPTS, bad], speaker))
    assert [isinstance(item, Prompt) for item in items] == [True, False, False, True, False]
    assert items[1] == BadLine(
        1, "a:2", "The answer 'slept' is not in this model's vocabulary; give one that is"
    )
    assert str(getattr(items[2], "problem", "")).startswith("The contrast 'slept' is not in")
    assert items[4] is bad


def test_a_classifier_writes_nothing(tmp_path: Path) -> None:
    config = GPT2ForSequenceClassification.config_class(**ARCHITECTURES["gpt2"].config)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert list(with_writable_answers(PROMPTS, str(tmp_path))) == PROMPTS
