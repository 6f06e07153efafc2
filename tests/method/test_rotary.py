"""The turn of a rotary embedding, found from the same vectors at every position."""

import pytest
import torch
from torch import Tensor

from ligflow.method.rotary import fit_rotation

DIM, TOKENS, SAMPLES = 8, 20, 12
SPEEDS = torch.tensor([1.0, 0.5, 0.1, 0.03], dtype=torch.float64)


def partners(layout: str) -> tuple[Tensor, Tensor]:
    """Of each pair its first and its second entry: halves of a vector, or neighbours."""
    pairs = torch.arange(DIM // 2)
    return (pairs, pairs + DIM // 2) if layout == "halves" else (2 * pairs, 2 * pairs + 1)


def turned(vectors: Tensor, layout: str, begin: int = 0) -> Tensor:
    """`[sample, token, dim]`: each pair turned by its angle at each position."""
    first, second = partners(layout)
    angle = torch.arange(begin, begin + TOKENS, dtype=torch.float64)[:, None] * SPEEDS
    placed = vectors[:, None].repeat(1, TOKENS, 1)
    x, y = vectors[:, None, first], vectors[:, None, second]
    placed[..., first] = x * angle.cos() - y * angle.sin()
    placed[..., second] = y * angle.cos() + x * angle.sin()
    return placed


def samples() -> Tensor:
    return torch.randn(SAMPLES, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", ["halves", "neighbours"])
@pytest.mark.parametrize("begin", [0, 7])
def test_angles_and_pairs_are_found_in_any_layout(layout: str, begin: int) -> None:
    rotation = fit_rotation(turned(samples(), layout, begin))
    assert rotation is not None
    first, second = partners(layout)
    assert rotation.partner[first].equal(second)
    assert rotation.partner[second].equal(first)
    angle = torch.arange(TOKENS, dtype=torch.float64)[:, None] * SPEEDS  # relative to the first position
    torch.testing.assert_close(rotation.cos[:, first], angle.cos())
    torch.testing.assert_close(rotation.cos[:, second], angle.cos())
    torch.testing.assert_close(rotation.sin[:, first], -angle.sin())
    torch.testing.assert_close(rotation.sin[:, second], angle.sin())


def test_turning_back_gives_the_key_at_the_first_position() -> None:
    placed = turned(samples(), "halves")
    rotation = fit_rotation(placed)
    assert rotation is not None
    others = torch.randn(3, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        rotation.back(turned(others, "halves")), others[:, None].expand(-1, TOKENS, -1)
    )


def test_entries_that_do_not_turn_stay() -> None:
    placed = turned(samples(), "halves")
    placed[..., 0], placed[..., 4] = placed[:, :1, 0], placed[:, :1, 4]  # as under a partial rotation
    rotation = fit_rotation(placed)
    assert rotation is not None
    torch.testing.assert_close(rotation.back(placed), placed[:, :1].expand_as(placed))


def test_what_is_no_turn_is_none() -> None:
    placed = turned(samples(), "halves")
    assert (
        fit_rotation(placed + 0.01 * torch.randn(placed.shape, generator=torch.Generator().manual_seed(2)))
        is None
    )
    assert fit_rotation(placed + 1) is None
