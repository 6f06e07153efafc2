"""Findings: one mode with one reason, and what follows a layer to a copy or a device."""

from typing import Any

import pytest
import torch
from torch import nn

from ligflow.layer.findings import Findings
from ligflow.layer.layer import Layer
from ligflow.layer.projections import ClosedForm, Norm, ProjectionForm
from ligflow.layer.windows import Windows


def layer(**findings: Any) -> Layer:
    hidden = torch.zeros(2, 3)
    return Layer(0, "layers.0", nn.Identity(), "x", {}, hidden, hidden, findings=Findings(**findings))


def test_a_layer_is_split_until_a_reason_is_found() -> None:
    own = layer()
    assert (own.mode, own.findings.reason) == ("split", "")
    assert [own.coupled("a").mode, own.coupled("a").whole("b").mode] == ["coupled", "whole"]
    assert own.coupled("a").whole("b").findings.reason == "b"
    assert own.mode == "split"  # nothing is written into the layer itself


@pytest.mark.parametrize(
    ("findings", "implementation"),
    [
        ({}, "ligflow"), ({"as_loaded": True}, "ligflow"), ({"mode": "coupled"}, "ligflow"),
        ({"mode": "whole"}, "eager"), ({"mode": "whole", "as_loaded": True}, None),
    ],
)  # fmt: skip
def test_the_mode_decides_how_a_layer_is_replayed(
    findings: dict[str, Any], implementation: str | None
) -> None:
    assert layer(**findings).implementation == implementation


def test_an_unknown_finding_is_refused() -> None:
    with pytest.raises(TypeError, match="entangled"):
        layer().with_findings(entangled="")


def test_on_a_copy_they_name_the_modules_of_the_copy() -> None:
    norm, matrix = nn.LayerNorm(3), nn.Linear(3, 4)
    copies = {norm: nn.LayerNorm(3), matrix: nn.Linear(3, 4)}
    form = ProjectionForm(Norm(norm, True, 1e-5), None, True)
    own = Findings(projections={matrix: 4}, closed_form=ClosedForm({"key": form}, {matrix: 4}))
    copied = own.on_copy(copies)
    assert copied.closed_form is not None
    assert copied.projections == copied.closed_form.probed == {copies[matrix]: 4}
    before = copied.closed_form.forms["key"].before
    assert before is not None
    assert before.module is copies[norm]


def test_windows_go_with_their_layer_to_a_device() -> None:
    windows = Windows(((1, 2),), torch.tensor([1, 0]))
    moved = Findings(windows=windows).on(torch.device("cpu")).windows
    assert moved is not None
    assert moved.calls == ((1, 2),)
    assert Findings().on(torch.device("cpu")).windows is None
