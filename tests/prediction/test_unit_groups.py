"""The axis of hidden units: which weights are experts, what they are called, and that all stand on it."""

import pytest
from torch import empty, nn

from ligflow.errors import UnsupportedModel
from ligflow.prediction.unit_groups import (
    UnitGroup,
    WeightPlace,
    place_of,
    unit_axis,
    weights_like,
)


class Layer(nn.Module):
    """Experts of three forms behind a list of two parts, as encoder-decoders have it, and dense modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = nn.Parameter(empty(3, 4, 2))
        experts = {f"expert_{n}": nn.ModuleDict({"wo": nn.Linear(4, 2)}) for n in range(3)}
        named = nn.ModuleDict({"experts": nn.ModuleDict(experts)})
        self.part = nn.ModuleList([nn.Linear(2, 2), named])
        self.experts = nn.ModuleList([nn.ModuleDict({"w2": nn.Linear(4, 2)}) for _ in range(3)])
        self.dense = nn.ModuleDict({"fc1": nn.Linear(2, 4), "fc2": nn.Linear(4, 2)})
        self.shared_experts = nn.ModuleDict({"down_proj": nn.Linear(4, 2)})


@pytest.mark.parametrize(
    ("place", "like"),
    [
        (WeightPlace("fused", 1), [WeightPlace("fused", n) for n in range(3)]),
        (
            WeightPlace("part.1.experts.expert_2.wo.weight"),
            [WeightPlace(f"part.1.experts.expert_{n}.wo.weight") for n in range(3)],
        ),
        (WeightPlace("experts.1.w2.weight"), [WeightPlace(f"experts.{n}.w2.weight") for n in range(3)]),
        (WeightPlace("dense.fc2.weight"), []),
        (WeightPlace("part.0.weight"), []),
        (WeightPlace("shared_experts.down_proj.weight"), []),
    ],
    ids=["slices of a parameter", "by name", "in a list", "an MLP's second module", "a part", "alone"],
)
def test_weights_of_experts_are_found_from_one_of_them(place: WeightPlace, like: list[WeightPlace]) -> None:
    assert weights_like(place, Layer()) == {each: number for number, each in enumerate(like)}


def test_experts_that_were_not_seen_have_their_units_too() -> None:
    seen, shared = WeightPlace("part.1.experts.expert_1.wo.weight"), "shared_experts.down_proj.weight"
    axis = unit_axis({seen: 4, WeightPlace(shared): 5}, {seen}, {seen}, Layer())
    assert axis.groups == (
        UnitGroup("expert 0", 4), UnitGroup("expert 1", 4), UnitGroup("expert 2", 4),
        UnitGroup("shared experts", 5), UnitGroup("expert 0, output bias", 1),
        UnitGroup("expert 1, output bias", 1), UnitGroup("expert 2, output bias", 1),
    )  # fmt: skip
    assert (axis.first[seen], axis.first[WeightPlace(shared)], axis.biases[seen], axis.size) == (
        4,
        12,
        18,
        20,
    )
    assert WeightPlace("part.1.experts.expert_2.wo.weight") in axis.gated


def test_a_weight_alone_has_units_without_a_name_and_a_bias_where_it_is_gated() -> None:
    place = WeightPlace("dense.fc2.weight")
    assert unit_axis({place: 4}, (), {place}, Layer()).groups == (UnitGroup("", 4),)
    gated = unit_axis({place: 4}, {place}, {place}, Layer())
    assert gated.groups == (UnitGroup("", 4), UnitGroup("output bias", 1))


def test_a_weight_is_found_by_its_memory() -> None:
    layer = Layer()
    assert place_of(layer.fused[2].T, layer) == WeightPlace("fused", 2)
    assert place_of(layer.fused, layer) == WeightPlace("fused")
    assert place_of(layer.dense["fc2"].weight.T, layer) == WeightPlace("dense.fc2.weight")
    with pytest.raises(UnsupportedModel, match="no parameters of the layer"):
        place_of(empty(4, 2), layer)
