"""What a segment should sum to, by token of all streams, and the error that two changes leave."""

import torch

from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import (
    extrapolated,
    on_one_axis,
    relevance_by_token,
    sum_of,
    terms_rounding,
)

X = Variable(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.ones(2, 2))  # steps 1, 0 and -1, 2
E = Variable(torch.tensor([[5.0]]), torch.tensor([[1.0]]), offset=2)  # a token of another stream


def test_sums_are_those_of_cotangents_by_steps_on_one_axis() -> None:
    segment = Segment("f", 0, "f", ("x",), ("x", "e"), dict)
    above = {"x": torch.tensor([[[1.0, 7.0], [2.0, 3.0]]]), "e": torch.tensor([[[0.5]]])}
    sought = sum_of(segment, {"x": X, "e": E}, above)
    assert sought.by_token(3).tolist() == [[1.0, 4.0, 2.0]]
    assert float(sought.total) == 7
    eps = torch.finfo(torch.float32).eps
    torch.testing.assert_close(sought.rounding, torch.tensor([(1 + 0 + 2 + 6 + 2) * eps]).double())
    terms = terms_rounding({"x": X, "e": E}, above)  # |1 + 0| + |-2 + 6|, and 2: signs do not cancel
    torch.testing.assert_close(terms, torch.tensor([[1.0, 2 + 6, 2.0]]).double() * eps)
    assert relevance_by_token({"x": X, "e": E}, above).tolist() == [[1.0, 4.0, 2.0]]
    assert on_one_axis([torch.ones(1, 2), torch.ones(1, 1)], [X, X], 2).tolist() == [[2.0, 1.0]]


def test_an_error_falls_on_as_it_fell() -> None:
    before, change = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.tensor([0.1, 1e-4, 2.0, 0.5])
    wanted = torch.tensor([0.1 * 0.1**1.5, 1e-4 * 0.02, 2.0, 0.5])
    torch.testing.assert_close(extrapolated(before, change), wanted)
    likely = torch.tensor([0.1 * 0.1**2, 1e-4 * 0.001, 2.0, 0.5])
    torch.testing.assert_close(extrapolated(before, change, careful=False), likely)
