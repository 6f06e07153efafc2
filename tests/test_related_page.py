"""The page on related work: its calls run, and its tables are those that are kept."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import attention_questions  # type: ignore[import-not-found]  # noqa: E402
import baselines  # type: ignore[import-not-found]  # noqa: E402
import pandas  # noqa: E402

PAGE = attention_questions.PAGE.read_text(encoding="utf-8")
BLOCKS = {
    **dict(attention_questions.blocks()),
    "baselines": baselines.block(pandas.read_csv(baselines.TABLE)),
}
CALLS = [
    call
    for line in PAGE.splitlines()
    if line.startswith("| ") and len(line.split(" | ")) == 4
    for call in re.findall(r"`([^`]+)`", line.split(" | ")[2])
    if re.match(r"(flow|p|encoder|decoder|trace)\b[.(]", call)
]


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_tables(name: str) -> None:
    assert f"<!-- begin {name} -->\n\n{BLOCKS[name]}\n\n<!-- end {name} -->" in PAGE


def test_the_sentences_on_heads_are_those_of_the_tables() -> None:
    frame = attention_questions.read("measures")
    cls = [frame[(frame.measure == f"{kind} cls") & (frame.layer == -1)]["mean"].item()
           for kind in ("attention", "lig", "outputs")]  # fmt: skip
    assert "attention gives it {:.2f} of a row, LIG {:.2f}, the values' sizes {:.2f}".format(*cls) in PAGE
    entropy = {
        kind: frame[frame.measure == f"{kind} entropy"]["mean"].to_numpy() for kind in ("attention", "lig")
    }
    assert (entropy["lig"] > entropy["attention"]).all()
    apart = attention_questions.read("distances").set_index("kind")
    assert {f"{ratio:.2f}" for ratio in (apart.same / apart.other)[["attention", "lig"]]} == {"0.84"}
    follows = {
        kind: frame[(frame.measure == f"permuted follows {kind}") & (frame.layer == -1)].iloc[0]
        for kind in ("attention", "lig", "sizes")
    }
    assert follows["attention"].high < follows["lig"].low
    assert follows["lig"].high < follows["sizes"].low


@pytest.mark.slow
@pytest.mark.usefixtures("no_shape_checks")
def test_calls_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], names)
    assert len(CALLS) > 20
    for call in CALLS:
        assert eval(call, names) is not None or (tmp_path / call.split('"')[1]).exists(), call
    depths = names["p"].by_depth.sum(1)
    assert (depths - names["p"].change).abs().max() <= 1e-3 * names["p"].scale
