"""What all figures share: scales, letters that fit, files, a missing library."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from browser import flow_of
from figure_flows import drawn, one_large_cell
from ligflow import Flow, LigflowError
from ligflow.view.canvas import SCALES
from ligflow.view.figures import plot


@pytest.fixture
def flow() -> Flow:
    return one_large_cell()


@pytest.mark.parametrize("scale", list(SCALES))
def test_scales_say_what_they_are(flow: Flow, scale: str) -> None:
    figure = plot(flow, view="z2z", scale=scale)
    image, bar = figure.axes[0].images[0], figure.axes[1]
    assert bar.get_ylabel() == SCALES[scale]
    low, high = image.get_clim()
    assert low == (0 if scale == "absolute" else -high)
    assert high == pytest.approx(np.abs(drawn(figure)).max())
    if scale == "absolute":
        np.testing.assert_allclose(drawn(figure), flow.z2z[2].abs())


@pytest.mark.parametrize("kind", ["heat", "ladder"])
@pytest.mark.parametrize("tokens", [["a", "b"], ["internationalisation", "b"], ["x" * 200, "b"]])
def test_every_text_is_inside_the_figure(kind: str, tokens: list[str]) -> None:
    for scale in [None] if kind == "ladder" else list(SCALES):
        canvas = FigureCanvasAgg(plot(flow_of(tokens), kind, scale=scale))
        canvas.draw()
        figure, drawer = canvas.figure, canvas.get_renderer()
        for axes in figure.axes:
            box = axes.get_tightbbox(drawer)
            assert min(box.x0, box.y0) >= -1
            assert (box.x1 <= figure.bbox.x1 + 1, box.y1 <= figure.bbox.y1 + 1) == (True, True)


def test_shares_are_told_in_per_cent(flow: Flow) -> None:
    bar = plot(flow).axes[1]
    assert bar.yaxis.get_major_formatter()(0.25) == "25"
    assert bar.get_ylabel() == "% of what moved the token"


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_figures_are_saved(flow: Flow, tmp_path: Path, kind: str, start: bytes) -> None:
    flow.plot("ladder", path=tmp_path / f"figure.{kind}")
    first = (tmp_path / f"figure.{kind}").read_bytes()
    assert first.startswith(start)
    flow.plot("ladder", path=tmp_path / f"figure.{kind}")
    assert (tmp_path / f"figure.{kind}").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [f"figure.{kind}"]


def test_matplotlib_that_is_missing_is_named(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[figures\]'"):
        plot(flow)
