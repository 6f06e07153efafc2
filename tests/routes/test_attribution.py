"""Attributions put together, in float32, and of some targets."""

import torch

from ligflow.routes.attribution import Attribution, in_single, merged, of_each, on_cpu


def attribution(targets: list[float], jump: bool = False) -> Attribution:
    """Rows whose every number is the target's."""
    row = torch.tensor(targets, dtype=torch.float64)[:, None]
    return Attribution(
        row[..., None].expand(-1, 1, 3), row, row, row, row, row > 0, row[:, 0].long(), row,
        jump=row if jump else None,
    )  # fmt: skip


def test_parts_are_merged_in_the_order_of_their_targets() -> None:
    parts = [attribution([4, 1], jump=True), attribution([3, 2], jump=True)]
    whole = merged(parts, torch.tensor([1, 3, 2, 0]))
    assert whole.total[:, 0].tolist() == whole.jump[:, 0].tolist() == [1, 2, 3, 4]
    assert whole.value[:, 0].tolist() == [[1] * 3, [2] * 3, [3] * 3, [4] * 3]
    assert whole.nodes.tolist() == [1, 2, 3, 4]
    assert whole.flipped is None
    assert merged(parts[:1], torch.tensor([0, 1])) is parts[0]


def test_only_numbers_become_float32() -> None:
    single = in_single(attribution([1, -2]))
    assert (single.value.dtype, single.error.dtype) == (torch.float32, torch.float32)
    assert (single.met.dtype, single.nodes.dtype) == (torch.bool, torch.int64)
    assert single.met[:, 0].tolist() == [True, False]
    assert single.jump is None


def test_a_change_is_one_of_every_tensor() -> None:
    rows = of_each(attribution([5, 6, 7]), lambda part: part[[2, 0]])
    assert (rows.total[:, 0].tolist(), rows.nodes.tolist(), rows.value.shape) == ([7, 5], [7, 5], (2, 1, 3))
    assert on_cpu(rows).value.device.type == "cpu"
