"""What follows attention, replayed for (node, row) pairs: z' and the way back."""

import pytest
import torch
from torch import Tensor

from brute_force import by_differences
from families import FAMILIES, layer_of
from ligflow.paths.after_attention import finish, pull_back
from ligflow.paths.batch import LayerBatch, alone

ROWS = torch.tensor([1, 4, 5])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_real_heads_give_the_recorded_output(name: str) -> None:
    for _, layer, _ in layer_of(name):
        u = layer.attend(layer.hidden[None])[:, ROWS]
        image = finish(alone(layer), layer.hidden[None][:, ROWS], u, ROWS)
        torch.testing.assert_close(image[0, :, 0], layer.output[ROWS])


@pytest.mark.parametrize("name", FAMILIES)
def test_pairs_side_by_side_are_pairs_in_their_own_columns(name: str) -> None:
    """Of 2 x 3 pairs on six tokens one run is full; of 3 x 3 the second is filled up; 3 are a short one."""
    for _, layer, _ in layer_of(name):
        for nodes in (1, 2, 3):
            generator = torch.Generator().manual_seed(nodes)
            hidden = torch.randn(nodes, 3, 32, generator=generator).double()
            heads, dim = layer.attend(layer.hidden[None]).shape[2:]
            u = torch.randn(nodes, 3, heads, dim, generator=generator).double()
            packed, in_columns = (
                finish(alone(layer.with_findings(positionwise=side_by_side)), hidden, u, ROWS)
                for side_by_side in (True, False)
            )
            torch.testing.assert_close(packed, in_columns)
            whole = layer.hidden.expand(nodes, -1, -1).index_copy(1, ROWS, hidden)
            every = torch.zeros(nodes, 6, heads, dim).double().index_copy(1, ROWS, u)
            torch.testing.assert_close(packed[:, :, 0], layer.finish(whole, every)[:, ROWS])


COTANGENT = torch.linspace(-1, 1, 32, dtype=torch.float64)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_way_back_is_that_of_differences(name: str) -> None:
    """For one scalar of z', its change as z_j moves along a vector, and as each head does."""
    for _, layer, _ in layer_of(name):
        batch, row = alone(layer), torch.tensor([4])
        z, u = layer.hidden[row], layer.attend(layer.hidden[None])[0, row]
        to_hidden, (to_u,) = pull_back(batch, z[None], u[None], row, COTANGENT.expand_as, moves=True)
        assert to_hidden is not None

        def scalar(hidden: Tensor, heads: Tensor, batch: LayerBatch = batch) -> Tensor:
            copies = max(len(hidden), len(heads))
            pairs = hidden.expand(copies, 1, -1), heads.expand(copies, 1, -1, -1)
            return finish(batch, *pairs, torch.tensor([4]))[:, 0] @ COTANGENT

        generator = torch.Generator().manual_seed(1)
        step = torch.randn(z.shape, generator=generator).double()
        slope = by_differences(lambda copies, u=u: scalar(copies, u[None]), z, step)
        torch.testing.assert_close(slope, (to_hidden * step).sum(-1), rtol=1e-6, atol=1e-8)
        step = torch.randn(u.shape[1:], generator=generator).double()
        slope = by_differences(lambda copies, z=z: scalar(z[None], copies[:, None]), u[0], step)
        torch.testing.assert_close(slope[0], (to_u[0, 0] * step).sum(-1), rtol=1e-6, atol=1e-8)


def test_a_residual_that_stays_has_no_slope() -> None:
    for _, layer, _ in layer_of("bert"):
        u = layer.attend(layer.hidden[None])[:, ROWS]
        to_hidden, _ = pull_back(
            alone(layer), layer.hidden[None][:, ROWS], u, ROWS, torch.ones_like, moves=False
        )
        assert to_hidden is None
