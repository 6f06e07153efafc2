"""`ligflow compare`: what is printed, what is in the folder, bad input."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from ligflow.explainer.pretrained import load
from two_models import TEXTS, perturbed

Command = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture(scope="module")
def minilm() -> tuple[Any, Any]:
    return load("embedded:minilm", torch.float32)


def test_the_command(minilm: tuple[Any, Any], tmp_path: Path, run: Command) -> None:
    call = partial(run, "compare")
    other, source, out = tmp_path / "copy", tmp_path / "some.txt", str(tmp_path / "out")
    perturbed(minilm[0], 1, 4).save_pretrained(other)
    minilm[1].save_pretrained(other)
    source.write_text("\n".join(TEXTS), encoding="utf-8")
    arguments = ("embedded:minilm", str(other), "--corpus", str(source), "--out", out, "--draws", "100")
    status, said, _ = call(*arguments, "--layers", "0,1")
    assert status == 0
    assert said.splitlines()[-1] == f"wrote {out}/compare.md"
    page = Path(out, "compare.md").read_text()
    assert said.splitlines()[0] in page
    assert "Too few sentences for the tests of" in said
    assert not {"*", "`"} & {*said}
    for line in said.splitlines()[1:-1]:
        assert f"- {line}" in page.replace("**", "").replace("`", "")
    names = {"compare.md", "compare.svg", "compare.png", "differences.csv", "differences.parquet"}
    names |= {"words.csv", "words.parquet"}
    assert {path.name for path in Path(out).iterdir()} == names
    text = (Path(out) / "compare.md").read_text(encoding="utf-8")
    assert "**1 of 24 heads stand out** from the others of their layer: layer 1 head 4" in text
    assert "9 sentences, layers 0, 1, over tokens; each layer of B on the hidden states of A." in text
    frame = pandas.read_csv(Path(out) / "differences.csv")
    assert frame[frame.found & (frame.family == "route")][["layer", "head"]].values.tolist() == [[1, 4]]
    assert "## What these heads read differently" in text
    words = pandas.read_csv(Path(out) / "words.csv")
    assert words[words.distance > 1e-4][["layer", "head"]].drop_duplicates().values.tolist() == [[1, 4]]
    source.write_text("\n".join(TEXTS[:2]), encoding="utf-8")
    own = call(*arguments, "--layers", "0", "--own-inputs")
    assert own[0] == 0
    assert "each model by itself" in (Path(out) / "compare.md").read_text(encoding="utf-8")
    assert "an interval takes at least 100" in call(*arguments[:-1], "9")[2]
    assert "--margin is 0.5; what stands out is over the others" in call(*arguments, "--margin", "0.5")[2]
    assert "There is no layer 8" in call(*arguments, "--layers", "8")[2]
