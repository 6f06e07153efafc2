"""Figures of a report."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from favoured_pairs import favouring
from ligflow.corpus.analysis.estimates import Estimates, estimate
from ligflow.corpus.analysis.twins import Twins
from ligflow.corpus.reports import consistency_figures
from ligflow.corpus.reports.files import LOOK, write_figure
from ligflow.corpus.reports.report import report
from ligflow.corpus.tables.schema import DIRECT
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_figures_are_well_formed_and_the_same_each_time(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in written.parent.glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    for path in written.parent.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(consistency_figures, "draw", some)
    again = report(written.parent.parent, tmp_path, draws=100)
    for name in ("report.md", "pairs.csv", "pairs.svg", "layers-itb-product.svg"):
        assert (again.parent / name).read_bytes() == (written.parent / name).read_bytes(), name


def some(estimates: Estimates, twins: Mapping[str, Twins], folder: Path) -> list[Path]:
    """Of the nine figures one of each kind: all of them take many seconds."""
    pairs = write_figure(folder / "pairs", LOOK, consistency_figures.heat_map, estimates)
    lines = consistency_figures.by_layer
    return pairs + write_figure(
        folder / "layers-itb-product", LOOK, lines, estimates, twins, "itb", "product"
    )


def test_the_heat_map_frames_the_best(tmp_path: Path) -> None:
    change = favouring("zero", "zero", "product")
    found = estimate(run_by_hand(tmp_path, change=change), draws=100)
    for axes in consistency_figures.heat_map(found).axes:
        best = found.pairs.index(("zero", "zero", "product"))
        assert [patch.get_y() for patch in axes.patches] == [best - 0.48] * len(DIRECT)


def test_lines_by_layer_are_pairs_and_the_controls_that_they_have(tmp_path: Path) -> None:
    def of_others(row: Row) -> bool:
        return row["map"] == "shuffled" and row["direct"] != "itb"

    found = estimate(run_by_hand(tmp_path, drop=of_others), draws=100)
    lines = {}
    for direct in ("zero", "itb"):
        axes = consistency_figures.by_layer(found, {}, direct, "product").axes[0]
        lines[direct] = [str(line.get_label()) for line in axes.get_lines()]
    assert [label for label in lines["itb"] if "best pair" in label] == [
        "its own values in random order (best pair)", "raw attention (best pair)",
    ]  # fmt: skip
    assert [label for label in lines["zero"] if "best pair" in label] == ["raw attention (best pair)"]
    assert "ATT itb, MLP zero" in lines["zero"]
