"""Answers token by token: each row beside an explanation of its own, and beside the model's probabilities."""

import functools
from typing import Any

import pytest
import torch

from asked_models import gpt2, t5
from ligflow import CompletenessWarning
from ligflow.prediction import chain
from ligflow.prediction.again import chained_again
from ligflow.prediction.answer import Answer
from ligflow.prediction.explain import explain_prediction
from ligflow.prediction.explain_answer import explain_answer
from ligflow.prediction.references import Random

PROMPT, ANSWERED = "The capital of France is", " Paris. The"


@functools.cache
def explained() -> Answer:
    return explain_answer(gpt2(), PROMPT, ANSWERED, points=15)


def test_rows_are_the_answers_tokens_and_columns_the_prompts() -> None:
    answer, whole = explained(), gpt2()
    assert answer.tokens == [" Paris", ".", " The"]
    assert answer.prompt == ["The", " capital", " of", " France", " is"]
    ids = whole.tokenizer(PROMPT + ANSWERED, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        shares = whole.model(ids).logits[0].log_softmax(-1)
    wanted = [float(shares[place - 1, ids[0, place]]) for place in (5, 6, 7)]
    assert [row.value for row in answer.rows] == pytest.approx(wanted)
    assert answer.whole.value == pytest.approx(sum(wanted))
    sums = answer.matrix.sum(1).tolist()
    assert sums == pytest.approx([row.change for row in answer.rows])
    assert float(answer.certificates.abs().max()) < 1e-9
    assert answer.rows[0].kept == (True, False, False, False, False, True, True)


def test_a_row_is_the_explanation_of_its_token_behind_those_before_it() -> None:
    alone = explain_prediction(gpt2(), f"{PROMPT} Paris.", answer=" The", on=(1, 4), points=15)
    torch.testing.assert_close(explained().matrix[2], alone.relevance[:5])
    names = [[name for name, _ in row.top] for row in (explained().rows[2], alone, explained().rows[0])]
    assert names[0] == names[1]
    assert explained().rows[2].top[0][1] == pytest.approx(alone.top[0][1])
    assert explained().rows[0].top[0][1] != pytest.approx(alone.top[0][1])


def test_the_rows_sum_to_the_explanation_of_the_whole_answer() -> None:
    whole = explain_prediction(gpt2(), PROMPT, answer=ANSWERED, points=15)
    torch.testing.assert_close(explained().matrix.sum(0), whole.relevance[:5])
    assert explained().whole.change == pytest.approx(whole.change)


def test_the_error_is_met_by_every_row() -> None:
    answer = explain_answer(gpt2(), PROMPT, ANSWERED, tol=1e-3)
    exact = explain_answer(gpt2(), PROMPT, ANSWERED, points=31)
    for own, true in zip(answer.rows, exact.rows, strict=True):
        assert float((own.relevance - true.relevance).abs().sum()) < 1e-3 * true.scale


def worse(once: Any) -> Any:
    """A chain whose second row has an error, which is twice as large the second time."""
    calls = list[int]()

    def with_error(graph: chain.Graph, change: torch.Tensor, *rest: Any) -> chain.Chain:
        calls.append(len(change))
        result: chain.Chain = once(graph, change, *rest)
        result.error[len(change) // 2, 0] += len(calls)
        return result

    return with_error


def test_rows_with_errors_go_through_the_chain_once_more_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, once = list[int](), chain._once

    def with_error(graph: chain.Graph, change: torch.Tensor, *rest: Any) -> chain.Chain:
        calls.append(len(change))
        result = once(graph, change, *rest)
        result.error[1:2, 0] += len(calls) == 1
        return result

    plain = explain_answer(gpt2(), PROMPT, ANSWERED, tol=1e-3)
    monkeypatch.setattr(chain, "_once", with_error)
    answer = explain_answer(gpt2(), PROMPT, ANSWERED, tol=1e-3)
    assert calls == [3, 1]
    exact = explained().rows[1]
    assert float((answer.rows[1].relevance - exact.relevance).abs().sum()) < 1e-3 * exact.scale
    assert float(answer.rows[1].error.sum()) < 1e-3 * exact.scale
    for row in (0, 2):
        assert answer.rows[row].relevance.equal(plain.rows[row].relevance)
    del calls[:]
    assert chained_again(answer.rows[1], "").__enter__().result.error[1].sum() < 1e-3 * exact.scale
    assert calls == [3, 1]
    monkeypatch.setattr(chain, "_once", worse(once))
    with pytest.warns(CompletenessWarning):
        kept = explain_answer(gpt2(), PROMPT, ANSWERED, tol=1e-3)
    assert float(kept.rows[1].error.sum()) == pytest.approx(1 + float(plain.rows[1].error.sum()))
    assert kept.rows[1].relevance.equal(plain.rows[1].relevance)


def test_a_row_that_misses_the_tolerance_warns() -> None:
    with pytest.warns(CompletenessWarning, match="more than the tolerance 1.0e-09"):
        explain_answer(gpt2(), PROMPT, ANSWERED, points=3, tol=1e-9)


def test_an_answer_of_a_decoder_behind_an_encoder() -> None:
    answer = explain_answer(t5(), "das ist gut", "this is", tol=3e-2)
    assert answer.tokens == ["this", "is"]
    assert answer.prompt == ["das", "ist", "gut", "</s>", "<pad>"]


def test_several_references_have_a_mean() -> None:
    answer = explain_answer(gpt2(), PROMPT, ANSWERED, reference=Random(count=2), points=7)
    each = [
        explain_prediction(gpt2(), PROMPT, answer=ANSWERED, reference=Random(count=1, seed=seed), points=7)
        for seed in (0, 1)
    ]
    mean = (each[0].relevance + each[1].relevance)[:5] / 2
    torch.testing.assert_close(answer.matrix.sum(0), mean)
    assert len(answer.rows[0].meta["totals"]) == 2
