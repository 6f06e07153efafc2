"""Attributions of every layer, and what is said of the work."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.explainer.computation import attention_of, compute, work_in_words
from ligflow.settings import ask

BERT = ARCHITECTURES["bert"]


def test_examples_together_have_what_each_has_alone() -> None:
    prepared, settings = Explainer(build(BERT)).prepared, [ask(routes="z2z"), ask(routes=("z2u", "z2z"))]
    examples = [
        prepared.example(prepared.encode(example(BERT, count)), ("z2u", "z2z"), None, None)
        for count in (3, 6)
    ]
    together = compute(examples, settings)
    assert [[len(results) for results in by_example] for by_example in together] == [[2, 2], [2, 2]]
    assert [list(by_example[0][0]) for by_example in together] == [["z2z"], ["z2u", "z2z"]]
    for number, lone in enumerate(examples):
        for which, (results,) in enumerate(compute([lone], settings)):
            for layer, by_route in enumerate(results):
                for route, attribution in by_route.items():
                    value = together[which][number][layer][route].value
                    torch.testing.assert_close(value, attribution.value, rtol=1e-4, atol=1e-5)


def test_attention_leaves_out_what_is_hidden() -> None:
    prepared = Explainer(build(BERT)).prepared
    inputs = {**example(BERT, 4), "attention_mask": torch.tensor([[1, 1, 1, 0]])}
    weights = attention_of(prepared.example(prepared.encode(inputs), ("z2u",), None, [0, 2]))
    assert weights.shape == (2, 4, 2, 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 2))


def test_work_is_counted_in_bytes_of_maps() -> None:
    prepared = Explainer(build(BERT)).prepared
    lone = prepared.example(prepared.encode(example(BERT, 4)), ("z2u",), None, None)
    assert work_in_words(lone, ("z2u", "z2z"), prepared.model.config) == "4 tokens x 2 layers, maps of 0.1 MB"


def test_maps_that_do_not_fit_into_memory_are_refused_before_the_work(monkeypatch) -> None:
    """Two layers of four heads and z2z by four targets and sources in float32: 640 bytes."""
    explainer, inputs = Explainer(build(BERT)), example(BERT, 4)
    monkeypatch.setattr("ligflow.explainer.computation.free_on_cpu", lambda: 2 * 640)
    assert explainer.explain(inputs, routes=("z2u", "z2z")).z2u.shape == (2, 4, 4, 4)
    with pytest.raises(LigflowError, match=r"The maps take 0.1 MB at 4 tokens.*targets=\[-1\]"):
        explainer.explain(inputs, routes=("z2u", "z2z"), parts=True)
    monkeypatch.setattr("ligflow.explainer.computation.free_on_cpu", lambda: 2 * 640 - 1)
    with pytest.raises(LigflowError, match="Ask for fewer targets"):
        explainer.explain(inputs, routes=("z2u", "z2z"))
    explainer.explain(inputs, routes=("z2u", "z2z"), targets=[-1])
