"""Keywords that are listed once: what a signature shows, and what is said of others."""

import inspect
from typing import Any

import pytest

from ligflow.keywords import check_keywords, listing

KINDS = {"tol": float, "points": int}


def test_a_signature_lists_options_behind_its_own_parameters_and_once() -> None:
    @listing(KINDS, {"tol": 0.1, "points": 7})
    def explain(text: str, points: int = 3, **options: float) -> None: ...

    assert str(inspect.signature(explain)) == "(text: str, points: int = 3, *, tol: float = 0.1) -> None"


def test_keywords_that_go_elsewhere_stay_open() -> None:
    @listing(KINDS, {"tol": 0.1, "points": 7})
    def explain(text: str, **more: Any) -> None: ...

    assert [*inspect.signature(explain).parameters] == ["text", "tol", "points", "more"]


def test_a_keyword_that_is_not_taken_is_named_with_those_that_are() -> None:
    check_keywords(["points"], KINDS)
    with pytest.raises(TypeError, match="unexpected keyword argument 'pionts'; choose from tol, points"):
        check_keywords(["tol", "pionts"], KINDS)
