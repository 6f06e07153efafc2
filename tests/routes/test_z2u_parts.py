"""z2u by value, key and query: each path's parts beside captures of the layer, and their sums."""

from dataclasses import replace

import numpy
import pytest
import torch
from torch import Tensor

from families import FAMILIES, layer_of
from ligflow import Explainer, Flow, LigflowError
from ligflow.errors import UnsupportedModel
from ligflow.layer.float64 import keep_double
from ligflow.layer.interface import Captured
from ligflow.method import from_names
from ligflow.method.attention import attention_weights
from ligflow.method.attention_parts import attention_parts
from ligflow.paths.batch import alone
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2u import z2u_from, z2u_parts_from
from prediction import oracle_families
from prediction.tiny import gpt2, ids, llama

AT, WIDTH = 0.4, 1e-5


@pytest.mark.parametrize("baseline", ["itb", "zero"])
@pytest.mark.parametrize("name", FAMILIES)
def test_parts_are_those_of_what_the_layer_captures_on_the_path(name: str, baseline: str) -> None:
    node, target = torch.tensor([AT], dtype=torch.float64), torch.tensor([3])
    for _, layer, place in layer_of(name):
        if layer.mode != "split":
            continue
        z, work = layer.hidden, Workspace(alone(layer), (place,))
        start = z[target].expand_as(z) if baseline == "itb" else torch.zeros_like(z)
        chosen = from_names.layer_baseline(baseline)
        parts = z2u_parts_from(work, chosen).pullback(node, target, torch.ones_like)
        parts = parts[0, 0].unflatten(-1, (4, -1))
        nodes = torch.tensor([AT, AT - WIDTH, AT + WIDTH], dtype=z.dtype)[:, None, None]
        with torch.no_grad():
            captured = layer.capture(start + nodes * (z - start))
        wanted = _parts(captured)[:, 0, :, 3].transpose(0, 1)
        torch.testing.assert_close(parts, wanted, rtol=1e-4, atol=1e-6)
        sums = z2u_from(work, chosen).pullback(node, target, torch.ones_like)[0, 0].sum(-1)
        torch.testing.assert_close(parts.sum((-1, -2)), sums, rtol=1e-9, atol=1e-12)


def _parts(captured: Captured) -> Tensor:
    at, step = {}, {}
    for name in ("query", "key", "value"):
        middle, low, high = getattr(captured, name)
        at[name], step[name] = middle[None], (high - low)[None] / (2 * WIDTH)
    form = captured.form
    form = form if form.bias is None else replace(form, bias=form.bias[:1])
    weights = attention_weights(at["query"], at["key"], form)
    pull = torch.ones(*at["query"].shape[:3], at["value"].shape[-1], dtype=at["value"].dtype)
    return attention_parts(weights, pull, *at.values(), tuple(step.values()), form.scaling).every


@pytest.mark.parametrize("baseline", ["itb", "zero", "mean", "itb_zero_ratio", "itb_map_ratio"])
@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_flow_has_parts_for_every_baseline_with_the_certificate_of_their_sum(make, baseline: str) -> None:
    explainer, inputs = Explainer(make()), {"input_ids": ids(5)}
    flow = explainer.explain(inputs, "z2u", parts=True, att_baseline=baseline, tol=1e-6)
    plain = explainer.explain(inputs, "z2u", att_baseline=baseline, tol=1e-6)
    scale = plain.tensors["z2u.scale"][..., None]
    assert ((flow.z2u - plain.z2u) / scale).abs().max() < 4e-6
    sums = sum(part.sum(-1) for part in vars(flow.parts).values())
    certificate = (sums - flow.total("z2u")) / flow.tensors["z2u.scale"]
    torch.testing.assert_close(certificate, flow.certificate("z2u"), rtol=0, atol=1e-12)
    assert certificate.abs().max() < 2e-6
    moves = baseline in ("zero", "mean")  # from the target's own vector its query stays
    assert bool(flow.parts.query.abs().max() > 1e-3) == moves
    assert float(flow.parts.key.abs().max()) > 1e-3


