"""Which tokens a reference is put on: named by place, range or text, and which stay."""

import pytest

from asked_models import bert_masked, gpt2
from ligflow import LigflowError
from ligflow.prediction.replaced import kept_tokens, spanned, tokens_in
from ligflow.prediction.targets import question

PROMPT = "The capital of France is"


def test_by_default_special_tokens_masks_and_what_is_taught_are_kept() -> None:
    masked = question(bert_masked(), "the [MASK] sat")
    assert kept_tokens(masked, None).tolist() == [True, False, True, False, True]
    taught = question(gpt2(), PROMPT, answer=" Paris is")
    assert kept_tokens(taught, None).tolist() == [False] * 5 + [True]
    assert kept_tokens(taught, None, sink=True).tolist() == [True, *[False] * 4, True]


def test_tokens_are_named_by_place_range_and_text() -> None:
    asked = question(gpt2(), PROMPT)
    for on, places in (
        (3, [3]), (-1, [4]), ((1, 2), [1, 2]), ("capital of", [1, 2]), ([0, "France"], [0, 3]), ("ranc", [3]),
    ):  # fmt: skip
        assert spanned(asked.tokens, on) == places
        assert kept_tokens(asked, on, sink=True).tolist() == [place not in places for place in range(5)]
    assert tokens_in(asked.tokens, (4, 14)) == [1, 2]


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ((2, 1), "ends before it begins"),
        ([], "on= names no token"),
        ("Spain", "'Spain' occurs not in the input; give one as it stands there"),
        ("a", "'a' occurs 3 times in the input; give a longer one"),
        (" ", "on= is a blank text"),
    ],
)
def test_what_names_no_token_is_refused(on: object, said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        spanned(question(gpt2(), PROMPT).tokens, on)


def test_a_reference_on_nothing_is_refused() -> None:
    taught = question(gpt2(), PROMPT, answer=" Paris is")
    with pytest.raises(LigflowError, match="on= names the answer's tokens alone"):
        kept_tokens(taught, 5)
