"""Heads that find relations: by hand, against a plain loop over words, and what chance finds."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from browser import flow_of
from ligflow import Flow, LigflowError
from ligflow.corpus.analysis.head_relations import (
    ANY,
    TO_DEPENDENT,
    TO_HEAD,
    Choice,
    Found,
    answer,
    best_of_each,
    found,
    held_against,
    questions_of,
)
from ligflow.corpus.sources.sentence import Sentence
from ligflow.evaluation.bootstrap import weights
from ligflow.evaluation.verdicts import BETTER, OPEN, WORSE
from ligflow.evaluation.word_choice import OFFSETS
from one_head import ABOUT, SENTENCE, TOKENS

pytestmark = pytest.mark.usefixtures("no_shape_checks")

ASKED = ((ANY, TO_HEAD), (ANY, TO_DEPENDENT), ("det", TO_HEAD), ("punct", TO_HEAD))


def read(rows: torch.Tensor, sentence: Sentence = SENTENCE) -> Iterator[tuple[Sentence, Flow, torch.Tensor]]:
    flow = flow_of(TOKENS, layers=1, heads=1, **ABOUT)
    yield sentence, flow, rows[None, None].double()


def shares(rows: torch.Tensor, choice: Choice) -> list[float]:
    answers = answer(read(rows), ASKED, choice, draws=100)
    return [float(share) for share in answers.heads[0, :, 0, 0]]


def test_special_tokens_and_punctuation_are_no_candidates() -> None:
    rows = torch.full((6, 6), 1e-9)
    rows[:, 0] = rows[:, 5] = 5.0  # every word reads [CLS] and [SEP] most
    rows[1, 4], rows[1, 2:4] = 2.0, 1.0  # then `the` reads `.`, then `lighthouse`, its head
    rows[2:4, 4], rows[2:4, 1] = 3.0, 1.0  # and `lighthouse` too, then `the`
    rows[4, 1], rows[4, 2:4] = 1.0, -2.0  # `.` hangs from `lighthouse`
    nan = float("nan")
    np.testing.assert_array_equal(shares(rows, Choice()), [1, 1, 1, nan])
    assert shares(rows, Choice(punctuation=True)) == [0.5, 1, 0, 1]  # `.` hangs from `lighthouse` too


def test_words_of_many_pieces_have_no_advantage() -> None:
    """`lighthouse` has two pieces: by their sum it outweighs `.`, by their mean it does not."""
    rows = torch.full((6, 6), 1e-9)
    rows[1, 2:4], rows[1, 4] = 1.0, 1.5
    assert shares(rows, Choice(punctuation=True))[2] == 0
    assert shares(rows, Choice(punctuation=True, pieces="sum"))[2] == 1
    with pytest.raises(LigflowError, match="Unknown pieces 'max'; choose from mean, sum"):
        Choice(pieces="max")


# --- many sentences -----------------------------------------------------------------------------------

WORDS = 7


def corpus(count: int = 40) -> list[Sentence]:
    """Sentences of seven words, whose heads are drawn; `near` hangs from the next word, `far` from any."""
    sentences = []
    for number in range(count):
        draw = np.random.default_rng(number)
        heads = [int(draw.choice([h for h in range(WORDS) if h != w])) for w in range(WORDS)]
        labels = ["far"] * WORDS
        for word in (0, 1):
            heads[word], labels[word] = word + 1, "near:sub"
        heads[WORDS - 1], labels[WORDS - 1] = -1, "root"
        spans = tuple((2 * w, 2 * w + 1) for w in range(WORDS))
        text = " ".join("abcdefg")
        sentences.append(Sentence(number, text, "x", spans, tuple(heads), tuple(labels)))
    return sentences


def maps(sentences: list[Sentence], causal: bool = False) -> Iterator[tuple[Sentence, Flow, torch.Tensor]]:
    """Three heads: one knows heads, one reads the next word, one reads at random."""
    tokens = ["[CLS]", *"abcdefg", "[SEP]"]
    about = {
        "words": list(range(9)), "word_labels": tokens, "word_places": [-1, *range(WORDS), -1],
    }  # fmt: skip
    for sentence in sentences:
        flow = flow_of(tokens, layers=1, heads=3, **about)
        rows = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(sentence.number)).double()
        for word, head in enumerate(sentence.heads or ()):
            if head >= 0:
                rows[0, 0, 1 + word, 1 + head] = -5
            rows[0, 1, 1 + word, 2 + word] = 5
        rows[..., 0] = 10
        yield sentence, flow, rows.tril() if causal else rows


def by_loop(asked: tuple[str, str], head: int, sentences: list[Sentence], causal: bool) -> tuple[int, int]:
    """Rows that can be right, and are, counted word by word."""
    rows, right = 0, 0
    for sentence, _, values in maps(sentences, causal):
        size = values[0, head].abs()
        for target in range(WORDS):
            wanted = []
            for dependent, above in enumerate(sentence.heads or ()):
                label = (sentence.relations or ())[dependent].split(":")[0]
                if above >= 0 and asked[0] in (ANY, label):
                    mine, other = (dependent, above) if asked[1] == TO_HEAD else (above, dependent)
                    if mine == target and (not causal or other <= target):
                        wanted.append(other)
            if wanted:
                others = [word for word in range(WORDS if not causal else target + 1) if word != target]
                rows += 1
                right += max(others, key=lambda word: float(size[1 + target, 1 + word])) in wanted
    return rows, right


@pytest.mark.parametrize("causal", [False, True])
def test_shares_are_those_of_a_plain_loop(causal: bool) -> None:
    sentences = corpus(12)
    asked = questions_of(sentences, fewest=20)
    assert asked == tuple((name, way) for name in (ANY, "far", "near") for way in (TO_HEAD, TO_DEPENDENT))
    answers = answer(maps(sentences, causal), asked, draws=100)
    for place, question in enumerate(asked):
        for head in range(3):
            rows, right = by_loop(question, head, sentences, causal)
            assert answers.rows[place] == rows
            if rows:
                assert answers.heads[0, place, 0, head] == pytest.approx(right / rows)
    assert questions_of([Sentence(0, "no heads", "x")]) == ()


def test_heads_are_held_against_the_best_offset_of_each_question() -> None:
    sentences = corpus()
    rows = found(answer(maps(sentences), questions_of(sentences), draws=300))
    by_key = {(row.relation, row.direction, row.head): row for row in rows}
    near = [by_key["near", TO_HEAD, head] for head in range(3)]
    assert {row.offset for row in near} == {1}
    assert [row.by_offset for row in near] == [1, 1, 1]
    assert [row.outcome for row in near] == [OPEN, OPEN, WORSE]  # both right ones are as good as the offset
    far = [by_key["far", TO_HEAD, head] for head in range(3)]
    assert far[0].share == 1
    assert far[0].over == pytest.approx(1 - far[0].by_offset)
    assert far[0].over_low > 0.3
    assert [row.outcome for row in far] == [BETTER, OPEN, OPEN]
    assert {row.offset for row in far} <= set(OFFSETS)
    best = {(row.relation, row.direction): row.head for row in best_of_each(rows)}
    assert len(best) == 6
    assert best["far", TO_HEAD] == best[ANY, TO_HEAD] == 0


def test_sentences_of_one_document_are_drawn_together() -> None:
    """Every draw counts the right rows and the rows of whole documents, by hand."""
    sentences = corpus(12)
    documents = {sentence.number: sentence.number // 3 for sentence in sentences}
    answers = answer(maps(sentences), [(ANY, TO_HEAD)], draws=100, clusters=documents)
    counts = np.array([by_loop((ANY, TO_HEAD), 1, [sentence], False) for sentence in sentences])
    weight = weights(0, range(4), 100).repeat(3, axis=1)
    known = weight.any(axis=1)  # a draw without any document has no share
    expected = (weight @ counts[:, 1])[known] / (weight @ counts[:, 0])[known]
    np.testing.assert_allclose(answers.heads[known, 0, 0, 1], expected)
    assert (answers.sentences, answers.clusters) == (12, 4)


def test_heads_of_chance_are_surely_better_at_nothing() -> None:
    """Twenty corpora of heads at random: 5% of them may have one that looks surely better at something."""
    wrong, draw = 0, torch.Generator().manual_seed(0)
    for repeat in range(20):
        sentences = [replace(one, number=one.number + 1000 * repeat) for one in corpus(30)]
        noise = ((one, flow, torch.rand(1, 12, 9, 9, generator=draw)) for one, flow, _ in maps(sentences))
        wrong += any(
            row.outcome == BETTER for row in found(answer(noise, questions_of(sentences), draws=200))
        )
    assert wrong <= 2


def test_two_kinds_of_maps_side_by_side() -> None:
    sentences = corpus()
    asked = questions_of(sentences)
    ours = answer(maps(sentences), asked, draws=300)
    other = answer(((s, flow, rows.roll(1, 1)) for s, flow, rows in maps(sentences)), asked, draws=300)
    beside = held_against(ours, other)
    far = asked.index(("far", TO_HEAD))
    np.testing.assert_allclose(beside.difference, (ours.heads - other.heads)[0])
    assert beside.outcome[far, 0].tolist() == [BETTER, WORSE, OPEN]  # each head is where the next one was
    with pytest.raises(LigflowError, match="ask both maps the same"):
        held_against(ours, answer(maps(sentences[:5]), asked, draws=300))


def test_what_cannot_be_asked() -> None:
    with pytest.raises(LigflowError, match="No sentence that was explained has words and syntactic heads"):
        answer(read(torch.ones(6, 6), Sentence(0, "the lighthouse.", "x")), ASKED)
    some = flow_of(TOKENS, layers=1, heads=1, targets=[1, 2], **ABOUT)
    with pytest.raises(LigflowError, match="explain all targets of a sentence"):
        answer([(SENTENCE, some, some.z2u)], ASKED)


def test_one_sentence_tells_nothing() -> None:
    rows = found(answer(read(torch.eye(6).roll(1, 1)), ASKED, draws=100))
    assert {row.outcome for row in rows} == {OPEN}
    assert all(isinstance(row, Found) for row in rows)
