"""The page on related work: its calls run, and its tables are those that are kept."""

import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import attention_questions  # type: ignore[import-not-found]  # noqa: E402
import baselines  # type: ignore[import-not-found]  # noqa: E402
import head_distances  # type: ignore[import-not-found]  # noqa: E402
import pandas  # noqa: E402
import permuted_rows  # type: ignore[import-not-found]  # noqa: E402

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
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], names)
    assert len(CALLS) > 20
    for call in CALLS:
        assert eval(call, names) is not None or (tmp_path / call.split('"')[1]).exists(), call
    depths = names["p"].by_depth.sum(1)
    assert (depths - names["p"].change).abs().max() <= 1e-3 * names["p"].scale


def test_lig_of_a_head_whose_weights_are_held_adds_up_to_how_far_its_output_moved() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 5, generator=generator, dtype=torch.float64).softmax(-1)
    values = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    found = permuted_rows._lig(weights, values, 2)
    torch.testing.assert_close(found.sum(-1), (weights @ values - values[2]).norm(dim=-1))
    assert (found[:, 2] == 0).all()  # from the target's own vector the target itself does not move
    line = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None, None]
    path = (values[2] + line * (values - values[2])).requires_grad_()  # integrated gradients, by brute force
    (gradient,) = torch.autograd.grad((weights[0] @ path - values[2]).norm(dim=-1)[1:].sum(), path)
    cells = (gradient[1:].mean(0) * (values - values[2])).sum(-1)
    torch.testing.assert_close(found[0], cells)


def test_distances_of_heads_are_those_of_jensen_and_shannon() -> None:
    rows = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]]], dtype=torch.float64)
    found = head_distances.js_distances(rows)
    one = math.log(2) - 0.0
    half = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) - math.log(2) / 2
    assert found == pytest.approx(np.array([[0, one, half], [one, 0, half], [half, half, 0]]), abs=1e-12)
