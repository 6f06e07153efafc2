"""Textbook cases of heads in SmolLM2, none of them chosen: what the strongest read, carry, and cost.

Heads are ranked by what their edges carry from earlier tokens to the last one. Beside them stand others of
the same layers, drawn at random: a ranking that says nothing would give these as much.
"""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import mean

import pytest
import torch

from ligflow import Explainer

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "scripts"))
from textbook_cases import PARTS, Case, Explained, explained, objects, subjects

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_shape_checks")]


@pytest.fixture(scope="module")
def smollm2() -> Explainer:
    return Explainer.from_pretrained("embedded:smollm2")


def known(explainer: Explainer, cases: Sequence[Case]) -> list[Explained]:
    """Those whose right word the model prefers, and more so than in the reference."""
    each = [explained(explainer, case) for case in cases]
    return [one for one in each if one.known]


def share(every: Sequence[Explained], part: str, *words: str) -> float:
    """How many of the strongest heads have their strongest edge at one of these words."""
    return mean(each.reads(head, part) in words for each in every for head in each.strongest(part))


def against_others(every: Sequence[Explained], part: str) -> list[tuple[float, float, float, float]]:
    """What the strongest carry, in size, and what the score loses without them; then others of the layers."""
    generator, rows = torch.Generator().manual_seed(0), []
    for each in every:
        strongest = each.strongest(part)
        for heads in (strongest, each.others(strongest, generator)):
            rows.append((sum(map(abs, each.carried(heads, *PARTS))), each.lost(heads)))
    return [(*strong, *other) for strong, other in zip(rows[::2], rows[1::2], strict=True)]


def means(rows: Sequence[tuple[float, ...]]) -> list[float]:
    return [mean(column) for column in zip(*rows, strict=True)]


def test_a_subject_at_a_distance(smollm2: Explainer) -> None:
    """The reference differs in the number of the subject alone, so that nothing else can bring it in. What
    could fail: that heads take it from a token on the way, as the noun between, or that many heads do."""
    every = known(smollm2, [*islice(subjects(), 0, None, 5)])
    assert len(every) >= 4
    assert share(every, "value", "subject") > 0.7
    assert share(every, "value", "between") < 0.2
    carried, lost, carried_by_others, lost_without_others = means(against_others(every, "value"))
    assert min(carried, lost) > 0.7
    assert max(carried_by_others, abs(lost_without_others)) < 0.15


def test_who_receives_is_read_where_the_name_stands(smollm2: Explainer) -> None:
    """The reference has another receiver; heads read the name, not who gives or a word behind."""
    every = known(smollm2, [*islice(objects("receiver"), 2, None, 3)])
    assert len(every) >= 4
    assert share(every, "value", "receiver") > 0.8
    carried, _, carried_by_others, _ = means(against_others(every, "value"))
    assert carried > 2 * carried_by_others


def test_the_repeated_name_is_read_and_asks_for_the_other_one(smollm2: Explainer) -> None:
    """The reference repeats the other name, behind both: their keys and values stay, so that heads which look
    at them can only be asked otherwise, by what other heads read before. What could fail: that it is read
    from a token behind the name, or that what is asked does not go to the two names."""
    every = known(smollm2, [*islice(objects("giver"), 2, None, 3)])
    assert len(every) >= 4
    assert share(every, "value", "giver again") > 0.8
    carried, lost, carried_by_others, lost_without_others = means(against_others(every, "value"))
    assert min(carried, lost) > 0.7
    assert max(carried_by_others, abs(lost_without_others)) < 0.25
    assert share(every, "query", "receiver", "giver") > 0.8
    read = mean(layer for each in every for layer, _ in each.strongest("value"))
    assert read < mean(layer for each in every for layer, _ in each.strongest("query"))
