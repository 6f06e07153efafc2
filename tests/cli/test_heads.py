"""`ligflow corpus heads`: what is printed and written."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ligflow.corpus.analysis.head_profiles import MIXED, labels, profiles
from ligflow.corpus.runs.store import Run

Command = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_the_command(kept: Run, tmp_path: Path, run: Command) -> None:
    call = partial(run, "corpus", "heads")
    out = str(tmp_path / "out")
    code, printed, _ = call(str(kept.folder), "--out", out, "--draws", "100", "--att-baseline", "itb")
    lines = printed.splitlines()
    assert (code, lines[0], lines[-1]) == (0, "2 sentences, z2u under itb.", f"wrote {out}/heads.md")
    heads = labels(profiles(kept, draws=100))
    previous = [f"layer {layer} head {head}" for (layer, head), kind in heads.items() if kind == "previous"]
    mainly = sum(kind != MIXED for kind in heads.values())
    assert "layer 0 head 2" in previous
    assert f"{mainly} of 24 heads route mainly to one kind of place:" in lines
    assert f"previous: {len(previous)} ({', '.join(previous)})" in lines
    assert "an interval takes at least 100" in call(str(kept.folder), "--draws", "9")[2]
    assert (
        "--att-baseline 'median' is unknown; choose from target (itb), zero, mean"
        in call(str(kept.folder), "--att-baseline", "median")[2]
    )
    assert "holds no run" in call(str(tmp_path))[2]
