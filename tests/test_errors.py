"""Warnings name the line that called ligflow, whatever lies between."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import CompletenessWarning, Explainer, LigflowWarning, MemoryWarning, TextWarning
from ligflow.devices.blocks import in_blocks

BERT = ARCHITECTURES["bert"]
ROUGH: dict[str, Any] = {"routes": "z2z", "quadrature": "midpoint:1"}
GOOD, EMPTY = example(BERT, 5), {"input_ids": torch.zeros(1, 0, dtype=torch.long)}
UNKNOWN = {"input_ids": torch.full((1, 3), 999)}


def _many(explainer: Explainer, *texts: Any) -> None:
    for _ in explainer.explain_many(texts, **ROUGH):
        pass


def _halved(_: Explainer) -> None:
    def compute(nodes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if len(nodes) * len(rows) > 1:
            raise MemoryError
        return torch.zeros(1, 1, 1, 1)

    inspect.unwrap(in_blocks)(compute, torch.zeros(1), torch.arange(4), 4)


CALLS: dict[str, tuple[Callable[[Explainer], Any], type[LigflowWarning]]] = {
    "explain": (lambda explainer: explainer.explain(GOOD, **ROUGH), CompletenessWarning),
    "explain_under": (
        lambda explainer: explainer.explain_under(GOOD, [{"quadrature": "midpoint:1"}]),
        CompletenessWarning,
    ),
    "explain_many": (lambda explainer: _many(explainer, GOOD), CompletenessWarning),
    "a text left out when it is encoded": (lambda explainer: _many(explainer, EMPTY), TextWarning),
    "a text left out when it is run": (lambda explainer: _many(explainer, UNKNOWN), TextWarning),
    "halves of halves": (_halved, MemoryWarning),
}


@pytest.mark.parametrize(("call", "kind"), CALLS.values(), ids=CALLS.keys())
def test_a_warning_names_the_line_that_called_ligflow(
    call: Callable[[Explainer], Any], kind: type[LigflowWarning]
) -> None:
    explainer = Explainer(build(BERT))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(explainer)
    seen = [one for one in caught if issubclass(one.category, LigflowWarning)]
    assert {one.category for one in seen} == {kind}
    called = _halved if call is _halved else _many if "_many" in call.__code__.co_names else call
    lines, first = inspect.getsourcelines(called)
    for one in seen:
        assert one.filename == __file__
        assert first <= one.lineno < first + len(lines)
