"""Products with weights are seen where they depend on the input, whoever applies the weight."""

import torch
from torch import nn

from ligflow.layer.weight_products import OnProjections, made_by


def test_products_with_weights_are_noted_with_their_place() -> None:
    torch.manual_seed(0)
    first, bare = nn.Linear(3, 4).requires_grad_(False), torch.randn(4, 2)
    x = torch.randn(5, 3, requires_grad=True)
    place = iter("ab")
    with OnProjections(lambda: next(place)) as seen:
        hidden = first(x).relu()
        image = hidden @ bare + 1.0
        (image @ image.T).sum()  # no weight
        first(torch.ones(1, 3))  # of what depends on nothing
    assert [each.where for each in seen.noted] == ["a", "b"]
    torch.testing.assert_close(seen.noted[1].units, hidden)
    torch.testing.assert_close(seen.noted[0].output, first(x))
    assert seen.noted[0].output.grad_fn in made_by([seen.noted[1].units])
    assert seen.noted[1].output.grad_fn not in made_by([seen.noted[0].units, hidden])


def test_a_constant_that_is_added_is_its_bias() -> None:
    x, weight, bias = torch.randn(5, 3, requires_grad=True), torch.randn(3, 2), torch.randn(2)
    with OnProjections() as seen:
        torch.matmul(x, weight) + bias
    assert seen.noted[0].bias is bias
