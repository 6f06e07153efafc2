"""Features of dictionaries beside the oracle: every entry, the rest, and what stands beside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.hook_points import hook_point
from ligflow.dictionaries.of_tensors import dictionary_of
from ligflow.errors import LigflowError
from ligflow.prediction.at_hook_point import HookPoints
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.features import features_of
from ligflow.prediction.graph import graph_of
from ligflow.prediction.read_out import Places
from ligflow.results.features import Features
from prediction.chain_of_family import runs_of_family
from prediction.dictionaries import by_hand, dictionary, tensors
from prediction.oracle import OracleResult
from prediction.oracle_families import FAMILIES, IDS, Family, encoder_starts

POINTS = Accuracy(points=31)
GAUSS = np.polynomial.legendre.leggauss(40)
OF_ORACLE = [  # a family, a hook point, and the oracle's variable there
    ("gpt2", "blocks.1.hook_resid_pre", "z1"),
    ("gpt2", "blocks.0.hook_resid_post", "z1"),
    ("gpt2", "transformer.h.1:input", "z1"),
    ("gpt2", "blocks.0.attn.hook_z", "u0"),
    ("gpt2", "blocks.1.hook_mlp_out", "a1"),
    ("gpt2", "h.0.mlp", "a0"),
    ("llama", "blocks.0.hook_resid_mid", "x0"),
    ("llama", "layers.0", "z1"),
    ("llama", "model.layers.0.self_attn.o_proj:input", "u0"),
    ("llama", "model.layers.0.mlp", "a0"),
    ("gemma3", "blocks.1.attn.hook_z", "u1"),
    ("gemma3", "model.layers.0.mlp.output", "a0"),
    ("gemma3", "blocks.0.hook_resid_mid", "x0"),
    ("olmo2", "model.layers.1.mlp", "a1"),
    ("gpt_neox", "gpt_neox.layers.0.mlp", "a0"),
    ("gpt_neox", "blocks.0.attn.hook_z", "u0"),
    ("bert", "blocks.0.hook_resid_mid", "x0"),
    ("bert", "blocks.1.hook_mlp_out", "a1"),
    ("bert", "bert.encoder.layer.1.output.dense", "a1"),
    ("bert", "blocks.0.hook_resid_post", "z1"),
    ("t5", "encoder.block.0.layer.1.DenseReluDense", "encoder a0"),
    ("t5", "decoder.block.1.layer.2.DenseReluDense", "decoder a1"),
]
_kept: dict[str, tuple[HookPoints, OracleResult, dict[str, Tensor]]] = {}


def family_of(name: str) -> Family:
    """A decoder's tokens are kept."""
    family = FAMILIES[name]
    return replace(family, starts=encoder_starts) if name == "t5" else family


def points_of(name: str, cut: str = "modules") -> HookPoints:
    """A family's model taken apart."""
    family = family_of(name)
    runs = runs_of_family(family, family.built())
    built = graph_of(runs, cut)
    change = (built.scores[0] - built.scores[1]).double()
    places = Places(built.graph, chain(built.graph, change, POINTS, runs.model), 0)
    return HookPoints(runs, built, places, POINTS)


def beside_oracle(name: str) -> tuple[HookPoints, OracleResult, dict[str, Tensor]]:
    """A family taken apart, by the oracle too, with the vectors of the real run at its variables."""
    if name not in _kept:
        family = family_of(name)
        model = family.built()
        result = family.explained(model, 32)
        _kept[name] = points_of(name), result, real_vectors(name)
    return _kept[name]


