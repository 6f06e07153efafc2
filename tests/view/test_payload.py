"""A flow as the bytes that the page reads."""

import base64
import re

import numpy as np
import pytest
import torch

from browser import flow_of
from ligflow import Flow, LigflowError
from ligflow.view.interactive_page import page
from ligflow.view.payload import pack, quantise
from pages import (
    TOKENS,
    WORDS,
    Open,
    map_of,
)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def test_large_maps_are_8_bit_and_the_legend_says_so(opened: Open, flow: Flow) -> None:
    data = pack(flow, exact_bytes=100)
    html = page([flow])
    coarse = re.sub(r'(class="flow"[^>]*>)[^<]*', lambda m: m[1] + base64.b64encode(data).decode(), html)
    shown = opened(html=coarse, state="map=h1&layer=0&special=0")
    step = flow.z2u[0, 1].abs().amax(-1, keepdim=True) / 127
    assert (np.abs(map_of(shown) - flow.z2u[0, 1].numpy()) <= 0.51 * step.numpy()).all()
    assert "z2u" in shown.get_attribute(".legend", "aria-label")
    assert "8-bit numbers" in shown.get_attribute(".legend", "aria-label")
    shown.select_option('[name="map"]', "composed")
    known = flow.composed()[0]
    assert (
        np.abs(map_of(shown) - known.numpy()) <= 0.51 * known.abs().amax(-1, keepdim=True).numpy() / 127
    ).all()


def test_quantised_rows_are_within_half_a_step() -> None:
    maps = torch.randn(3, 4, 50)
    maps[1, 2] = 0
    values, step = quantise(maps)
    assert values.dtype == torch.int8
    assert ((values * step[..., None] - maps).abs() <= 0.5001 * step[..., None]).all()
    assert not values[1, 2].any()


def test_pages_that_no_browser_could_open_are_refused(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Explain fewer layers or targets, or leave out route z2u"):
        pack(flow, limit_bytes=100)
    with pytest.raises(LigflowError, match="at least one flow"):
        page([])
