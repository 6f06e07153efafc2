"""The sentence in large type and the one under the heading: what a picture says, by the tensors."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from browser import flow_of
from ligflow import Flow
from pages import TOKENS, WORDS, Open


@pytest.fixture(scope="module")
def flow() -> Flow:
    """Head 1 of layer 1 reads the token after; what [CLS] reads is all over the place."""
    made = flow_of([*TOKENS[:-1], "counted", "ships", "[SEP]"])
    z2u = made.z2u.clone()
    z2u[1, 1] = 0.1
    z2u[1, 1][range(1, 7), range(2, 8)] = torch.tensor([2.0, 3, 4, 5, 6, 7])
    return replace(made, tensors={**made.tensors, "z2u": z2u})


def percent(share: float) -> str:
    return f"{100 * share:.{1 if abs(share) < 0.0995 else 0}f}%"


def said(shown: Any) -> str:
    return str(shown.inner_text(".says"))


def test_what_a_head_reads_is_said_with_its_range(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=h1&layer=1")
    kept = flow.z2u[1, 1, 1:6, 1:7]  # special tokens hidden as sources, left out as targets
    share = torch.stack([kept[r, r + 1] / kept[r].abs().sum() for r in range(5)])
    words = f"{share.mean():.0%} of what moves its output ({share.min():.0%} to {share.max():.0%}, 5 tokens)"
    assert said(shown) == f"Head 1 of layer 1 reads mostly the token after: {words}"
    assert shown.inner_text(".caption").startswith("Each row is what head 1 puts out at one token;")
    shown.keyboard.press(",")  # a head without such a habit: the sources of the mean row
    mean = (flow.z2u[1, 0, :, 1:7] / flow.z2u[1, 0, :, 1:7].abs().sum(-1, keepdim=True)).mean(0)
    best = int(mean.abs().argmax())
    assert said(shown).startswith(
        f"Head 0 of layer 1 reads most from {flow.tokens[1 + best]} {percent(float(mean[best]))},"
    )


def test_how_far_two_agree_is_said(opened: Open) -> None:
    one, two = flow_of(TOKENS, seed=1, **WORDS), flow_of(TOKENS, seed=2, **WORDS)
    shown = opened(one, two, state="map=z2z&layer=0&beside=1&special=0&pin=t2")
    first, second = (f.z2z[0, 2] / f.z2z[0, 2].abs().sum() for f in (one, two))
    agreed = 1 - float((first - second).abs().sum()) / 2
    far = int((first - second).abs().argmax())
    points = 100 * float(first[far] - second[far])
    assert said(shown) == (
        f"The two agree on {agreed:.0%} of what moves light; furthest apart at {TOKENS[far]}, "
        f"{abs(points):.1f} points {'less' if points < 0 else 'more'} in the first"
    )


def test_what_moved_the_pinned_token_is_said_of_the_layer_that_is_shown(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=z2z&layer=0&pin=t3")
    row = flow.z2z[0, 3, 1:7]
    best = int(row.abs().argmax())
    share = float(row[best] / row.abs().sum())
    assert said(shown).startswith(
        f"house is moved in layer 0 most by {flow.tokens[1 + best]} {percent(share)}"
    )
    assert shown.inner_text(".caption").endswith(
        "Pinned is ‘house’, and the lines are its own alone; Esc frees it."
    )
    shown.keyboard.press("Escape")
    assert said(shown) == "Click a token to see what moved it"
