"""Closed forms on a path, and what positions do to keys: as numbers, against their definitions."""

import pytest
import torch
from torch import Tensor

from ligflow.method.norm_affine import NormAffine, inverse_norm, on_path
from ligflow.method.rotary import fit_rotation

NODES = torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rms_ray(tokens: Tensor, weight: Tensor, eps: float) -> NormAffine:
    feature = torch.nn.functional.pad(tokens / tokens.shape[-1] ** 0.5, (0, 1), value=eps**0.5)
    return NormAffine((tokens @ weight)[None], feature[None], None)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_norm_and_an_affine_map_in_closed_form(scale: float) -> None:
    start, end, weight, eps = scale * random(5, 8), random(5, 8, seed=1), random(8, 6, seed=2), 1e-6
    values, slopes = on_path(rms_ray(start, weight, eps), rms_ray(end, weight, eps), NODES)
    for a, value, slope in zip(NODES, values, slopes, strict=True):

        def project(a: Tensor) -> Tensor:
            tokens = start + a * (end - start)
            return torch.nn.functional.rms_norm(tokens, (8,), eps=eps) @ weight

        expected, derivative = torch.func.jvp(project, (a,), (torch.ones_like(a),))
        torch.testing.assert_close(value[0], expected)
        torch.testing.assert_close(slope[0], derivative, rtol=1e-6, atol=1e-8)


def test_an_affine_map_is_a_straight_line_and_an_offset_stays() -> None:
    first, last, offset = random(2, 3, 4), random(2, 3, 4, seed=1), random(2, 3, 4, seed=2)
    values, slopes = on_path(NormAffine(first), NormAffine(last, offset=offset), NODES)
    torch.testing.assert_close(values[1], first + 0.2 * (last - first) + offset)
    torch.testing.assert_close(slopes[3], last - first)


def rotated(vectors: Tensor, tokens: int, layout: str, width: int) -> Tensor:
    """Every vector at every position under a rotary embedding of the first `width` entries."""
    half = width // 2
    angles = torch.arange(3, tokens + 3, dtype=torch.float64)[:, None] * 100.0 ** -torch.linspace(0, 1, half)
    first = torch.arange(half) if layout == "halves" else torch.arange(0, width, 2)
    second = first + (half if layout == "halves" else 1)
    out = vectors[:, None].repeat(1, tokens, 1)
    x, y = vectors[:, None, first], vectors[:, None, second]
    out[..., first] = angles.cos() * x - angles.sin() * y
    out[..., second] = angles.sin() * x + angles.cos() * y
    return out


@pytest.mark.parametrize("layout", ["halves", "pairs"])
@pytest.mark.parametrize("width", [8, 4])
def test_turns_of_any_layout_are_found(layout: str, width: int) -> None:
    turn = fit_rotation(rotated(random(8, 8), 6, layout, width))
    assert turn is not None
    other = random(3, 8, seed=5)
    placed = rotated(other, 6, layout, width)
    base = placed[:, 0]
    found = turn.cos * base[:, None] + turn.sin * base[:, None, turn.partner]
    torch.testing.assert_close(found, placed)
    torch.testing.assert_close(turn.back(placed), base[:, None].expand_as(placed))


def test_what_is_no_turn_is_not_called_one() -> None:
    vectors = random(8, 6)
    maps = torch.stack([random(6, 6, seed=seed) for seed in range(5)])
    assert fit_rotation(torch.einsum("sd,tde->ste", vectors, maps)) is None
    same = fit_rotation((vectors @ maps[0])[:, None].expand(-1, 5, -1))
    assert same is not None
    torch.testing.assert_close(same.cos, torch.ones_like(same.cos))


@pytest.mark.parametrize("larger", [1e3, 1e6])
def test_a_far_larger_start_leaves_no_trace_at_the_end(larger: float) -> None:
    start, end = larger * random(8), random(8, seed=1)
    a = torch.tensor([0.0, 0.5, 1 - 1e-3, 1 - 1e-7, 1.0]).double()  # as float32 has them
    squares = (start @ start, start @ end, end @ end)
    value, slope = inverse_norm(*(one.float() for one in squares), a.float())
    exact, derivative = torch.func.jvp(
        lambda at: (start + at[:, None] * (end - start)).norm(dim=-1).reciprocal(),
        (a,),
        (torch.ones_like(a),),
    )
    torch.testing.assert_close(value, exact.float(), rtol=1e-4, atol=0)
    assert slope.isfinite().all()
    torch.testing.assert_close(slope[[0, 1, 4]], derivative[[0, 1, 4]].float(), rtol=1e-3, atol=0)


def test_a_start_near_zero_is_not_lifted_by_a_far_larger_end() -> None:
    # the two norms of a query of Gemma under `zero`: ψ begins at (0, eps) and ends among thousands
    start, end = torch.zeros(9).double(), 1e3 * random(9)
    start[-1] = end[-1] = 1e-6
    a = torch.tensor([0.0, 1e-12, 1e-9, 1e-6, 1e-3]).double()
    squares = (start @ start, start @ end, end @ end)
    value, slope = inverse_norm(*(one.float() for one in squares), a.float())
    exact, derivative = torch.func.jvp(
        lambda at: (start + at[:, None] * (end - start)).norm(dim=-1).reciprocal(),
        (a,),
        (torch.ones_like(a),),
    )
    torch.testing.assert_close(value, exact.float(), rtol=1e-4, atol=0)
    torch.testing.assert_close(slope, derivative.float(), rtol=1e-3, atol=0)


def test_opposite_ends_meet_at_a_finite_value() -> None:
    start = random(8).float()
    square = start @ start
    value, slope = inverse_norm(square, -square, square, torch.tensor(0.5))
    assert value.isfinite()
    assert slope.isfinite()
