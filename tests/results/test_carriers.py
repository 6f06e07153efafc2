"""Which heads hand relevance down a layer: what is handed down in all, and each by its own share."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow
from ligflow.results.carriers import carried
from ligflow.results.tracing import trace


@pytest.fixture(scope="module")
def flow() -> Flow:
    explainer = Explainer(build(ARCHITECTURES["bert"]))
    return explainer.explain(example(ARCHITECTURES["bert"], 5), "z2z", layer_baseline="mean", split=True)


def test_carriers_of_a_trace_sum_to_its_relevance_and_follow_the_heads(flow: Flow) -> None:
    followed = trace(flow, 2, which="z2z")
    assert followed.heads is not None
    assert followed.heads.shape == (2, 5)
    torch.testing.assert_close(
        followed.heads.sum(-1), torch.ones(2, dtype=torch.float64), rtol=1e-5, atol=1e-5
    )
    first = flow.z2z_heads[1, 3, 2].double().sum() / flow.z2z[1, 2].double().sum()
    torch.testing.assert_close(followed.heads[0, 3], first)
    second = (followed.relevance[1] / flow.z2z[0].double().sum(-1)) @ flow.z2z_residual[0].double()
    torch.testing.assert_close(followed.heads[1, -1], second)


def test_what_stays_with_a_token_passes_attention(flow: Flow) -> None:
    relevance = torch.tensor([0.0, 0.25, 0.75, 0.0, 0.0], dtype=torch.float64)
    every = carried(flow, 0, relevance, torch.ones(5, dtype=torch.bool))
    assert every.tolist() == [0, 0, 0, 0, 1]


def test_a_trace_of_plain_maps_has_no_carriers(flow: Flow) -> None:
    plain = {name: tensor for name, tensor in flow.tensors.items() if not name.startswith("z2z_")}
    assert trace(Flow(**vars(flow) | {"tensors": plain}), 2, which="z2z").heads is None
