"""Arguments of recorded calls: copied containers, tensors found in them, tangents, hidden states."""

from collections import OrderedDict

import pytest
import torch
from torch.autograd import forward_ad

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import first_tensor, flat_tensors, snapshot, unpack


def test_what_a_layer_writes_into_its_arguments_stays_out_of_the_record() -> None:
    mask = torch.ones(2)
    own = OrderedDict(masks={"full": mask}, pair=(1, [mask]))
    copied = snapshot(own)
    assert copied["masks"]["full"] is mask
    copied["masks"]["full"], copied["pair"][1][0] = None, None
    assert own["masks"]["full"] is own["pair"][1][0] is mask
    assert (type(copied), type(copied["pair"])) == (OrderedDict, tuple)


def test_tensors_are_found_however_deep() -> None:
    first, second = torch.zeros(1), torch.ones(2)
    found = flat_tensors({"a": [first, {"b": (second, 3)}]})
    assert (len(found), found[0] is first, found[1] is second) == (2, True, True)
    assert flat_tensors(None) == []


def test_a_number_without_tangent_has_the_tangent_0() -> None:
    with forward_ad.dual_level():
        value, tangent = unpack(forward_ad.make_dual(torch.tensor([2.0]), torch.tensor([3.0])))
        assert (value.item(), tangent.item()) == (2, 3)
        value, tangent = unpack(torch.tensor([2.0]))
        assert (value.item(), tangent.item()) == (2, 0)


def test_hidden_states_are_the_output_or_its_first_part() -> None:
    hidden = torch.zeros(1, 2, 3)
    assert first_tensor(hidden) is first_tensor((hidden, None)) is hidden
    with pytest.raises(UnsupportedModel, match="returned str where hidden states were expected"):
        first_tensor(["hidden"])
