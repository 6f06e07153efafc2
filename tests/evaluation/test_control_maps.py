"""Maps that know less than a composed one."""

import torch

from ligflow.evaluation.control_maps import heads_alike, heads_permuted, mean_row, neighbour


def test_heads_write_their_mean_or_what_another_head_writes() -> None:
    u2z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    alike, permuted = heads_alike(u2z), heads_permuted(u2z, torch.Generator().manual_seed(1))
    assert torch.allclose(alike, u2z.sum(1, keepdim=True).expand_as(u2z) / 5)
    assert not (permuted == u2z).any()
    assert torch.equal(permuted.sort(dim=1).values, u2z.sort(dim=1).values)
    assert torch.equal(heads_permuted(u2z[:, :1], torch.Generator().manual_seed(1)), u2z[:, :1])


def test_the_mean_row_is_over_targets_that_compare_the_source() -> None:
    rows = torch.tensor([[1.0, 9.0, 9.0], [2.0, 3.0, 9.0], [6.0, 5.0, 4.0]])
    causal = torch.ones(3, 3, dtype=torch.bool).tril()
    assert mean_row(rows, causal).tolist() == [[3.0, 4.0, 4.0]] * 3
    assert mean_row(rows, causal & ~torch.eye(3, dtype=torch.bool)).tolist() == [[4.0, 5.0, 0.0]] * 3


def test_a_neighbour_is_the_next_target_or_the_one_before_the_end() -> None:
    rows = torch.arange(9.0).reshape(1, 3, 3)
    assert neighbour(rows)[0].tolist() == rows[0][[1, 2, 1]].tolist()
    assert torch.equal(neighbour(rows[:, :1]), rows[:, :1])
