"""Which map is shown, and what its columns are."""

import pytest
import torch

from architectures import ARCHITECTURES, example
from five_tokens import TOKENS
from ligflow import Explainer, Flow, LigflowError
from ligflow.view.select import available, row_shares, select


def test_views_follow_from_the_routes(flow: Flow, explainer: Explainer) -> None:
    assert available(flow) == ["conserving", "z2z", "z2u", "u2z", "product"]
    inputs = example(ARCHITECTURES["bert"], tokens=2)
    assert available(explainer.explain(inputs, routes=("u2z",))) == ["u2z"]
    assert available(explainer.explain(inputs, routes=("z2u", "z2z"))) == ["z2z", "z2u"]


def test_select_gives_the_map_of_a_layer_with_its_columns(flow: Flow) -> None:
    values, columns, title = select(flow, "z2z", 1, None)
    assert values.equal(flow.z2z[1])
    assert (columns, title) == (TOKENS, "Layer 1: token to token")
    for rule in ("conserving", "product"):
        assert select(flow, rule, 0, None)[0].equal(flow.composed(rule)[0])


def test_select_of_heads(flow: Flow) -> None:
    torch.testing.assert_close(select(flow, "z2u", 1, None)[0], flow.z2u[1].sum(0), rtol=0, atol=0)
    assert select(flow, "z2u", 1, 3)[0].equal(flow.z2u[1, 3])
    assert select(flow, "z2u", 1, 3)[2] == "Layer 1: what head 3 reads"
    values, columns, _ = select(flow, "u2z", 1, None)
    assert columns == ["h0", "h1", "h2", "h3", "res"]
    assert values[:, :4].equal(flow.u2z[1].T)
    assert values[:, 4].equal(flow.u2z_residual[1])


@pytest.mark.parametrize("head", [4, -1, 99])
def test_a_head_out_of_range_is_refused_with_the_range(flow: Flow, head: int) -> None:
    with pytest.raises(LigflowError, match=f"no head {head}: there are 4, numbered 0 to 3"):
        select(flow, "z2u", 1, head)


def test_an_unknown_view_or_layer_is_refused(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Unknown view 'heat'; choose from conserving, z2z, z2u, u2z"):
        select(flow, "heat", 1, None)
    with pytest.raises(LigflowError, match="Layer 7 is not in this flow"):
        select(flow, "z2z", 7, None)


def test_row_shares_keep_signs_and_divide_no_row_by_zero() -> None:
    shares = row_shares(torch.tensor([[6.0, -2, 2, 0, 0], [0, 0, 0, 0, 0]]))
    torch.testing.assert_close(shares, torch.tensor([[0.6, -0.2, 0.2, 0, 0], [0, 0, 0, 0, 0]]))
