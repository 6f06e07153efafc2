"""Parts that give no gradient back, and layers that cannot be differentiated, are named."""

import pytest
import torch
from torch import Tensor, nn

from ligflow.errors import UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.recording.lost_gradients import part_without_gradient, refuse_lost_gradient, refuse_no_gradient


class Block(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.part(hidden)


class Detached(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return 3 * hidden.detach()


class Constant(nn.Module):
    """What is read for its shape follows nothing."""

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.ones_like(hidden)


class Overwritten(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        scores = hidden.softmax(-1)
        return scores.mul_(2)


def layer(part: nn.Module) -> Layer:
    hidden = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return Layer(2, "layers.2", Block(part), "hidden", {}, hidden, hidden)


def test_a_part_without_a_gradient_is_named_though_the_residual_has_one() -> None:
    assert part_without_gradient(layer(Detached())) == "part (Detached)"
    with pytest.raises(UnsupportedModel, match=r"no gradient comes back through part \(Detached\)"):
        refuse_lost_gradient(layer(Detached()))


@pytest.mark.parametrize("part", [nn.Linear(4, 4), Constant(), nn.Identity()])
def test_parts_with_a_gradient_or_without_an_input_lose_none(part: nn.Module) -> None:
    assert part_without_gradient(layer(part)) == ""
    refuse_no_gradient(layer(part))
    assert not any(module._forward_hooks for module in part.modules())


def test_what_is_overwritten_cannot_be_differentiated() -> None:
    with pytest.raises(UnsupportedModel, match=r"Layer 2 \(layers\.2, Block\) cannot be differentiated"):
        refuse_no_gradient(layer(Overwritten()))
