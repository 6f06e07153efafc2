"""The page on own baselines and directions: its code runs, and its rows are what the page says they are."""

import re
import runpy
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "extending.md"


@pytest.mark.usefixtures("no_shape_checks")
def test_the_blocks_of_the_page_run_and_their_rows_sum_to_the_move(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    script = tmp_path / "page.py"
    kept = [f"{block}\nflows = [*globals().get('flows', []), flow]\n" for block in blocks]
    script.write_text("\n".join(kept), encoding="utf-8")
    left = runpy.run_path(str(script))
    (first, second, third, fourth), start = left["flows"], left["start"]
    explainer, layer = left["explainer"], left["layer"]

    inputs = explainer.tokenizer(left["others"], return_tensors="pt", padding=True)
    with torch.no_grad():
        states = explainer.model(**inputs, output_hidden_states=True).hidden_states[layer]
    assert torch.allclose(start, states[inputs["attention_mask"].bool()].mean(0), atol=1e-5)

    recorded = explainer.prepared.record("The old lighthouse keeper counted the ships.")[layer]
    module = explainer.model.get_submodule(recorded.name)
    with torch.no_grad():
        (end, begin) = (
            out if isinstance(out, torch.Tensor) else out[0]
            for out in (module(recorded.hidden[None]), module(start.expand_as(recorded.hidden)[None]))
        )
    move = (end - begin)[0]
    assert torch.allclose(first.z2z[0].sum(-1), move.norm(dim=-1), rtol=2e-3)
    composed = first.composed("conserving")[0].sum(-1)
    assert torch.allclose(composed, first.z2z[0].sum(-1), rtol=3e-3)
    along = move @ left["towards"].vector
    assert ((second.z2z[0].sum(-1) - along).abs() <= 1.5e-3 * move.norm(dim=-1)).all()
    assert (fourth.z2z[0].sum(-1) - move.square().sum(-1) / 2).abs().max() <= 1e-3 * move.square().sum(
        -1
    ).max()
    means = recorded.hidden.cumsum(0) / torch.arange(1, len(recorded.hidden) + 1)[:, None]
    with torch.no_grad():
        out = module(means[None])
    causal = (end - (out if isinstance(out, torch.Tensor) else out[0]))[0]
    assert torch.allclose(third.z2z[0].sum(-1), causal.norm(dim=-1), rtol=2e-3)
    *_, total, named, squared = capsys.readouterr().out.splitlines()
    assert (total.split()[0], named[:11]) == ("sum", "causal mean")
    assert "half square" in squared