def real_vectors(name: str) -> dict[str, Tensor]:
    """The oracle's variables in a plain run."""
    family = FAMILIES[name]
    model = family.built()
    seen: dict[str, Tensor] = {}
    handles = []
    for key, variable in family.cuts(model).variables.items():
        module = model.get_submodule(variable.read.module)

        def note(
            _m: object, args: object, kwargs: object = None, output: object = None, key: str = key
        ) -> None:
            value = args if output is None else output
            while not isinstance(value, Tensor):
                value = value[0] if value else next(iter(kwargs.values()))
            seen.setdefault(key, value[0])

        if variable.read.side == "in":
            handles.append(module.register_forward_pre_hook(note, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(note, with_kwargs=True))
    with torch.no_grad():
        model(**family.inputs())
    for handle in handles:
        handle.remove()
    return seen


def dense(features: Features, count: int = 40) -> Tensor:
    """Every feature at every token."""
    whole = torch.zeros(len(features.tokens), count, dtype=torch.float64)
    whole[features.positions, features.features] = features.relevance
    return whole


@pytest.mark.parametrize(("name", "hook", "variable"), OF_ORACLE)
def test_every_feature_is_the_oracles(name: str, hook: str, variable: str) -> None:
    points, result, real = beside_oracle(name)
    m, change = result.directions[variable], result.changes[variable]
    assert float((m * change).abs().max()) > 1e-3
    own = tensors(m.shape[-1])
    expected = by_hand(own, m, real[variable], real[variable] - change)
    features = features_of(points, dictionary_of(own, hook), ["t"] * points.places.graph.tokens)
    first = len(features.tokens) - len(m) if variable.startswith("decoder") else 0
    tolerance = 1e-6 * result.scale
    here = slice(first, first + len(m))
    assert float((dense(features)[here] - expected["features"]).abs().max()) < tolerance
    assert float((features.rest[here] - expected["rest"]).abs().max()) < tolerance
    assert float(features.total[here].sub((m * change).sum(-1)).abs().max()) < tolerance
    assert not features.bias.any()
    assert not features.skip.any()


ENDS = ("norm", "layer", "none")


@pytest.mark.parametrize("scaling", ENDS)
@pytest.mark.parametrize(
    "hook", ["blocks.1.hook_resid_post", "blocks.0.ln1.hook_normalized", "blocks.1.ln2.hook_normalized"]
)
def test_sums_close_to_the_node_to_rounding(hook: str, scaling: str) -> None:
    points, result, _ = beside_oracle("llama")
    own = points.read_out(hook_point(hook))
    features = features_of(points, dictionary(16, hook, scaling=scaling), ["t"] * len(IDS))
    assert float((features.total - own.by_token()).abs().max()) < 1e-12 * result.scale
    assert bool(features.bias.any()) == (scaling != "none")
    nodes = {"blocks.0.ln1.hook_normalized": result.heads[0], "blocks.1.ln2.hook_normalized": result.mlps[1]}
    whole = float(nodes[hook].sum()) if hook in nodes else result.change
    assert float(features.total.sum()) == pytest.approx(whole, abs=1e-6 * result.scale)


def test_a_token_s_scale_is_in_activations_and_its_change_times_the_bias_is_a_node() -> None:
    points, result, real = beside_oracle("gpt2")
    m, change, own = result.directions["z1"], result.changes["z1"], tensors(16)
    ends = real["z1"], real["z1"] - change
    scales = [(h.norm(dim=-1, keepdim=True) / 4) for h in ends]
    codes = [
        scale * ((h / scale - own["b_dec"]) @ own["W_enc"] + own["b_enc"]).relu()
        for h, scale in zip(ends, scales, strict=True)
    ]
    hook = "blocks.1.hook_resid_pre"
    features = features_of(points, dictionary_of(own, hook, scaling="norm"), ["t"] * len(IDS))
    bias = (scales[0] - scales[1])[:, 0] * (m @ own["b_dec"])
    tolerance = 1e-6 * result.scale
    assert torch.allclose(dense(features), (m @ own["W_dec"].T) * (codes[0] - codes[1]), atol=tolerance)
    assert torch.allclose(features.bias, bias, atol=tolerance)
    assert float(bias.abs().max()) > 1e3 * tolerance


def test_a_transcoder_reads_one_place_and_gives_another_with_its_skip_as_a_node() -> None:
    points, result, real = beside_oracle("llama")
    m, own = result.directions["a1"], tensors(16)
    own["W_skip"] = torch.randn(16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    coder = dictionary_of(own, "blocks.1.hook_mlp_out", "blocks.1.ln2.hook_normalized")
    x = real["x1"], real["x1"] - result.changes["x1"]
    taken = [h / (h.square().mean(-1, keepdim=True) + 1e-6).sqrt() for h in x]
    codes = [(h @ own["W_enc"] + own["b_enc"]).relu() for h in taken]
    features = features_of(points, coder, ["t"] * len(IDS))
    tolerance = 1e-6 * result.scale
    assert torch.allclose(dense(features), (m @ own["W_dec"].T) * (codes[0] - codes[1]), atol=tolerance)
    skip = (m * ((taken[0] - taken[1]) @ own["W_skip"].T)).sum(-1)
    assert torch.allclose(features.skip, skip, atol=tolerance)
    assert torch.allclose(features.total, result.mlps[1], atol=tolerance)


def test_what_a_module_takes_has_the_cotangent_of_its_own_straight_path() -> None:
    points, result, _ = beside_oracle("llama")
    own = points.read_out(hook_point("model.layers.1.mlp:input"))
    mlp = FAMILIES["llama"].built().model.layers[1].mlp
    nodes, weights = torch.tensor(GAUSS[0]), torch.tensor(GAUSS[1])
    m = torch.zeros_like(own.real)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        at = (own.reference + node * (own.real - own.reference)).requires_grad_()
        (grad,) = torch.autograd.grad(mlp(at[None])[0], at, result.directions["a1"])
        m += weight * grad
    assert torch.allclose(own.cotangent, m, atol=1e-8)
    assert torch.allclose(own.by_token(), result.mlps[1], atol=1e-6 * result.scale)


def test_what_enters_a_norm_passes_the_residual_stream_by() -> None:
    points, result, _ = beside_oracle("gpt2")
    own = points.read_out(hook_point("transformer.h.1.ln_2:input"))
    assert torch.allclose(own.by_token(), result.mlps[1], atol=1e-6 * result.scale)
    assert abs(float(result.mlps[1].sum()) - result.change) > 0.1 * result.scale


def test_experts_of_a_routed_layer_close_too() -> None:
    points = points_of("mixtral")
    for hook in ("model.layers.0.mlp", "model.layers.0.mlp:input", "blocks.0.hook_mlp_out"):
        features = features_of(points, dictionary(16, hook), ["t"] * len(IDS))
        whole = points.places.variable("out0")
        assert whole is not None
        x = points.places.graph.variables["x0"]
        assert float(features.total.sum()) == pytest.approx(
            float((whole.cotangent * (whole.step - x.step)).sum()), abs=1e-6
        )


def _widths() -> list[tuple[str, Dictionary, str, str]]:
    return [
        ("modules", dictionary(24, "blocks.1.hook_resid_post"), "has vectors of 24 numbers", "have 16"),
        (
            "modules",
            dictionary(16, "blocks.7.hook_resid_post", model="gpt2"),
            "layers 0 to 1",
            "another model",
        ),
        (
            "modules",
            dictionary(16, "model.layers.9.mlp"),
            "has no module 'model.layers.9.mlp'",
            "model.layers.1",
        ),
        ("modules", dictionary(16, "lm_head"), "no part of a layer", "hook_resid_post"),
        ("modules", dictionary(16, "model.layers.1.self_attn.q_proj.weight"), "has no module", "where"),
        ("layer", dictionary(16, "blocks.1.hook_mlp_out"), "does not stand where layer 1", "'layer'"),
        ("model", dictionary(16, "blocks.1.hook_resid_post"), "takes no layer apart", "leave cut out"),
    ]


@pytest.mark.parametrize(("cut", "coder", "said", "instead"), _widths())
def test_dictionaries_that_do_not_fit_the_model(cut: str, coder: Dictionary, said: str, instead: str) -> None:
    points = points_of("llama", cut)
    with pytest.raises(LigflowError) as caught:
        features_of(points, coder, ["t"] * len(IDS))
    assert said in str(caught.value)
    assert instead in str(caught.value)


def test_attention_beside_an_mlp_is_read_at_its_module() -> None:
    points, result, _ = beside_oracle("gpt_neox")
    with pytest.raises(LigflowError, match="form is 'parallel'; name the module"):
        features_of(points, dictionary(16, "blocks.0.hook_attn_out"), ["t"] * len(IDS))
    features = features_of(points, dictionary(16, "gpt_neox.layers.0.attention"), ["t"] * len(IDS))
    assert torch.allclose(features.total, result.heads[0].sum(0), atol=1e-6 * result.scale)
