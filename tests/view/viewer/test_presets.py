"""Questions with one click: what they set, and that the numbers under them are those of the tensors."""

from typing import Any

import numpy as np
import pytest
import torch

from browser import flow_of
from ligflow import Flow
from pages import TOKENS, WORDS, Open, chosen, close, lines, map_of, state_of, table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def asked(shown: Any) -> list[str]:
    """The questions that stand as asked."""
    return list(shown.eval_on_selector_all('.presets [aria-pressed="true"]', "all => all.map(e => e.name)"))


def shares(values: torch.Tensor) -> torch.Tensor:
    return values / values.abs().sum(-1, keepdim=True)


def test_each_question_sets_map_rule_and_what_stands_beside(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="layer=1&map=z2z&pin=t3&special=0")
    assert lines(shown, ".presets button") == [
        "What made this token’s vector z → u → z′",
        "What a head reads z → u",
        "Direct against composed z → z′, z → u → z′",
    ]
    assert asked(shown) == []
    shown.click('[name="ask-vector"]')
    assert asked(shown) == ["ask-vector"]
    close(map_of(shown), flow.composed()[1])
    writes = flow.u2z[1, :, 3].abs()
    shown.keyboard.press("2")
    assert (asked(shown), chosen(shown, "map")) == (["ask-head"], f"h{int(writes.argmax())}")
    close(map_of(shown), flow.z2u[1, int(writes.argmax())])
    shown.keyboard.press("3")
    assert asked(shown) == ["ask-against"]
    assert shown.inner_text("h2") == "Layer 1: direct against composed"
    link = state_of(shown)
    rows = [row for row in table(shown) if " minus " in row["map"]]
    assert {row["map"] for row in rows} == {"z2z minus composed conserving"}
    found = np.array([float(row["value"]) for row in rows]).reshape(6, 6)
    close(found, shares(flow.z2z[1]) - shares(flow.composed()[1]))
    again = opened(flow, state=link)
    assert asked(again) == ["ask-against"]
    again.keyboard.press("1")
    assert (asked(again), chosen(again, "map"), chosen(again, "besideMap")) == (
        ["ask-vector"],
        "composed",
        "",
    )


def test_a_flow_is_asked_only_what_it_can_answer(opened: Open) -> None:
    shown = opened(flow_of(TOKENS, routes=("z2u",)), state="map=z2u")
    assert lines(shown, ".presets button") == ["What a head reads z → u"]


def test_two_models_stand_side_by_side_with_the_difference_of_what_both_have(opened: Open) -> None:
    """Heads pair by number, what is past the heads with its like; another layer is named."""
    small, large = flow_of(TOKENS, layers=2, heads=3, seed=1), flow_of(TOKENS, layers=4, heads=5, seed=2)
    shown = opened(small, large, state="map=u2z&layer=1&colour=value&beside=1&besideLayer=3&pin=t2")
    writes = [
        torch.cat([one.u2z[row].mT, one.tensors["u2z_residual"][row][:, None]], 1)
        for one, row in ((small, 1), (large, 3))
    ]
    rows = [row for row in table(shown) if " minus " in row["layer"]]
    assert {row["layer"] for row in rows} == {"1 minus 3"}
    found = np.array([float(row["value"]) for row in rows]).reshape(6, 4)
    close(found, writes[0] - writes[1][:, [0, 1, 2, 5]])
    assert shown.inner_text("h2") == "Layer 1 against layer 3: which heads write"
    assert [line.split(" · ‘light’")[0][-7:] for line in lines(shown, ".details > div")] == [
        "layer 1",
        "layer 3",
    ]
    assert asked(shown) == ["ask-beside"]
