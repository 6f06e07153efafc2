"""What a flow file may say beside its tensors: the first wrong field is named, with the rule it breaks."""

from typing import Any

import pytest

from ligflow.results.flow_header import Header, Meta, wrong_field

HEADER: dict[str, Any] = {
    "format": 1, "tokens": ["a", "b", "c", "d"], "layers": [0, 2], "targets": [1, 3],
    "special": [True, False, False, False], "meta": {"model": "tiny", "settings": {"tol": 1e-3}},
}  # fmt: skip


def changed(place: str, value: Any) -> dict[str, Any]:
    """The header with one entry replaced, or left out (`...`); `meta.words` is one of meta's."""
    first, _, inner = place.partition(".")
    value = {**HEADER["meta"], inner: value} if inner else value
    return {name: part for name, part in {**HEADER, first: value}.items() if part is not ...}


def test_a_right_header_is_wrong_nowhere() -> None:
    assert wrong_field(Header, HEADER) == ""
    assert wrong_field(Meta, {}) == ""
    assert wrong_field(Meta, {"settings": {}}) == ""


def test_fields_that_are_not_known_may_stand_beside() -> None:
    assert wrong_field(Header, changed("colour", 5)) == ""
    assert Header.model_validate(changed("meta.colour", 5)).meta.model_extra == {"colour": 5}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("tokens", ..., "tokens: Field required"),
        ("tokens", [], "tokens: List should have at least 1 item"),
        ("tokens", ["a", 1, "c", "d"], "tokens.1: Input should be a valid string"),
        ("tokens", ["a", "\ud83d", "c", "d"], "tokens.1: text should hold whole characters"),
        ("format", 0, "format: Input should be greater than or equal to 1"),
        ("format", True, "format: Input should be a valid integer"),
        ("format", "1", "format: Input should be a valid integer"),
        ("layers", [-1], "layers.0: Input should be greater than or equal to 0"),
        ("layers", [2**31], "layers.0: Input should be less than 2147483648"),
        ("layers", [1, 1], "layers should be named once each"),
        ("targets", [3, 3], "targets should be named once each"),
        ("targets", [4], "targets should be positions of tokens"),
        ("special", [True], "special should be as many as tokens"),
        ("meta.words", [0, 0, 1], "meta.words should be as many as tokens"),
        ("meta.settings", {"tol": float("nan")}, "meta.settings.tol: Input should be a finite number"),
        ("meta.patches", {"rows": 2, "columns": 2, "first": 1}, "meta.patches should lie among the tokens"),
        ("meta.frames", {}, "meta.frames.seconds: Field required"),
        ("meta.memory_special", [True], "meta: memory_special should be as many as memory"),
        ("meta.words", [0, 1, 1, 2], "meta: words should number word_labels"),
        ("meta.word_places", [1], "meta: word_places should be as many as word_labels"),
    ],
)  # fmt: skip
def test_the_first_wrong_field_is_named(place: str, value: Any, said: str) -> None:
    header = changed(place, value)
    if place == "meta.words":
        header["meta"]["word_labels"] = ["x", "y"]
    assert said in wrong_field(Header, header)


def test_what_fits_at_the_edge_is_right() -> None:
    assert wrong_field(Header, changed("meta.patches", {"rows": 1, "columns": 3, "first": 1})) == ""
    words = {"words": [0, 1, 1, 2], "word_labels": ["x", "y", "z"], "word_places": [5, 6, 7]}
    assert wrong_field(Header, changed("meta", words)) == ""
    assert wrong_field(Header, "no header").startswith("Input should be a valid dictionary")
