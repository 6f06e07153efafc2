"""What is said of a prediction in plain words."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow.view import prediction_words as words


def test_both_runs_and_the_question_are_said() -> None:
    assert [*words.said(prediction_of())] == [
        "the model (made by hand) says ‘ Paris’ 61%, ‘ the’ 8%, ‘ located’ 3%",
        "with ‘<unk>’ for every word it says ‘,’ 5%, ‘ the’ 4%",
        "asked: log-probability of ‘ Paris’: -0.5, and -8.5 with the reference, a change of +8",
        "relevance and error are in nats (natural logarithm): +0.69 doubles the probability",
    ]


def test_a_prediction_that_says_little_of_itself_is_still_told() -> None:
    assert [*words.said(prediction_of(meta={}, top=(), reference_top=()))] == [
        "compared with the reference",
        "asked: the score: -0.5, and -8.5 with the reference, a change of +8",
    ]


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        (
            {"score": "logprob"},
            "relevance and error are in nats (natural logarithm): +0.69 doubles the probability",
        ),
        ({"score": "logit"}, "relevance and error are in logits"),
        (
            {"score": "logprob", "contrast": " Rome"},
            "relevance and error are in logits: +0.69 doubles the odds of the one against the other",
        ),
        ({}, "a change of +8"),
    ],
)
def test_relevance_has_the_unit_of_the_score(settings: dict[str, Any], unit: str) -> None:
    prediction = prediction_of(meta={"question": " Paris", "settings": settings})
    assert [*words.said(prediction)][-1].endswith(unit)


@pytest.mark.parametrize(
    ("meta", "shown"),
    [
        ({"reference": "mean"}, "the mean of all words for every word"),
        ({"reference": "random 0", "reference_tokens": ["a", "b", "c"]}, "random words"),
        ({"reference": "The capital of Italy is"}, "‘The capital of Italy is’"),
        ({"reference": "neutral", "reference_tokens": None}, "a neutral input"),
        ({"reference": "random 0", "totals": [1.0, 2.0]}, "2 references (random 0, ...)"),
    ],
)
def test_references_are_called_by_what_they_are(meta: dict[str, Any], shown: str) -> None:
    assert words.reference_called(prediction_of(meta=meta)) == shown


@pytest.mark.parametrize(
    ("settings", "row", "shown"),
    [
        ({"score": "logit"}, " Paris", "logit of ‘ Paris’"),
        ({"score": "logprob", "contrast": " Rome"}, " Paris rather than Rome",
         "Paris rather than Rome (difference of their logits)"),
        ({"score": "my_score"}, "my_score", "my_score"),
    ],
)  # fmt: skip
def test_scores_are_called_by_what_they_are(settings: dict[str, Any], row: str, shown: str) -> None:
    assert words.question_called(prediction_of(meta={"question": row, "settings": settings})) == shown


def test_of_several_references_the_mean_is_said_with_every_change() -> None:
    *_, last = words.said(prediction_of(meta={"totals": [7.0, 9.0]}))
    assert last == "the mean over 2 references, with which it changes by +7, +9"


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.61, "61%"),
        (-0.123, "-12%"),
        (0.0051, "0.5%"),
        (0.0001, "0.01%"),
        (0.0, "0%"),
        (9e-5, "<0.01%"),
        (-9e-5, ">-0.01%"),
    ],
)
def test_small_shares_are_not_called_0(share: float, shown: str) -> None:
    assert words.percent(share) == shown


def test_the_sum_and_the_error_stand_in_one_line() -> None:
    prediction = prediction_of()
    size = float(prediction.relevance.abs().sum())
    prediction = replace(prediction, error=torch.full((6,), 0.02 * size / 6))
    said = "the tokens add up to +8 of +8; estimated error 2% of what speaks for and against"
    assert words.adds_up(prediction) == said


def test_what_missed_its_allowance_and_notes_are_said() -> None:
    assert [*words.missed(prediction_of())] == []
    plain = prediction_of(unmet=True)
    missed, note = words.missed(replace(plain, meta={"notes": ["x\x1b[1m"]}))
    said = "1 of 10 segments are less exact than they should be, most of all the head (5.0e-03 where 1.0e-03"
    assert missed == f"{said} is allowed, 31 points)"
    assert note == "note: x\\x1b[1m"


def test_a_segment_that_missed_its_allowance_does_no_harm_where_the_whole_is_exact_enough() -> None:
    prediction = prediction_of(unmet=True)
    tol = float(prediction.meta["settings"]["tol"])
    for off, said in ((0.9 * tol, 0), (1.1 * tol, 1)):
        error = torch.full((6,), off * prediction.scale / 6)
        assert (
            len([*words.missed(replace(prediction, error=error, meta=prediction.meta | {"notes": []}))])
            == said
        )
    wrong = replace(prediction, value=prediction.value + 0.1, meta=prediction.meta | {"notes": []})
    assert abs(wrong.certificate) > tol  # what does not add up is as much a miss
    assert len([*words.missed(wrong)]) == 1


def test_kept_tokens_are_named_and_the_rest_counted() -> None:
    assert words.kept(prediction_of(kept=())) == ""
    assert words.kept(prediction_of()) == "kept, the same in both runs: ‘<|endoftext|>’"
    tokens = ["a"] * 9
    assert words.kept(prediction_of(tokens, kept=range(8))).endswith("‘a’ and 2 more")


def test_words_are_the_units_where_they_are_known() -> None:
    prediction = prediction_of()
    assert (words.units_called(prediction), len(words.units(prediction))) == ("token", 6)
    meta = {"words": [0, 1, 1, 2, 2, 2], "word_labels": ["<s>", "ab", "cde"]}
    merged = replace(prediction, meta=meta)
    assert (words.units_called(merged), [unit.name for unit in words.units(merged)]) == (
        "word", ["<s>", "ab", "cde"],
    )  # fmt: skip
    assert words.units(merged)[2].relevance == pytest.approx(float(prediction.relevance[3:].sum()))


def test_tokens_run_as_the_text_does() -> None:
    assert words.running(["The", " cat", "s", "\n", "Ċ"]) == ["The", " cat", "s", "⏎", "⏎"]
    assert words.running([" in", "Ġ", "1", "▁"]) == [" in", " ", "1", " "]
    assert (words.shown("Ġ"), words.shown("ĠĊ")) == ("␣", "Ġ⏎")
    assert words.running(["[CLS]", "w", "##his"]) == [" [CLS]", " w", "his"]


def test_tokens_and_words_that_are_called_alike_have_their_place() -> None:
    prediction = prediction_of(["the", " cat", " the", "Ċ"], kept=())
    names = [words.label(prediction, place) for place in range(4)]
    assert names == ["‘the’ (0)", "‘cat’", "‘the’ (2)", "‘⏎’"]
    assert words.called_apart(words.units(prediction)) == ["the (0)", "cat", "the (2)", "⏎"]
    assert words.tokens_called(prediction.tokens) == ["the", "cat", "␣the", "⏎"]


@pytest.mark.parametrize(
    ("value", "shown"), [(6.0, "+6.00"), (-0.26, "-0.260"), (123.4, "+123"), (1e-9, "+1.00e-09")]
)
def test_relevance_has_its_sign_and_three_digits(value: float, shown: str) -> None:
    assert words.number(value) == shown


def test_the_strongest_heads_are_those_of_all_layers_with_what_they_read() -> None:
    prediction = prediction_of(edges=[2])
    every = [
        (abs(float(values[head, place])), layer, head, place)
        for layer, values in prediction.heads.items()
        for head in range(2)
        for place in range(6)
    ]
    best = sorted(every, reverse=True)[:5]
    parts = words.strongest_heads(prediction, 5)
    assert [(part.layer, part.head, part.position) for part in parts] == [cell[1:] for cell in best]
    part = next(part for part in parts if part.layer == 2)
    row = prediction.edges(2)[part.head, part.position]
    assert part.source == int(row.abs().argmax())
    assert part.share == pytest.approx(float(row[part.source] / row.abs().sum()))
    assert words.in_words(prediction, part).startswith(f"layer 2, head {part.head} at ‘is’ reads ")
    other = next(part for part in parts if part.layer != 2)
    assert "reads" not in words.in_words(prediction, other)


@pytest.mark.parametrize(
    ("carried", "said"),
    [
        ((-3.0, 1.0, 0.0), "reads 75% from ‘capital’"),  # what a head reads most makes it what it is
        ((3.0, -2.0, -2.0), "reads 43% from ‘capital’, against the rest"),
    ],
)
def test_what_a_head_reads_is_a_share_of_all_that_it_reads(carried: tuple[float, ...], said: str) -> None:
    edges = torch.zeros(2, 6, 6)
    edges[0, 5, 2:5] = torch.tensor(carried)
    prediction = prediction_of(stored_edges={2: edges}, heads={2: edges.sum(-1)})
    first = words.strongest_heads(prediction, 1)[0]
    assert first.relevance == sum(carried)
    assert words.in_words(prediction, first) == f"layer 2, head 0 at ‘is’ {said}"


def test_a_head_in_parts_says_what_it_reads_how_it_finds_it_and_what_was_asked() -> None:
    edges = torch.zeros(2, 6, 6)
    edges[1, 5, 4], edges[1, 5, 5] = 2.0, 0.3  # what the query does is on the target's own edge
    split = torch.zeros(3, 2, 6, 6)
    split[:, 1, 5, 4] = torch.tensor([1.2, 0.8, 0.3])
    plain = prediction_of(stored_edges={2: edges}, heads={2: edges.sum(-1)})
    prediction = replace(plain, parts={2: split})
    (part,) = words.strongest_heads(prediction, 1)
    assert words.in_words(prediction, part) == (
        "layer 2, head 1 at ‘is’ reads ‘France’ (value +1.20), finds it by its key (+0.800), "
        "was asked by ‘is’ (+0.300)"
    )
    said = dict(words.strongest(prediction, 1))
    assert said["strongest by value"] == [("layer 2, head 1 at ‘is’ reads ‘France’", pytest.approx(1.2))]
    assert said["strongest by key"] == [
        ("layer 2, head 1 at ‘is’ finds ‘France’ by its key", pytest.approx(0.8))
    ]
    assert said["strongest by query"] == [("layer 2, head 1 at ‘is’ asks for ‘France’", pytest.approx(0.3))]
    assert not [title for title, _ in words.strongest(plain, 1) if "by" in title]


def test_parts_of_a_second_attention_are_named_as_its_heads() -> None:
    split = torch.zeros(3, 3, 6, 6)
    split[1, 2, 5, 0] = 2.0
    heads, cross = {2: split[0, :2].sum(-1)}, {2: split[1, 2:].sum(-1)}
    prediction = replace(prediction_of(heads=heads, cross_heads=cross), parts={2: split})
    (part,) = words.strongest_of_part(prediction, "key", 2)
    assert (part.kind, part.head, part.position, part.source) == ("second attention, head", 0, 5, 0)


def test_layers_of_several_stacks_are_called_by_their_names() -> None:
    streams = (("encoder", 0, 3), ("decoder", 3, 6))
    assert words.layer_called(prediction_of(streams=streams), 1) == "layer 1 (model.layers.1)"
    assert words.layer_called(prediction_of(), 1) == "layer 1"


def test_a_head_of_a_second_attention_reads_by_edges_after_the_first() -> None:
    edges = torch.zeros(3, 6, 6)
    edges[2, 5, 0], edges[0, 5, 4] = 2.0, 1.0
    heads, cross = {2: edges[:2].sum(-1)}, {2: edges[2:].sum(-1)}
    prediction = prediction_of(stored_edges={2: edges}, heads=heads, cross_heads=cross)
    first = words.strongest_heads(prediction, 1)[0]
    said = "layer 2, second attention, head 0 at ‘is’ reads 100% from ‘<|endoftext|>’"
    assert words.in_words(prediction, first) == said
