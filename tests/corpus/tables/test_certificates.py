"""Certificates as rows: the worst of the heads, and the flips."""

from dataclasses import replace

import pytest
import torch

import hand_made
from ligflow import Explainer
from ligflow.corpus.tables.certificates import certify
from ligflow.corpus.tables.experiment import VARIANTS, Experiment, named

GAINS = (1.0, 3.0)


IDS = torch.tensor([[3, 7, 9, 11, 20, 7]])


def test_cells_hold_the_worst_of_the_heads_and_the_flips() -> None:
    explainer = Explainer(hand_made.build(GAINS))
    flows = named(explainer.explain_under({"input_ids": IDS}, Experiment().variants))
    frame = certify(0, flows).to_pandas().set_index(["route", "baseline", "target"])
    z2u = flows["z2u", "zero"]
    assert frame.loc[("z2u", "zero", 3), "total"] == pytest.approx(float(z2u.total("z2u")[0, :, 3].sum()))
    assert frame.loc[("z2u", "zero", 3), "cells"] == 2
    assert frame.loc[("z2z", "itb", 3), "cells"] == 1
    assert frame["unmet"].sum() == 0
    worst = z2u.certificate("z2u")[0].abs().amax(0)
    assert frame.loc[("z2u", "zero")]["certificate"].abs().tolist() == pytest.approx(worst.tolist())
    noted = [note for note in flows["z2z", "itb_zero_ratio"].meta["notes"] if "turned the signs" in note]
    flipped = frame.loc[("z2z", "itb_zero_ratio")]["flipped"].sum()
    assert flipped == (int(noted[0].split("signs of ")[1].split()[0]) if noted else 0)
    assert frame.loc[("z2z", "itb")]["flipped"].sum() == 0


def test_cells_of_two_layers_are_at_their_layer_and_target() -> None:
    explainer = Explainer(hand_made.build(GAINS, layers=2))
    flows = named(explainer.explain_under({"input_ids": IDS}, Experiment().variants))
    frame = certify(0, flows).to_pandas().set_index(["route", "baseline", "layer", "target"]).sort_index()
    for route, baseline in VARIANTS:
        one, rows = flows[route, baseline], frame.loc[(route, baseline)]
        total = one.total(route).sum(1) if route == "z2u" else one.total(route)
        assert rows["total"].to_numpy().reshape(2, 6) == pytest.approx(total.numpy(), rel=1e-6)
        assert rows["nodes"].to_numpy().reshape(2, 6).tolist() == one.nodes(route).tolist()
        assert rows["token"].tolist() == 2 * one.tokens


def test_a_row_whose_self_share_is_above_1_is_one_flip() -> None:
    """Of one head, layer and target; its column is as tame as all others."""
    explainer = Explainer(hand_made.build(GAINS, layers=2))
    flows = dict(named(explainer.explain_under({"input_ids": IDS}, Experiment().variants)))
    z2u = torch.ones(2, 2, 6, 6)
    z2u[1, 1, 3] = -0.2
    z2u[1, 1, 3, 3] = 2
    zero = flows["z2u", "zero"]
    flows["z2u", "zero"] = replace(zero, tensors={**zero.tensors, "z2u": z2u})
    frame = certify(0, flows).to_pandas()
    rows = frame[(frame.route == "z2u") & (frame.flipped > 0)]
    assert rows[["baseline", "layer", "target", "flipped"]].values.tolist() == [["itb_zero_ratio", 1, 3, 1]]
