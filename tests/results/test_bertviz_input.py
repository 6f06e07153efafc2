"""bertviz is given one tensor a layer, of shares, as its head_view asks."""

import pytest
import torch

from browser import flow_of
from ligflow import LigflowError

TOKENS = ["[CLS]", "a", "b", "[SEP]"]


def test_rows_are_shares_of_every_head() -> None:
    flow = flow_of(TOKENS, layers=2)
    given = flow.to_bertviz()
    assert {*given} == {"attention", "tokens"}
    assert given["tokens"] == TOKENS
    assert len(given["attention"]) == 2
    for layer, attention in enumerate(given["attention"]):
        assert attention.shape == (1, flow.heads, 4, 4)
        rows = flow.z2u[layer].abs()
        torch.testing.assert_close(attention[0], rows / rows.sum(-1, keepdim=True))
        torch.testing.assert_close(attention.sum(-1), torch.ones(1, flow.heads, 4))


@pytest.mark.parametrize("view", ["layer", "through-heads", "product"])
def test_maps_without_heads_have_one(view: str) -> None:
    flow = flow_of(TOKENS, layers=2)
    maps = flow.z2z if view == "layer" else flow.composed(
        "product" if view == "product" else "conserving"
    )  # fmt: skip
    (first, _) = flow.to_bertviz(view)["attention"]
    torch.testing.assert_close(first[0, 0], (maps[0].abs() / maps[0].abs().sum(-1, keepdim=True)).float())


def test_what_heads_write_is_no_map_of_tokens() -> None:
    with pytest.raises(LigflowError, match="choose from through-heads, layer, reads, product"):
        flow_of(TOKENS).to_bertviz("writes")
