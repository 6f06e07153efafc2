"""Which tokens of a layer were given, where its model pads by itself."""

import torch
from torch import Tensor, nn

from ligflow.layer.layer import Layer
from ligflow.recording.inner_padding import given_rows, is_unseen

TABLE = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


class Mean(nn.Module):
    """Adds the mean of the first `seen` tokens."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + hidden[:, : self.seen].mean(1, keepdim=True)


def padded(name: str, tokens: Tensor, seen: int = 3) -> Layer:
    """The first layer of a model that fills its tokens up to 6, before and after them."""
    vectors = tokens[0] if name == "inputs_embeds" else TABLE[tokens[0]]
    hidden = torch.cat([TABLE[49:], vectors, TABLE[49:].expand(5 - len(vectors), -1)])
    return Layer(0, "layers.0", Mean(seen), "hidden", {}, hidden, hidden)


def test_given_tokens_are_those_whose_rows_move() -> None:
    for name, tokens in (
        ("input_ids", torch.tensor([[3, 9, 4]])),
        ("input_ids", torch.tensor([[7, 7]])),
        ("inputs_embeds", TABLE[None, 5:9]),
    ):
        rows = given_rows({name: tokens}, padded(name, tokens), padded)
        assert rows is not None
        assert rows.tolist() == list(range(1, 1 + tokens.shape[1]))


def test_as_many_tokens_as_were_given_need_no_look() -> None:
    whole = torch.tensor([[1, 2, 3, 4, 5, 6]])
    assert given_rows({"input_ids": whole}, padded("input_ids", whole[:, :3]), padded) is None
    assert given_rows({"pixel_values": torch.zeros(1, 3)}, padded("input_ids", whole[:, :3]), padded) is None


def test_padding_that_takes_part_is_told() -> None:
    tokens, rows = torch.tensor([[3, 9, 4]]), torch.tensor([1, 2, 3])
    assert not is_unseen(padded("input_ids", tokens, seen=6), rows)
    first = torch.tensor([0, 1, 2])
    assert is_unseen(padded("input_ids", tokens, seen=3), first)
