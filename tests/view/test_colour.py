"""Colours of signed shares, and letters that can be read on them."""

import torch

from ligflow.view.colour import on, shade


def test_colours_of_the_ends_and_of_nothing() -> None:
    assert (shade(0.0), shade(1.0), shade(-1.0)) == ("#ffffff", "#2166ac", "#d95f0e")
    assert (shade(5.0), shade(-5.0)) == (shade(1.0), shade(-1.0))
    assert shade(0.25) == "#90b2d6"  # half the ink


def test_text_can_be_read_on_every_shade() -> None:
    assert (on("#ffffff"), on("#000000"), on(shade(1.0))) == ("#000000", "#ffffff", "#ffffff")
    for share in torch.linspace(-1, 1, 41).tolist():
        assert contrast(shade(share), on(shade(share))) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
