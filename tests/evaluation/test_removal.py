"""Removed sources against the unmodified layer on hidden states with those sources replaced."""

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from ligflow import Explainer, LigflowError, UnsupportedModel
from ligflow.evaluation.removal import REPLACEMENTS, ablation
from ligflow.layer.layer import Layer
from ligflow.routes.workspace import Selection
from recorded_layers import CASES, recorded


def by_forward(layer: Layer, place: Selection, replacement: str, removed: Tensor) -> Tensor:
    """`z'_j` of the layer itself, a copy of the hidden states for each set and target."""
    z, targets = layer.hidden, place.targets
    values = {"zero": torch.zeros_like(z), "target": z, "mean": z[place.visible].mean(0).expand_as(z)}
    changed = z.expand(*removed.shape[:2], *z.shape).clone()
    for number, of_set in enumerate(removed):
        for row, (target, sources) in enumerate(zip(targets, of_set, strict=True)):
            changed[number, row, place.visible[sources]] = values[replacement][target]
    output = layer.forward(changed.flatten(0, 1)).unflatten(0, removed.shape[:2])
    return output[:, torch.arange(len(targets)), targets]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("name", "tokens", "padding"), CASES)
def test_removal_equals_the_layer_on_replaced_sources(name: str, tokens: int, padding: int) -> None:
    for _, layer, place in recorded(ARCHITECTURES[name], torch.float64, tokens, padding):
        count = len(place.visible)
        removed = torch.rand(4, count, count, generator=torch.Generator().manual_seed(1)) < 0.5
        removed[0] = True
        removed[1] = False
        for replacement in REPLACEMENTS:
            ours = ablation(layer, place, replacement).image(removed)
            theirs = by_forward(layer, place, replacement, removed)
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_some_targets_and_a_callers_replacement() -> None:
    for _, layer, place in recorded(ARCHITECTURES["llama"], torch.float64, 6, 0):
        some = Selection(place.visible, torch.tensor([2, 5]))
        vector = torch.randn(32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        removed = torch.zeros(1, 2, 6, dtype=torch.bool)
        removed[0, 1, [1, 5]] = True
        found = ablation(layer, some, vector).image(removed)[0]
        changed = layer.hidden.clone()
        changed[[1, 5]] = vector
        torch.testing.assert_close(found[0], layer.output[2], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found[1], layer.forward(changed[None])[0, 5], rtol=1e-8, atol=1e-8)


def test_blocks_do_not_change_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, layer, place in recorded(ARCHITECTURES["bert"], torch.float64, 6, 0):
        removed = torch.rand(7, 6, 6, generator=torch.Generator().manual_seed(1)) < 0.5
        whole = ablation(layer, place, "target")
        expected = whole.image(removed)
        monkeypatch.setattr("ligflow.evaluation.removal.default_budget", lambda _device: 1)
        torch.testing.assert_close(whole.image(removed), expected, rtol=1e-12, atol=1e-12)


def test_a_replacement_that_is_not_there() -> None:
    for _, layer, place in recorded(ARCHITECTURES["bert"], torch.float32, 3, 0):
        with pytest.raises(LigflowError, match=r"Unknown replacement 'mask'; choose from zero, target, mean"):
            ablation(layer, place, "mask")
        with pytest.raises(LigflowError, match=r"shape \(5,\) does not fit"):
            ablation(layer, place, torch.zeros(5))


def test_a_layer_that_cannot_be_split() -> None:
    explainer = Explainer(build(WHOLE_ONLY["mamba"]))
    layer = explainer.prepared.record(example(WHOLE_ONLY["mamba"], 4))[0]
    place = Selection(torch.arange(4), torch.arange(4))
    with pytest.raises(
        UnsupportedModel, match=r"Sources of layer 0 cannot be removed: its attention neither"
    ):
        ablation(layer, place, "zero")
