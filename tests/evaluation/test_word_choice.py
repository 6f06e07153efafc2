"""Which word a row chooses, by hand."""

import pytest
import torch

from ligflow.evaluation.word_choice import OFFSETS, answerable, hits, hits_of_offsets, strongest

pytestmark = pytest.mark.usefixtures("no_shape_checks")

ROWS = torch.tensor([[9.0, 1.0, -5.0], [3.0, 9.0, 4.0], [0.5, 0.2, 9.0]])
OTHERS = ~torch.eye(3, dtype=torch.bool)
RIGHT = torch.zeros(2, 3, 3, dtype=torch.bool)
RIGHT[0, 0, 2] = RIGHT[0, 1, 0] = RIGHT[1, 2, 0] = RIGHT[1, 2, 1] = True


def test_the_strongest_is_chosen_by_magnitude_among_candidates() -> None:
    assert strongest(ROWS, OTHERS).tolist() == [2, 2, 0]
    assert strongest(ROWS, OTHERS & torch.tensor([True, True, False])).tolist()[:2] == [1, 0]


def test_hits_and_rows_that_can_be_right() -> None:
    maps = torch.stack([ROWS, ROWS.flip(1)])[None]  # one layer, two heads
    assert hits(maps, RIGHT, OTHERS).tolist() == [[[1, 2]], [[1, 1]]]
    assert answerable(RIGHT, OTHERS).tolist() == [[True, True, False], [False, False, True]]
    barred = OTHERS & torch.tensor([True, True, False])
    assert answerable(RIGHT, barred).tolist() == [[False, True, False], [False, False, True]]
    assert hits(maps, RIGHT, barred).tolist() == [[[1, 1]], [[1, 1]]]


def test_offsets_are_counted_over_what_may_be_chosen() -> None:
    """Word 1 is barred, so that word 2 comes next after word 0."""
    order = torch.tensor([1, 1, 2])
    barred = OTHERS.clone()
    barred[1] = barred[:, 1] = False
    found = hits_of_offsets(RIGHT, barred, order)
    assert found[:, OFFSETS.index(1)].tolist() == [1, 0]
    assert found[:, OFFSETS.index(-1)].tolist() == [0, 1]
    assert found.sum() == 2
    assert 0 not in OFFSETS
