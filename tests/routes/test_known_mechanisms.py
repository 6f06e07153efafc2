"""The exact map of a layer by head points at mechanisms that are known, with no head chosen."""

import sys
from pathlib import Path

import pytest
import torch

from inducing import LENGTH, inducing, texts_of_pairs
from ligflow import Explainer

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "scripts"))
from mechanisms import MECHANISMS, maps_of


def _strongest_source(heads: torch.Tensor, target: int) -> int:
    """Of all heads of a layer, but for the target itself."""
    sizes = heads[:, target].abs().sum(0)
    sizes[target] = 0
    return int(sizes.argmax())


@pytest.mark.parametrize(("baseline", "share"), [("itb", 0.95), ("zero", 0.95), ("mean", 0.8)])
def test_induction_in_a_model_that_has_nothing_else(baseline: str, share: float) -> None:
    """The second layer reads what followed the same token, the first the position before."""
    found, before = [], []
    for row in texts_of_pairs(torch.Generator().manual_seed(1))[:8]:
        flow = inducing().explain(
            {"input_ids": row[None]},
            routes="z2z",
            split=True,
            layer_baseline=baseline,  # type: ignore[arg-type]
        )
        ids = row.tolist()
        for at in range(LENGTH + 1, len(ids) - 1, 2):
            followed = {n + 1 for n in (*range(1, LENGTH), *range(LENGTH + 1, at, 2)) if ids[n] == ids[at]}
            found.append(_strongest_source(flow.z2z_heads[1], at) in followed)
        before += [_strongest_source(flow.z2z_heads[0], at) == at - 1 for at in range(2, LENGTH + 1)]
    assert sum(found) >= share * len(found)
    assert sum(before) >= 0.95 * len(before)
    assert len(found) == 64


@pytest.mark.slow
def test_repetition_shows_what_followed() -> None:
    """Of all heads and all positions before, the ten that repetition adds most to."""
    maps = maps_of(Explainer.from_pretrained("embedded:smollm2"), 10, count=1)
    sources = {maps.text.offset(name): name for name in MECHANISMS}
    strongest = [sources.get(offset, "another") for _, offset, _ in maps.strongest()]
    assert strongest.count("what followed") >= 5
    assert strongest.count("another") <= 1
