"""Layers whose flow is known: copying heads, a mean, no MLP or a linear one. LIG must give it, exactly."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hand_made import Model, build, places
from ligflow import Explainer, Flow
from ligflow.evaluation.faithfulness import leave_one_out, measured
from ligflow.evaluation.removal import ablation
from ligflow.routes.workspace import Selection

T, DIM = 6, 12
PATTERNS = ("first", "previous", "all")
GAINS = (1.0, 2.0, 0.5)
MIXING = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(2)).tolist()
BASELINES = ("zero", "itb", "mean")
MATCHED = {"zero": "matched", "mean": "matched", "itb": "att_itb_a0"}


def model(mixing: Any = None) -> Model:
    return build(GAINS, dim=DIM, patterns=PATTERNS, mixing=mixing)


def explained(made: Model, baseline: str) -> tuple[Flow, Tensor]:
    ids = torch.tensor([[3, 9, 4, 17, 9, 30]])
    flow = Explainer(made).explain(
        {"input_ids": ids}, att_baseline=baseline, mlp_baseline=MATCHED[baseline], layer_baseline=baseline
    )
    return flow, made.embed(ids)[0].detach()


def moved(z: Tensor, baseline: str) -> Tensor:
    """`z_k - z_k(0; j)` as [target, source, dim]."""
    start = {
        "zero": torch.zeros(T, T, DIM),
        "mean": z.mean(0).expand(T, T, DIM),
        "itb": z[:, None].expand(T, T, DIM),
    }
    return z[None] - start[baseline]


def weights() -> Tensor:
    """Attention of every head [head, target, source]."""
    read = torch.stack([places(name, T) for name in PATTERNS]).float()
    return read / read.sum(-1, keepdim=True)


def along(parts: Tensor, total: Tensor) -> Tensor:
    """`<C_kj, dF_j / |dF_j|>`: of a linear map the whole of LIG. 0 where nothing moves."""
    total = torch.where(total.norm(dim=-1, keepdim=True) < 1e-5, 0, total)
    return torch.einsum("...tsd,...td->...ts", parts, torch.nn.functional.normalize(total, dim=-1))


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("mixing", [None, MIXING], ids=["identity", "linear"])
def test_every_route_in_closed_form(baseline: str, mixing: Any) -> None:
    flow, z = explained(model(mixing), baseline)
    step = moved(z, baseline)
    by_head = step.unflatten(-1, (len(GAINS), -1)).permute(2, 0, 1, 3)
    heads = weights()[..., None] * by_head
    torch.testing.assert_close(flow.z2u[0], along(heads, heads.sum(2)), rtol=1e-4, atol=1e-5)
    matrix = torch.eye(DIM) if mixing is None else torch.tensor(mixing)
    gains = torch.tensor(GAINS)[:, None, None, None]
    written = (gains * heads).permute(1, 2, 0, 3).flatten(2)  # what attention writes, source by source
    whole = written.clone()
    if baseline != "itb":
        whole[torch.arange(T), torch.arange(T)] += step[torch.arange(T), torch.arange(T)]
    total = whole.sum(1) @ matrix.T
    torch.testing.assert_close(flow.z2z[0], along(whole @ matrix.T, total), rtol=1e-4, atol=1e-5)
    of_heads = torch.zeros(T, len(GAINS), len(GAINS), DIM // len(GAINS))
    for head in range(len(GAINS)):
        of_heads[:, head, head] = GAINS[head] * heads[head].sum(1)
    players = along(of_heads.flatten(2) @ matrix.T, total)
    torch.testing.assert_close(flow.u2z[0], players.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_a_previous_token_head_reads_the_previous_token_alone(baseline: str) -> None:
    flow, _ = explained(model(), baseline)
    for head, name in enumerate(PATTERNS[:2]):
        assert (flow.z2u[0, head][~places(name, T)] == 0).all()
        assert (flow.z2u[0, head][places(name, T)] > 0.1).sum() >= T - 1


def test_a_mean_does_not_move_from_the_mean() -> None:
    """What a head makes of the start is what it makes of the tokens, up to rounding without a direction."""
    flow, _ = explained(model(), "mean")
    assert (flow.z2u[0, 2] == 0).all()
    assert (flow.total("z2u")[0, 2] == 0).all()
    assert not flow.unmet


def test_an_identity_mlp_hands_each_head_on() -> None:
    """Slices are orthogonal and M is 1: `M_hj = (gain_h |du_j^h|)^2 / |dz'_j|`."""
    flow, _ = explained(model(), "itb")
    sizes = torch.tensor(GAINS)[:, None] * flow.total("z2u")[0]
    torch.testing.assert_close(flow.u2z[0], sizes.square() / flow.total("u2z")[0], rtol=1e-4, atol=1e-5)


def test_what_lig_says_happens_when_a_source_is_removed() -> None:
    """Orthogonal tokens: LIG is `|C_k|^2 / |dF|`, leaving one out `|C_k|`, so that ranks and curves agree."""
    made = build((1.0,), dim=T, patterns=("all",))
    made.embed.weight.data = torch.zeros(50, T)
    made.embed.weight.data[:T] = torch.diag(torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0, 6.0]))
    explainer = Explainer(made)
    inputs = {"input_ids": torch.arange(T)[None]}
    flow = explainer.explain(inputs, routes="z2z", layer_baseline="zero")
    layer = explainer.prepared.record(inputs)[0]
    everyone, others = torch.arange(T), ~torch.eye(T, dtype=torch.bool)
    with explainer.prepared.ready_for(layer):
        image = ablation(layer, Selection(everyone, everyone), "zero").image
        effect = leave_one_out(image, others)
        found = measured(image, torch.stack([flow.z2z[0], effect]), others)
    size = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0, 6.0]) / T
    torch.testing.assert_close(effect, size.expand(T, T) * others)
    expected = size.square() / flow.total("z2z")[0][:, None]
    torch.testing.assert_close(flow.z2z[0][others], expected[others], rtol=1e-4, atol=1e-6)
    assert found["rank_correlation"].min() == pytest.approx(1)
    torch.testing.assert_close(found["between"][0], found["between"][1])
    top = [
        math.hypot(*sorted((s for k, s in enumerate(size.tolist()) if k != j), reverse=True)[:3])
        for j in range(T)
    ]
    whole = [math.hypot(*(s for k, s in enumerate(size.tolist()) if k != j)) for j in range(T)]
    expected_top = torch.tensor([a / b for a, b in zip(top, whole, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(found["comprehensiveness"][0], expected_top, rtol=1e-5, atol=1e-6)
