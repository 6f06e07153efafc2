"""`ligflow corpus faithfulness`: what is printed and written."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from small_trial import TEXTS

Command = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_the_command(tmp_path: Path, run: Command) -> None:
    call = partial(run, "corpus", "faithfulness")
    source, out = tmp_path / "some.txt", str(tmp_path / "out")
    source.write_text("\n".join(TEXTS[:2]), encoding="utf-8")
    arguments = (
        str(source),
        "--out",
        out,
        "--layers",
        "1",
        "--steps",
        "3",
        "--shuffled",
        "1",
        "--pairs",
        "4",
        "--draws",
        "100",
    )
    status, said, _ = call(*arguments)
    assert status == 0
    assert said.splitlines()[-1] == f"wrote {out}/faithfulness.md"
    assert "Sources replaced by zero, Shapley, rank: LIG direct itb, projection " in said
    assert "Sources replaced by target, between: " in said
    names = {f"faithfulness.{kind}" for kind in ("md", "svg", "png")}
    names |= {f"{table}.{kind}" for table in ("standings", "verdicts") for kind in ("csv", "parquet")}
    assert {path.name for path in Path(out).iterdir()} == {*names, "sentences"}
    text = (Path(out) / "faithfulness.md").read_text(encoding="utf-8")
    assert (
        "2 sentences, layer 1; 8 orders for each Shapley value, curves of 3 steps, k = 3; 0 integrals" in text
    )
    assert text.count("| value zeroing |") == 13  # ranks and curves by three replacements, twice; the shuffle
    assert text.count("| ceiling |") == 12
    assert "an interval takes at least 100" in call(*arguments[:-1], "9")[2]
    assert "holds another trial" in call(*arguments[:-3], "5")[2]
    assert "There is no layer 9" in call(str(source), "--out", str(tmp_path / "no"), "--layers", "9")[2]