def test_keys_of_another_layer_stay_and_the_query_s_part_is_integrated_gradients_of_the_model() -> None:
    """Of `|u_j - u_j(0)|` at the output matrix of the model as it is, whose layer 2 reads keys of layer 0."""
    family = oracle_families.FAMILIES["gemma4"]
    model, inputs = family.built(), family.inputs()
    explainer = Explainer(model)
    flow = explainer.explain(inputs, "z2u", parts=True, layers=2, att_baseline="mean", tol=1e-9)
    z = explainer.prepared.record(inputs)[2].hidden
    start = z.mean(0).expand_as(z)
    nodes, weights = (torch.from_numpy(each) / 2 for each in numpy.polynomial.legendre.leggauss(64))
    points = (start + (nodes + 0.5)[:, None, None] * (z - start)).requires_grad_()
    u = _heads_of_layer_2(model, inputs, points)
    first = _heads_of_layer_2(model, inputs, start[None])
    moved = u.detach() - first
    directions = moved / moved.norm(dim=-1, keepdim=True).clamp(min=1e-300)
    wanted = torch.zeros_like(flow.z2u[0])
    for head in range(4):
        for target in range(7):
            along = (u[:, target, head] * directions[:, target, head]).sum(-1) @ weights
            (grad,) = torch.autograd.grad(along, points, retain_graph=True)
            wanted[head, target] = (grad * (z - start)).sum((0, 2))
    assert (flow.parts.query[0].sum(-1) - wanted.sum(-1)).abs().max() < 1e-7
    assert (flow.z2u[0] - wanted).abs().max() < 1e-7
    assert float(wanted.abs().max()) > 0.1
    assert not flow.parts.value.any()
    assert not flow.parts.key.any()


def _heads_of_layer_2(model, inputs, hidden: Tensor) -> Tensor:
    """What the heads give, `[point, token, head, dim]`, for hidden states of layer 2 alone."""
    noted: list[Tensor] = []
    layer = model.model.layers[2]
    handles = [
        layer.register_forward_pre_hook(lambda _module, args: (hidden, *args[1:])),
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _module, args: noted.append(args[0])),
    ]
    try:
        with keep_double():
            model(inputs["input_ids"].expand(len(hidden), -1), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return noted[0].unflatten(-1, (4, -1))


def test_parts_are_saved_grouped_and_in_tables(tmp_path) -> None:
    explainer = Explainer(llama())
    flow = explainer.explain({"input_ids": ids(5)}, parts=True, layers=0)
    again = Flow.load(flow.save(tmp_path / "parts.safetensors"))
    for name, part in vars(flow.parts).items():
        assert torch.equal(part, getattr(again.parts, name))
    frame = flow.to_pandas()
    rows = frame[
        (frame.route == "z2u_key") & (frame["head"] == 1) & (frame.target == 4) & (frame.source == 2)
    ]
    assert rows.value.tolist() == [float(flow.parts.key[0, 1, 4, 2])]
    assert rows.total.tolist() == [float(flow.total("z2u")[0, 1, 4])]
    assert "z2u_query" in flow.to_xarray()
    with pytest.raises(LigflowError, match=r"no parts of z2u.*parts=True"):
        explainer.explain({"input_ids": ids(5)}, "z2u", layers=0).parts.key.sum()


def test_attention_that_has_no_parts_is_refused_with_the_reason() -> None:
    family = oracle_families.FAMILIES["deberta"]
    with pytest.raises(
        UnsupportedModel, match=r"Layer 0 has no parts by value, key and query: .*Leave parts"
    ):
        Explainer(family.built()).explain(family.inputs(), "z2u", parts=True)


def test_points_that_share_the_move_of_scores_have_parts() -> None:
    """Projections of BERT are affine, so that scores move alike at all points."""
    family = oracle_families.FAMILIES["bert"]
    flow = Explainer(family.built()).explain(family.inputs(), "z2u", parts=True, layers=0, tol=1e-5)
    assert not flow.unmet
    assert float(flow.certificate("z2u").abs().max()) < 1e-5


def test_what_has_no_parts_is_refused() -> None:
    explainer = Explainer(llama())
    with pytest.raises(LigflowError, match="parts splits z2u, and the routes are z2z"):
        explainer.explain({"input_ids": ids(5)}, "z2z", parts=True)
    with pytest.raises(LigflowError, match="parts is 1"):
        explainer.explain({"input_ids": ids(5)}, "z2u", parts=1)
