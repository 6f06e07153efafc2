"""How projections are made, in words, and the same on a copy."""

import torch
from torch import nn

from ligflow.layer.projections import ClosedForm, Norm, ProjectionForm, on_copy
from ligflow.method.rotary import Rotation


def test_forms_have_names() -> None:
    norm = Norm(nn.LayerNorm(2), True, 1e-5)
    assert ProjectionForm(None, None, True).name == "affine"
    assert ProjectionForm(norm, None, True).name == "norm, affine"
    assert ProjectionForm(norm, norm, False).name == "norm, affine, norm"
    form = ClosedForm({"key": ProjectionForm(norm, None, True)}, {})
    assert form.name == "norm, affine"
    form.rotations[3] = ([], None)
    assert form.name == "norm, affine"
    form.rotations[4] = ([], Rotation(torch.ones(4, 2), torch.zeros(4, 2), torch.tensor([1, 0])))
    assert form.name == "norm, affine, rotary"


def test_a_copy_has_its_own_modules_and_no_known_rotations() -> None:
    own, other = nn.LayerNorm(2), nn.LayerNorm(2)
    form = ClosedForm({"key": ProjectionForm(None, Norm(own, True, 1e-5), False)}, {own: 2}, {3: ([], None)})
    copied = on_copy(form, {own: other})
    after = copied.forms["key"].after
    assert after is not None
    assert (after.module, after.eps, copied.probed, copied.rotations) == (other, 1e-5, {other: 2}, {})
