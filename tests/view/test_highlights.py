"""What the first screen says, by number: sources that stand aside, map, target, layer and sentences."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ligflow import Flow
from ligflow.view.highlights import (
    Finding,
    default_view,
    heads_of_words,
    held,
    highlights,
    is_punctuation,
    sentences,
    stands_aside,
    without,
)
from ligflow.view.select import by_head

DECODER = ["<bos>", " The", " capital", " of", " France", " is"]


def direct(
    tokens: Sequence[str], z2z: Sequence[Sequence[Sequence[float]]], special: Sequence[int] = ()
) -> Flow:
    """A flow of the direct map alone, of all targets."""
    maps = torch.tensor(z2z)
    marks = tuple(place in special for place in range(len(tokens)))
    tensors = {"z2z": maps, "z2z.total": maps.sum(-1)}
    return Flow(list(tokens), tuple(range(len(maps))), tuple(range(len(tokens))), marks, tensors)


def split(tokens: Sequence[str], z2u: Tensor, u2z: Tensor, special: Sequence[int] = ()) -> Flow:
    """A flow of both parts, without a residual."""
    marks = tuple(place in special for place in range(len(tokens)))
    tensors = {
        "z2u": z2u, "z2u.total": z2u.sum(-1), "z2u.floor": torch.full(z2u.shape[:2], 1e-6), "u2z": u2z,
        "u2z.total": u2z.sum(1), "u2z_residual": torch.zeros(u2z.shape[0], u2z.shape[2]),
    }  # fmt: skip
    return Flow(list(tokens), tuple(range(len(z2u))), tuple(range(len(tokens))), marks, tensors)


def causal() -> Flow:
    """Six tokens after a sink: <bos> holds 80% of each row, and in layer 1 the last is moved by France."""
    first = torch.full((6, 6), 1.0).tril(-1)
    first[1:, 0] = 8
    second = first.clone()
    second[5] = torch.tensor([90.0, 1, 1, -2, 6, 0])
    return direct(DECODER, [first.tolist(), second.tolist()], special=[0])


# --- what stands aside ----------------------------------------------------------------------------


def test_a_decoder_opens_at_its_last_token_and_the_layer_that_tells() -> None:
    flow = causal()
    found = highlights(flow)
    assert (found.view, found.target, found.layer) == ("z2z", 5, 1)
    assert (found.special, found.sinks, found.unranked) == ((0,), (), 0)
    assert found.findings == (Finding(1, 4, 0.6), Finding(0, 1, 0.25), Finding(0, 2, 0.25))
    assert list(sentences(flow, found)) == [
        "‘France’ is 60% of what moves ‘is’ in layer 1 (6% of all)",
        "‘The’ is 25% of what moves ‘is’ in layer 0 (8% of all)",
        "‘capital’ is 25% of what moves ‘is’ in layer 0 (8% of all)",
        "of what moved ‘is’, 1 special token aside",
    ]
    assert held(flow.z2z[1, 5], found.hidden) == pytest.approx(0.9)


def test_a_first_token_that_is_not_special_is_a_sink() -> None:
    flow = replace(causal(), special=(False,) * 6)
    found = highlights(flow)
    assert (found.special, found.sinks, found.target) == ((), (0,), 5)
    assert stands_aside(flow, found) == "the first token"
    assert found.findings[0] == Finding(1, 4, 0.6)


def test_a_sink_holds_more_than_half_of_three_rows_or_more() -> None:
    half = [[0.0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]  # means 2/3 and 1/2
    assert highlights(direct("abcd", [half])).sinks == (0,)
    quarter = [[0.0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]  # 1/3 of three rows
    assert highlights(direct("abcd", [quarter])).sinks == ()
    two = [[0.0, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert highlights(direct("abc", [two])).sinks == ()  # two rows
    assert highlights(direct("abc", [two, two])).sinks == (0,)  # four


def test_a_middle_token_that_holds_the_rows_of_all_others_is_named() -> None:
    maps = torch.ones(1, 5, 5)
    maps[..., 2] = 20
    flow = direct(["a", "b", ",", "d", "e"], maps.tolist())
    found = highlights(flow)
    assert (found.sinks, stands_aside(flow, found)) == ((2,), "‘,’")


def test_nothing_stands_aside_where_nothing_would_be_left() -> None:
    flow = direct(["[CLS]", "[SEP]"], [[[1.0, 3], [2, 2]]], special=[0, 1])
    found = highlights(flow)
    assert (found.hidden, found.target, found.findings) == ((), 0, (Finding(0, 1, 0.75),))
    assert list(sentences(flow, found)) == [
        "‘[SEP]’ is 75% of what moves ‘[CLS]’ in layer 0",
        "of what moved ‘[CLS]’ (put in front, for the whole input)",
    ]


def test_an_encoder_opens_at_its_class_token() -> None:
    maps = torch.ones(2, 5, 5)
    maps[1, 0] = torch.tensor([5.0, -1, 2, 1, 5])
    flow = direct(["[CLS]", "good", "film", ".", "[SEP]"], maps.tolist(), special=[0, 4])
    found = highlights(flow)
    assert (found.target, found.layer, found.hidden, found.unranked) == (0, 1, (0, 4), 1)
    assert [(one.source, round(one.share, 3)) for one in found.findings] == [(2, 0.5), (1, 0.333)]
    assert list(sentences(flow, found))[-1] == (
        "of what moved ‘[CLS]’ (put in front, for the whole input), "
        "2 special tokens aside; punctuation not ranked (1 left out)"
    )
    start = replace(flow, tokens=["<s>", *flow.tokens[1:]])
    assert list(sentences(start, highlights(start)))[-1] == (
        "of what moved ‘<s>’ (put in front), 2 special tokens aside; punctuation not ranked (1 left out)"
    )


def test_the_target_can_be_given_and_nothing_be_hidden() -> None:
    flow = causal()
    found = highlights(flow, target=2)
    assert (found.target, found.findings) == (2, (Finding(0, 1, 1.0),))
    every = highlights(flow, every=True)
    assert (every.hidden, every.findings[0]) == ((), Finding(1, 0, pytest.approx(0.9)))


def test_a_share_below_zero_holds_back() -> None:
    maps = [[0.0, 0, 0, 0], [1, 0, 0, 0], [1, 4, 0, 0], [1, 3, -6, 0]]
    flow = direct("abcd", [maps])
    found = highlights(flow)
    assert next(sentences(flow, found)) == "‘c’ holds ‘d’ back in layer 0 (-60%)"


def test_ties_go_to_the_lower_layer_and_then_to_the_lower_place() -> None:
    row = [[0.0] * 4, [0, 0, 0, 0], [0, 0, 0, 0], [0, 2, 2, 0]]
    found = highlights(direct("abcd", [row, row]))
    assert [(one.layer, one.source) for one in found.findings] == [(0, 1), (0, 2)]


def test_a_newline_at_the_end_is_no_target_and_is_not_ranked() -> None:
    maps = torch.ones(1, 5, 5).tril()
    flow = direct(["a", " b", ",", "c", "\n"], maps.tolist())
    found = highlights(flow)
    assert (found.target, [one.source for one in found.findings], found.unranked) == (3, [0, 1], 1)


def test_some_targets_of_a_decoder() -> None:
    flow = causal()
    tensors = {name: tensor[:, [2, 4]] for name, tensor in flow.tensors.items()}
    assert highlights(replace(flow, targets=(2, 4), tensors=tensors)).target == 4


@pytest.mark.parametrize("special", [(), (0,)])
def test_one_token(special: Sequence[int]) -> None:
    flow = direct(["a"], [[[1.0]]], special=special)
    found = highlights(flow)
    assert (found.target, found.layer, found.hidden, found.findings) == (0, 0, (), ())
    assert list(sentences(flow, found)) == []


def test_two_tokens_of_a_decoder_open_at_the_word() -> None:
    flow = direct(["<bos>", "a"], [[[0.0, 0], [1, 0]]], special=[0])
    assert highlights(flow).target == 1


# --- heads ----------------------------------------------------------------------------------------


def heads() -> Flow:
    """Two heads; at the last of four tokens head 0 carries 3 and head 1 carries 9, of sources 1 and 2."""
    z2u = torch.ones(1, 2, 4, 4).tril(-1)
    z2u[0, 0, 3] = torch.tensor([0.0, 2, 1, 0])  # shares 2/3, 1/3
    z2u[0, 1, 3] = torch.tensor([0.0, 1, 2, 0])
    u2z = torch.ones(1, 2, 4)
    u2z[0, :, 3] = torch.tensor([3.0, 9.0])
    return split(["a", "b", "c", "d"], z2u, u2z)


def test_the_head_that_carries_most_of_a_cell_is_named() -> None:
    flow = heads()
    found = highlights(flow)
    assert (found.view, found.target) == ("conserving", 3)
    # c: 1 + 6 of 12; b: 2 + 3 of 12
    assert found.findings == (
        Finding(0, 2, pytest.approx(7 / 12), 1), Finding(0, 1, pytest.approx(5 / 12), 1),
    )  # fmt: skip
    assert list(sentences(flow, found))[:2] == [
        "‘c’ is 58% of what moves ‘d’ in layer 0, most of it through head 1",
        "‘b’ is 42% of what moves ‘d’ in layer 0, most of it through head 1",
    ]
    torch.testing.assert_close(by_head(flow, 0, [3])[:2, 0, 1:3], torch.tensor([[2.0, 1], [3, 6]]))


def test_a_head_with_less_than_half_carries_the_largest_part() -> None:
    z2u = torch.zeros(1, 3, 3, 3)
    z2u[0, :, 2, 0] = 1
    u2z = torch.zeros(1, 3, 3)
    u2z[0, :, 2] = torch.tensor([2.0, 4.5, -3])  # 4.5 of 9.5
    flow = split("abc", z2u, u2z)
    found = highlights(flow)
    assert found.findings == (Finding(0, 0, 1.0, 1, True),)
    assert (
        next(sentences(flow, found))
        == "‘a’ is 100% of what moves ‘c’ in layer 0, the largest part through head 1"
    )


def test_what_the_heads_read_alone() -> None:
    flow = heads()
    alone = replace(flow, tensors={name: flow.tensors[name] for name in ("z2u", "z2u.total", "z2u.floor")})
    found = highlights(alone)
    assert (found.view, found.target) == ("z2u", 3)
    assert found.findings == (Finding(0, 1, 0.5), Finding(0, 2, 0.5))
    assert highlights(alone, head=1).findings[0] == Finding(0, 2, pytest.approx(2 / 3))


def test_which_heads_write_alone() -> None:
    flow = heads()
    alone = replace(flow, tensors={name: flow.tensors[name] for name in ("u2z", "u2z.total", "u2z_residual")})
    found = highlights(alone)
    assert (found.view, found.target, found.findings) == ("u2z", 3, (
        Finding(0, None, 0.75, 1), Finding(0, None, 0.25, 0),
    ))  # fmt: skip
    assert list(sentences(alone, found)) == [
        "head 1 writes ‘d’ in layer 0 (75%)", "head 0 writes ‘d’ in layer 0 (25%)", "of what moved ‘d’",
    ]  # fmt: skip


def test_merged_words_name_no_head() -> None:
    flow = heads()
    stored = {
        **flow.tensors,
        "composed.conserving": flow.composed(),
        "composed.product": flow.composed("product"),
    }
    found = highlights(replace(flow, tensors=stored, meta={"merged": "words"}))
    assert [(one.source, one.head) for one in found.findings] == [(2, None), (1, None)]


def test_words_are_told_the_heads_of_their_tokens() -> None:
    flow = heads()
    meta = {"words": [0, 1, 1, 2], "word_labels": ["a", "bc", "d"]}
    cells = {"scale": 1.0, "residue": 0.0, "error": 0.0, "origin": 0.0}
    tensors = dict(flow.tensors)
    for route in ("z2u", "u2z"):
        total = tensors[f"{route}.total"]
        tensors |= {f"{route}.{name}": torch.full_like(total, value) for name, value in cells.items()}
        tensors |= {f"{route}.met": torch.ones_like(total, dtype=torch.bool)}
        tensors[f"{route}.nodes"] = torch.ones(1, 4, dtype=torch.int32)
    whole = replace(flow, tensors=tensors, meta=meta)
    merged = whole.merge_words()
    found = heads_of_words(highlights(merged), whole)
    # bc to d: head 0 carries 3, head 1 carries 9
    assert found.findings == (Finding(0, 1, pytest.approx(1.0), 1),)
    assert (
        next(sentences(merged, found))
        == "‘bc’ is 100% of what moves ‘d’ in layer 0, most of it through head 1"
    )
    first = heads_of_words(highlights(merged, target=1), whole)
    parts = by_head(whole, 0, [1, 2])[:2, :, 0].sum(1)
    assert first.findings[0].head == int(parts.argmax())


def test_the_first_map_is_through_the_heads_where_both_parts_are() -> None:
    assert default_view(heads()) == "conserving"
    assert default_view(causal()) == "z2z"
    both = replace(heads(), tensors={**heads().tensors, **direct("abcd", [torch.eye(4).tolist()]).tensors})
    assert default_view(both) == "conserving"


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "is_one"),
    [
        (".", True), (" ,", True),
        ("“", True), ("\n", True), ("Ġ", True), ("▁", True), ("e:.", True), ("", True),
        ("a", False), ("##s", False), ("3", False), ("$", False), ("猫", False),
        ("👍", False), ("e:a", False),
        ("e:", False), ("+", False),
    ],
)  # fmt: skip
def test_punctuation_has_no_letter_digit_or_symbol(token: str, is_one: bool) -> None:
    assert is_punctuation(token) is is_one


def test_names_are_trimmed_and_told_apart() -> None:
    maps = torch.ones(1, 4, 4).tril(-1)
    flow = direct(["\x1b[1m", " the", "the", "x"], maps.tolist())
    found = highlights(flow, every=True)
    assert list(sentences(flow, found)) == [
        r"‘\x1b[1m’ is 33% of what moves ‘x’ in layer 0",
        "‘the’ (1) is 33% of what moves ‘x’ in layer 0",
        "‘the’ (2) is 33% of what moves ‘x’ in layer 0",
        "of what moved ‘x’",
    ]


def test_shares_without_the_hidden_columns() -> None:
    shares = without(torch.tensor([[8.0, -1, 3], [1, 0, 0]]), [0])
    torch.testing.assert_close(shares, torch.tensor([[0, -0.25, 0.75], [0, 0, 0]]))


def test_a_share_below_zero_is_of_all_too_where_much_stands_aside() -> None:
    maps = [[0.0, 0, 0], [0, 0, 0], [8, -1, 1]]
    flow = direct(["[CLS]", "not", "good"], [maps], special=[0])
    assert next(sentences(flow, highlights(flow))) == "‘not’ holds ‘good’ back in layer 0 (-50%, -10% of all)"
