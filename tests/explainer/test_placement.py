"""Where layers are computed."""

import torch
from torch import nn

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer
from ligflow.explainer.placement import Placement, _groups


def test_layers_are_computed_in_order_where_they_lie() -> None:
    prepared = Explainer(build(ARCHITECTURES["bert"])).prepared
    layers, calls = prepared.record(example(ARCHITECTURES["bert"], 4)), []
    placement = prepared.now().placement
    assert (placement.home, placement.devices) == (torch.device("cpu"), ())
    results = placement.compute(
        layers, lambda number: 10 * number, lambda count, of: calls.append((count, of))
    )
    assert (results, calls) == ([0, 10], [(1, 2), (2, 2)])
    assert placement.spread(layers) is layers


def test_layers_that_share_modules_are_of_one_group() -> None:
    layers = Explainer(build(ARCHITECTURES["albert"])).prepared.record(example(ARCHITECTURES["albert"], 4))
    assert _groups(layers) == [0, 0, 0]
    layers = Explainer(build(ARCHITECTURES["bert"])).prepared.record(example(ARCHITECTURES["bert"], 4))
    assert _groups(layers) == [0, 1]


def test_the_first_device_takes_the_inputs() -> None:
    assert Placement(nn.Linear(2, 2), (torch.device("meta"), torch.device("cpu"))).home.type == "meta"
