"""Path variables: points between two runs, rows of examples, sums by token."""

import torch

from ligflow.prediction.path_variable import Variable

REAL = torch.arange(6.0).reshape(3, 2)
REFERENCE = torch.ones(3, 2)


def test_points_lie_on_the_line_from_the_reference_to_the_input() -> None:
    variable = Variable(REAL, REFERENCE)
    at = variable.at(torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(at, torch.stack([REFERENCE, 0.75 * REFERENCE + 0.25 * REAL, REAL]))
    assert variable.step.equal(REAL - 1)
    assert variable.count == 3
    assert Variable(REAL, REFERENCE, axis=1).count == 2
    assert Variable(REAL, REFERENCE, axis=-1).count == 1


def test_examples_of_a_point_follow_one_another() -> None:
    both = Variable(torch.stack([REAL, 2 * REAL]), torch.zeros(2, 3, 2), rows=True)
    at = both.at(torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(at, torch.stack([REAL / 2, REAL, REAL, 2 * REAL]))
    assert both.count == 3
    assert both.of(1).real.equal(2 * REAL)
    assert not both.of(1).rows
    assert both.only(torch.tensor([1])).real.equal(2 * REAL[None])


def test_products_are_summed_over_all_but_tokens() -> None:
    products = torch.stack([REAL, 10 * REAL])  # of two rows of an answer
    assert Variable(REAL, REFERENCE).by_token(products).tolist() == [[1, 5, 9], [10, 50, 90]]
    assert Variable(REAL, REFERENCE, axis=1).by_token(products).tolist() == [[6, 9], [60, 90]]
    assert Variable(REAL, REFERENCE, axis=-1).by_token(products).tolist() == [15, 150]
