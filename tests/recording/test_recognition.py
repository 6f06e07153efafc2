"""Closed forms are found for every family, equal the plain capture, and give way to it when they fail."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, build, example, shared
from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method import from_names
from ligflow.method.baselines import Itb
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.recording.recognition import norm_of
from ligflow.routes import autograd
from ligflow.routes.integration import attribute

AFFINE = {"albert", "bart", "bert", "distilbert", "electra", "mpnet", "roberta"}
PAIRS = [(name, baseline) for name in ARCHITECTURES for baseline in ("itb", "zero", "mean")]


def layers_of(name: str, dtype: torch.dtype = torch.float64, tokens: int = 7) -> Iterator[Layer]:
    explainer = shared(ARCHITECTURES[name], dtype)
    for layer in explainer.prepared.record(example(ARCHITECTURES[name], tokens, dtype=dtype)):
        with prepared(layer.module, layer.implementation):
            yield layer


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_family_has_a_shortcut(name: str, dtype: torch.dtype) -> None:
    for layer in layers_of(name, dtype):
        assert layer.findings.no_closed_form == ""
        assert layer.findings.closed_form is not None
        assert layer.findings.positionwise
        assert layer.findings.projections
        key = layer.findings.closed_form.forms["key"].name
        assert (key == "affine") == (name in AFFINE or (name == "modernbert" and layer.index == 0))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("name", "baseline"), PAIRS)
def test_attention_by_shortcut_equals_attention_by_capture(name: str, baseline: str) -> None:
    rows, nodes = torch.tensor([1, 4, 6]), torch.tensor([0.1, 0.6, 1.0], dtype=torch.float64)
    for layer in layers_of(name):
        if len(layer.hidden) < 7:
            rows = rows.clamp(max=len(layer.hidden) - 1).unique()
        start = from_names.layer_baseline(baseline).start(layer.hidden, torch.arange(len(layer.hidden)))
        plain = attention_path(alone(layer.with_findings(closed_form=None)), start).moving(nodes, rows)
        quick = attention_path(alone(layer), start).moving(nodes, rows)
        torch.testing.assert_close(quick.u, plain.u)
        pull = torch.randn(plain.u.shape, generator=torch.Generator().manual_seed(1), dtype=plain.u.dtype)
        (ours, own), (theirs, theirs_own) = quick.source_integrands(pull), plain.source_integrands(pull)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
        assert theirs_own is not None
        assert theirs_own.abs().max() <= 1e-12 if own is None else torch.allclose(own, theirs_own, rtol=1e-6)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["bert", "llama", "gemma3_text", "gpt_neox"])
@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
def test_a_flow_is_the_same_without_shortcuts(
    name: str, baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"att_baseline": baseline, "layer_baseline": baseline, "mlp_baseline": "matched"}
    settings["quadrature"] = "gauss-legendre:6"
    inputs = example(ARCHITECTURES[name], 8)
    quick = Explainer(build(ARCHITECTURES[name])).explain(inputs, **settings)
    monkeypatch.setattr("ligflow.recording.capabilities.recognise", lambda *_: "the test says so")
    plain = Explainer(build(ARCHITECTURES[name])).explain(inputs, **settings)
    assert "since the test says so" in plain.meta["notes"][0]
    assert plain.meta["shortcuts"] == {"0": "", "1": ""}
    assert all(quick.meta["shortcuts"].values())
    for route in quick.routes:
        gap = (quick.tensors[route] - plain.tensors[route]).abs()
        gap = gap.amax(1 if route == "u2z" else -1)
        assert (gap <= 1e-5 * at_least_a_tenth(plain.tensors[f"{route}.scale"])).all()


def at_least_a_tenth(scale: Tensor) -> Tensor:
    """Of the largest: what is smaller feels the rounding of the layer's own numbers."""
    return scale.clamp(min=float(scale.max()) / 10)


