"""How the heads of a layer came by what they give, printed by part."""

import pytest
import torch
from rich.console import Console

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.view.heads_by_part import heads_by_part


@pytest.fixture(scope="module")
def flow() -> Flow:
    """With parts, from the mean, so that queries move."""
    architecture = ARCHITECTURES["bert"]
    return Explainer(build(architecture)).explain(
        example(architecture), routes=("z2u",), att_baseline="mean", parts=True
    )


def test_the_heads_that_moved_a_target_most_with_their_shares(flow: Flow) -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(heads_by_part(flow, layer=1, target=2, count=2))
    title, *rows = capture.get().splitlines()
    assert (
        title.split()
        == "layer 1, at ‘t2’ read (value) found (key) asked (query)".replace("t2", flow.tokens[2]).split()
    )
    heads = flow.total("z2u")[1, :, 2].abs().argsort(descending=True)[:2].tolist()
    assert len(rows) == 2
    for head, row in zip(heads, rows, strict=True):
        sizes = torch.stack(
            [getattr(flow.parts, name)[1, head, 2].abs().sum() for name in ("value", "key", "query")]
        )
        shares = [f"{100 * float(share):.0f}%" for share in sizes / sizes.sum()]
        source = flow.tokens[int(flow.parts.value[1, head, 2].abs().argmax())]
        assert row.startswith(f"head {head}, most from ‘{source}’")
        assert row.split()[-3:] == shares
    assert all(share != "0%" for share in shares)


def test_a_flow_without_parts_has_no_such_table(flow: Flow) -> None:
    names = [name for name in flow.tensors if name.split("_")[-1] in ("value", "key", "query")]
    without = Flow(
        flow.tokens, flow.layers, flow.targets, flow.special,
        {name: tensor for name, tensor in flow.tensors.items() if name not in names}, flow.meta,
    )  # fmt: skip
    assert len(names) == 3
    with pytest.raises(LigflowError, match="no parts of z2u"):
        heads_by_part(without, layer=1, target=2)
