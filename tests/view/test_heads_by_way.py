"""By which ways a layer moved a token, printed by head."""

import pytest
from rich.console import Console

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.view.heads_by_way import heads_by_way


def _flow(split: bool, baseline: str = "mean") -> Flow:
    explainer = Explainer(build(ARCHITECTURES["bert"]))
    return explainer.explain(example(ARCHITECTURES["bert"]), "z2z", layer_baseline=baseline, split=split)


def _lines(flow: Flow, count: int = 2) -> list[str]:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(heads_by_way(flow, layer=1, target=2, count=count))
    return capture.get().splitlines()


def test_the_heads_that_most_passes_and_what_passes_attention() -> None:
    flow = _flow(split=True)
    title, *rows = _lines(flow)
    assert title.split()[-6:] == ["of", "its", "move", "through", "the", "MLP"]
    whole = float(flow.z2z[1, 2].abs().sum())
    heads = flow.z2z_heads[1, :, 2]
    order = heads.abs().sum(-1).argsort(descending=True).tolist()
    for head, row in zip(order, rows[:2], strict=False):
        source = flow.tokens[int(heads[head].abs().argmax())]
        mlp, part = flow.z2z_mlp[1, head, 2], heads[head]
        share = float(mlp.abs().sum() / (mlp.abs().sum() + (part - mlp).abs().sum()))
        assert row.startswith(f"head {head}, most from ‘{source}’")
        assert row.split()[-2:] == [
            f"{round(100 * float(part.sum()) / whole)}%", f"{round(100 * share)}%",
        ]  # fmt: skip
    assert rows[2].startswith("past attention, from itself")
    assert rows[2].split()[-2] == f"{round(100 * float(flow.z2z_residual[1, 2]) / whole)}%"
    error = float(flow.split_error[1, 2] * flow.tensors["z2z.scale"][1, 2])
    assert rows[3].split()[-1] == f"{100 * error / whole:.1g}%"
    assert len(rows) == 4


def test_what_does_not_move_has_no_line() -> None:
    lines = _lines(_flow(split=True, baseline="itb"), count=4)
    assert len(lines) == 6
    assert not any(line.startswith("past attention") for line in lines)


def test_a_flow_without_them_has_no_such_table() -> None:
    with pytest.raises(LigflowError, match="no z2z_heads"):
        heads_by_way(_flow(split=False), layer=1, target=2)
