"""Figures of a report."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from favoured_pairs import favouring
from ligflow.corpus.analysis.estimates import PAIRS, estimate
from ligflow.corpus.reports import consistency_figures
from ligflow.corpus.reports.report import report
from ligflow.corpus.tables.schema import DIRECT
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_figures_are_well_formed_and_the_same_each_time(written: Path, tmp_path: Path) -> None:
    for path in written.parent.glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    for path in written.parent.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    again = report(written.parent.parent, tmp_path, draws=100)
    for name in ("report.md", "pairs.csv", "pairs.svg", "layers-itb-product.svg"):
        assert (again.parent / name).read_bytes() == (written.parent / name).read_bytes(), name


def test_the_heat_map_frames_the_best(tmp_path: Path) -> None:
    change = favouring("zero", "zero", "product")
    figure = consistency_figures.heat_map(estimate(run_by_hand(tmp_path, change=change), draws=100))
    for axes in figure.axes:
        assert [patch.get_y() for patch in axes.patches] == [
            PAIRS.index(("zero", "zero", "product")) - 0.48
        ] * len(DIRECT)
