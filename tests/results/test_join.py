"""Flows with different routes of one example, as one."""

import pytest
import torch

from architectures import ARCHITECTURES, build
from ligflow import Explainer, LigflowError
from ligflow.results.join import join

IDS = {"input_ids": torch.tensor([[3, 7, 9, 11]])}


@pytest.fixture(scope="module")
def bert() -> Explainer:
    return Explainer(build(ARCHITECTURES["bert"]))


def test_a_joined_flow_is_the_flow_of_its_settings(bert: Explainer) -> None:
    settings = {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "itb"}
    whole = bert.explain(IDS, **settings)
    parts = [bert.explain(IDS, routes=route, **settings) for route in ("z2u", "u2z", "z2z")]
    found = join(parts)
    assert found.routes == whole.routes
    assert set(found.tensors) == set(whole.tensors)
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    for rule in ("conserving", "product"):
        torch.testing.assert_close(found.composed(rule), whole.composed(rule), rtol=1e-4, atol=1e-5)
    asked = found.meta["settings"]
    assert {name: asked[name] for name in settings} == settings
    assert asked["routes"] == ["z2u", "u2z", "z2z"]
    assert asked["scalarization"] == whole.meta["settings"]["scalarization"]


def test_flows_that_do_not_belong_together_are_refused(bert: Explainer) -> None:
    one, two = (bert.explain(IDS, routes=route) for route in ("z2u", "u2z"))
    with pytest.raises(LigflowError, match="hold a route twice"):
        join([one, one])
    with pytest.raises(LigflowError, match="of other tokens"):
        join([one, bert.explain(IDS, routes="u2z", layers=0)])
    with pytest.raises(LigflowError, match="of other tokens"):
        join([one, bert.explain({"input_ids": torch.tensor([[3, 7]])}, routes="u2z")])
    assert join([one, two]).routes == ("z2u", "u2z")