class Squared(nn.Module):
    """A projection that is not affine."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        return self.inner(hidden) + self.inner(hidden).square()


@pytest.mark.parametrize("part", ["q_proj", "k_proj", "v_proj"])
def test_a_projection_that_is_not_affine_is_captured_at_every_point(part: str) -> None:
    model = build(ARCHITECTURES["llama"], torch.float64)
    for layer in model.layers:
        setattr(layer.self_attn, part, Squared(getattr(layer.self_attn, part)))
    flow = Explainer(model).explain(example(ARCHITECTURES["llama"], 5), tol=1e-5)
    said = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}[part]
    assert f"its {said} is neither affine nor norm-then-affine" in flow.meta["notes"][0]
    assert flow.worst_certificate() <= 1e-5


class Bent(nn.Module):
    """A projection that is affine but for a part in a thousand or less."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        made = self.inner(hidden)
        return made + 3e-4 * made.square()


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("part", ["q_proj", "k_proj", "v_proj"])
def test_a_projection_that_is_nearly_affine_is_none(part: str, dtype: torch.dtype) -> None:
    model = build(ARCHITECTURES["llama"], dtype)
    for layer in model.layers:
        setattr(layer.self_attn, part, Bent(getattr(layer.self_attn, part)))
    flow = Explainer(model).explain(example(ARCHITECTURES["llama"], 5), layers=0, routes="z2u")
    said = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}[part]
    assert f"its {said} is neither affine nor norm-then-affine" in flow.meta["notes"][0]
    assert flow.meta["shortcuts"] == {"0": ""}


class Scaled(nn.Module):
    """A projection of what is scaled by its position."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        places = torch.arange(hidden.shape[1], dtype=hidden.dtype)
        return self.inner(hidden * (1 + places / 10)[:, None])


@pytest.mark.parametrize(("part", "said"), [("k_proj", "key"), ("v_proj", "value")])
def test_a_projection_that_depends_on_the_place_is_noticed_where_places_change(part: str, said: str) -> None:
    """Under `itb` every place holds the target's vector, so that its own projection is the wrong one."""
    model = build(ARCHITECTURES["llama"], torch.float64)
    for layer in model.layers:
        setattr(layer.self_attn, part, Scaled(getattr(layer.self_attn, part)))
    explainer, inputs = Explainer(model), example(ARCHITECTURES["llama"], 5)
    flow = explainer.explain(inputs, layers=0, routes="z2u", quadrature="gauss-legendre:9")
    assert f"its {said} on a target's own path is not what was predicted" in flow.meta["notes"][0]
    layer = explainer.prepared.record(inputs)[0]
    with explainer.prepared.ready_for(layer):
        route = autograd.z2u(layer, Itb().start(layer.hidden, torch.arange(5)))
        exact = attribute(route, torch.arange(5), L2(), Fixed("gauss-legendre:9")).value
    torch.testing.assert_close(flow.z2u[0].transpose(0, 1), exact, rtol=1e-8, atol=1e-10)


def test_an_activation_after_the_turn_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that do more to keys than turn them."""
    from transformers.models.llama import modeling_llama

    own = modeling_llama.apply_rotary_pos_emb

    def bent(q: Tensor, k: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        q, k = own(q, k, *rest)
        return q, k + k.cumsum(-1) * torch.arange(k.shape[2])[:, None]

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", bent)
    flow = Explainer(build(ARCHITECTURES["llama"])).explain(example(ARCHITECTURES["llama"], 5))
    assert "positions change its keys by more than a rotation" in flow.meta["notes"][0]
    assert not flow.unmet


def test_only_what_feeds_attention_is_left_out() -> None:
    """Three projections are not computed after attention; the MLP is."""
    for layer in layers_of("llama"):
        names = {
            name for name, module in layer.module.named_modules() if module in layer.findings.projections
        }
        assert names == {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}
    for layer in layers_of("gpt_neox"):
        names = {
            name for name, module in layer.module.named_modules() if module in layer.findings.projections
        }
        assert names == {"attention.query_key_value"}


class Unit(nn.Module):
    """A norm that adds its epsilon to the sum of squares, not to their mean."""

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + self.eps)


class Clipped(Unit):
    """A norm that does not divide by less than its epsilon."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1, eps=self.eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("norm", "eps", "centred"),
    [
        (nn.LayerNorm(16, eps=1e-5), 1e-5, True),
        (nn.RMSNorm(16, eps=1e-6), 1e-6, False),
        (nn.LayerNorm(16, eps=1e-12), 1e-12, True),
        (Unit(1e-6), 1e-6 / 16, False),
    ],
)
def test_the_epsilon_of_a_norm_is_that_beside_the_mean(
    norm: nn.Module, eps: float, centred: bool, dtype: torch.dtype
) -> None:
    given = 3 * torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = norm_of(norm.to(dtype), given)
    assert found is not None
    assert (found.eps, found.centred) == (eps, centred)


def test_a_norm_that_bends_near_zero_is_none_that_is_known() -> None:
    assert norm_of(Clipped(0.01), torch.randn(1, 5, 16, dtype=torch.float64)) is None
