"""Names of tokens and ranges of layers: what they stand for, and what is said where they do not."""

import pytest
import torch

from architectures import ARCHITECTURES, build
from ligflow import Explainer, LigflowError
from ligflow.inputs.token_names import (
    comma_separated,
    layer_numbers,
    layer_positions,
    token_position,
    token_positions,
)

CAT = ["[CLS]", "the", "cat", "sat", "on", "the", "##ory", "3", ",", "[SEP]"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (None, list(range(10))),
        (2, [2]),
        (-1, [9]),
        ("cat", [2]),
        (["sat", "cat", 2, -1], [2, 3, 9]),
        ("ory", [6]),
        ("##ory", [6]),
        ("CAT", [2]),
        ("[cls]", [0]),
        ("2", [2]),
        ("-1", [9]),
        (",", [8]),
        (torch.tensor([4, 1]), [1, 4]),
    ],
)
def test_positions_and_texts_name_the_same_tokens(chosen: object, found: list[int]) -> None:
    assert token_positions(chosen, CAT) == found  # type: ignore[arg-type]


def test_blanks_count_where_the_name_has_them() -> None:
    tokens = ["the", " cat", " the", "The"]
    assert token_positions(" the", tokens) == [2]
    assert token_positions("cat", tokens) == [1]
    assert token_positions("The", tokens) == [3]
    with pytest.raises(LigflowError, match=r"'the' is 2 times, at 0, 2 among the tokens"):
        token_positions("the", tokens)


def test_the_same_text_in_other_capitals_is_taken_only_where_there_is_no_other() -> None:
    assert token_position("us", ["US", "us", "Us"]) == 1
    with pytest.raises(LigflowError, match="'uS' is 3 times, at 0, 1, 2"):
        token_position("uS", ["US", "us", "Us"])


def test_a_number_that_a_token_says_is_not_guessed() -> None:
    with pytest.raises(
        LigflowError, match=r"'3' is a position, and what token 7 says; .* -7 for token 3, -3 for token 7"
    ):
        token_positions("3", CAT)
    assert token_positions(["-7", "-3"], CAT) == token_positions([3, 7], CAT) == [3, 7]
    assert token_positions("3", ["a", "b", "c", "3"]) == [3]
    assert token_positions("1984", ["in", "1984"]) == [1]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("dog", r"'dog' is not among the tokens; give a position: 0 \[CLS\], 1 the, 2 cat"),
        ("the", "'the' is 2 times, at 1, 5 among the tokens"),
        ("10", "There is no target 10: there are 10, numbered 0 to 9"),
        (["cat", 12], "There is no target 12"),
        ("²", "'²' is not among the tokens"),
        ("①", "'①' is not among the tokens"),
        ("--5", "'--5' is not among the tokens"),
        ("", "'' is not among the tokens"),
        ([], "No target was chosen"),
        ([1.5], "give whole numbers"),
        (True, "give whole numbers"),
    ],
)
def test_what_names_no_token_is_refused(chosen: object, said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        token_positions(chosen, CAT)  # type: ignore[arg-type]


def test_of_many_tokens_a_message_lists_none() -> None:
    with pytest.raises(LigflowError, match=r"^'dog' is not among the 500 tokens; give a position, from 0\.$"):
        token_position("dog", ["cat"] * 500)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("cat,4,-1", ["cat", "4", "-1"]),
        ("cat", ["cat"]),
        (",", [","]),
        ('cat,",",4', ["cat", ",", "4"]),
        ('"', ['"']),
        ('5" wide,cat', ['5" wide', "cat"]),
        (" cat,the", [" cat", "the"]),
    ],
)
def test_names_are_separated_by_commas(given: str, names: list[str]) -> None:
    assert comma_separated(given) == names


@pytest.mark.parametrize("given", ["", "cat,", ",,", "a,,b"])
def test_an_empty_name_is_refused(given: str) -> None:
    with pytest.raises(LigflowError, match="holds an empty name"):
        comma_separated(given)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ("0", [0]),
        ("0-3,5", [0, 1, 2, 3, 5]),
        ("-1", [-1]),
        ("-3--1", [-3, -2, -1]),
        (" 0 - 2 , 7", [0, 1, 2, 7]),
        ("4-4", [4]),
    ],
)
def test_ranges_of_layers_hold_both_ends(given: str, numbers: list[int]) -> None:
    assert layer_numbers(given) == numbers


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("one", "'one' is not a list of layers; give numbers and ranges, e.g. 0-3,5"),
        ("", "is not a list of layers"),
        ("0,", "is not a list of layers"),
        ("²", "is not a list of layers"),
        ("1-2-3", "is not a list of layers"),
        ("3-0", "The range '3-0' does not go up"),
        ("-1--3", "does not go up"),
        ("-1-3", "both from the same end"),
        ("0-99", "There is no layer 6: there are 6"),
    ],
)
def test_what_is_no_range_of_layers_is_refused(given: str, said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        layer_positions(given, 6)


def test_explain_takes_names_and_ranges() -> None:
    explainer = Explainer(build(ARCHITECTURES["bert"]))
    inputs = {"input_ids": torch.tensor([[3, 7, 11, 4]])}
    flow = explainer.explain(inputs, routes="z2z", layers="0-1", targets=["#11", 0])
    assert (flow.layers, flow.targets) == ((0, 1), (0, 2))
    with pytest.raises(
        LigflowError, match="'cat' is not among the tokens; give a position: 0 #3, 1 #7, 2 #11, 3 #4"
    ):
        explainer.explain(inputs, targets="cat")
