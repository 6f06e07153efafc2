"""Experts held at the choice of the real input: certificates, the definition, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import transformers
from torch import Tensor
from transformers import DeepseekV3Config, DeepseekV3Model

from architectures import ARCHITECTURES, build, example
from ligflow import CompletenessWarning, Explainer, LigflowError
from ligflow.layer.experts import choices, holding
from ligflow.method import from_names
from ligflow.method.baselines import Itb
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.after_attention import Cotangent
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import LayerBatch, alone, frozen
from ligflow.routes import autograd
from ligflow.routes.integration import attribute
from ligflow.routes.path_map import PathMap
from ligflow.routes.z2z import z2z_map
from recorded_layers import recorded
from sweep.shrink import shrink
from sweep.verdicts import build as build_tiny

MIXTURES = ("mixtral", "qwen3_moe", "olmoe", "gpt_oss")
pytestmark = pytest.mark.usefixtures("no_shape_checks")


def explainer_of(name: str) -> Explainer:
    return Explainer(build(ARCHITECTURES[name]))


@pytest.mark.parametrize("baseline", ["itb", "mean"])
@pytest.mark.parametrize("name", MIXTURES)
def test_certificates_hold_with_frozen_experts(name: str, baseline: str) -> None:
    explainer, inputs = explainer_of(name), example(ARCHITECTURES[name], 9)
    flow = explainer.explain(
        inputs, experts="frozen", att_baseline=baseline, mlp_baseline="matched", layer_baseline=baseline
    )
    assert flow.unmet == []
    assert flow.worst_certificate() <= 1e-3
    assert flow.meta["settings"]["experts"] == "frozen"
    ends = flow.z2z.sum(-1) - flow.composed().sum(-1)  # both start at the frozen layer's own start
    assert (ends.abs() <= 3e-3 * flow.total("z2z").clamp(min=1e-3)).all()


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "olmoe"])
def test_without_it_the_jumps_show(name: str) -> None:
    explainer, inputs = explainer_of(name), example(ARCHITECTURES[name], 9)
    with pytest.warns(CompletenessWarning):
        flow = explainer.explain(inputs, routes="z2z", max_nodes=200)
    assert flow.unmet
    assert {cell.route for cell in flow.unmet} == {"z2z"}


def held_by_hand(route: PathMap, sentences: LayerBatch) -> PathMap:
    """The oracle through the whole unmodified layer, every copy of the sentence with its real experts."""

    def rows(nodes: Tensor, targets: Tensor) -> Tensor:
        return torch.arange(sentences.tokens).repeat(len(nodes) * len(targets))

    def image(nodes: Tensor, targets: Tensor) -> Tensor:
        with holding(sentences.held, rows(nodes, targets)):
            return route.image(nodes, targets)

    def pull(nodes: Tensor, targets: Tensor, towards: Cotangent) -> Tensor:
        with holding(sentences.held, rows(nodes, targets)):
            return route.pullback(nodes, targets, towards)

    return replace(route, image=image, pullback=pull)


@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
@pytest.mark.parametrize("name", MIXTURES)
def test_the_engine_equals_autograd_through_the_layer_with_held_experts(name: str, baseline: str) -> None:
    for _, layer, place in recorded(ARCHITECTURES[name], torch.float64, 6, 0):
        sentences = frozen(alone(layer))
        start = from_names.layer_baseline(baseline).start(layer.hidden, place.visible)
        engine = z2z_map(attention_path(sentences, start))
        oracle = held_by_hand(autograd.z2z(layer, start), sentences)
        ours, theirs = (
            attribute(one, place.targets, L2(), Fixed("gauss-legendre:5")) for one in (engine, oracle)
        )
        size = float(theirs.scale.max())
        torch.testing.assert_close(ours.value, theirs.value, rtol=1e-7, atol=1e-9 * size)
        torch.testing.assert_close(ours.total, theirs.total, rtol=1e-7, atol=1e-9 * size)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_real_input_is_as_it_was(name: str) -> None:
    for _, layer, _ in recorded(ARCHITECTURES[name], torch.float64, 6, 0):
        sentences = frozen(alone(layer))
        with holding(sentences.held, torch.arange(6).repeat(2)):
            again = layer.forward(layer.hidden.expand(2, -1, -1))
        torch.testing.assert_close(again, layer.output.expand(2, -1, -1), rtol=1e-9, atol=1e-9)


def texts(count: int) -> Iterator[dict[str, Tensor]]:
    for number in range(count):
        yield example(ARCHITECTURES["mixtral"], 5 + 3 * number)


def test_batches_keep_every_sentence_to_its_own_experts() -> None:
    explainer = explainer_of("mixtral")
    settings = {"routes": ("z2z",), "experts": "frozen"}
    together = list(explainer.explain_many(list(texts(3)), batch_size=3, **settings))
    for flow, inputs in zip(together, texts(3), strict=True):
        one = explainer.explain(inputs, **settings)
        torch.testing.assert_close(flow.z2z, one.z2z, rtol=1e-4, atol=1e-5)


def test_both_kinds_at_once_are_those_of_each_alone() -> None:
    explainer, inputs = explainer_of("mixtral"), example(ARCHITECTURES["mixtral"], 6)
    base = {"routes": ("u2z", "z2z"), "quadrature": "gauss-legendre:9"}
    with pytest.warns(CompletenessWarning):
        both = explainer.explain_under(inputs, [base, base | {"experts": "frozen"}])
    with pytest.warns(CompletenessWarning):
        routed = explainer.explain(inputs, **base)
    held = explainer.explain(inputs, **base, experts="frozen")
    torch.testing.assert_close(both[0].z2z, routed.z2z)
    torch.testing.assert_close(both[1].z2z, held.z2z)
    assert not torch.allclose(routed.z2z, held.z2z, rtol=1e-2)


def test_what_cannot_be_frozen() -> None:
    with pytest.raises(LigflowError, match="Unknown experts 'cold'; choose from routed, frozen"):
        explainer_of("mixtral").explain(example(ARCHITECTURES["mixtral"], 4), experts="cold")
    with pytest.raises(LigflowError, match="Layer 0 chooses no experts, so that there is nothing to hold"):
        explainer_of("llama").explain(example(ARCHITECTURES["llama"], 4), experts="frozen")


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("name", MIXTURES)
def test_a_layer_that_is_not_split_holds_its_experts(name: str, one_by_one: bool) -> None:
    for _, layer, place in recorded(ARCHITECTURES[name], torch.float64, 6, 0):
        sentences = frozen(alone(layer))
        start = Itb().start(layer.hidden, place.visible)
        whole = layer.whole("it is not split").with_findings(one_by_one=one_by_one)
        held = autograd.z2z(whole, start, held=frozen(alone(whole)).held)
        split = z2z_map(attention_path(sentences, start))
        ours, theirs = (
            attribute(one, place.targets, L2(), Fixed("gauss-legendre:5")) for one in (held, split)
        )
        torch.testing.assert_close(ours.value, theirs.value, rtol=1e-7, atol=1e-9 * float(theirs.scale.max()))


def test_experts_chosen_in_groups_are_held() -> None:
    groups = {"n_routed_experts": 6, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 1}
    small = shrink(DeepseekV3Config().to_dict()) | groups
    torch.manual_seed(0)
    explainer = Explainer(DeepseekV3Model(DeepseekV3Config.from_dict(small)).eval())
    flow = explainer.explain(example(ARCHITECTURES["mixtral"], 6), layers=[1], experts="frozen")
    layer = explainer.prepared.record(example(ARCHITECTURES["mixtral"], 6))[1]
    assert [one.shape for one in choices(layer)] == [(6, 4), (6, 1), (6, 1)]  # best two, group, expert
    assert flow.unmet == []
    assert flow.worst_certificate() <= 1e-3


@pytest.mark.skipif(not hasattr(transformers, "DeepseekV32Model"), reason="of a newer transformers")
def test_keys_that_an_indexer_chooses() -> None:
    inputs = example(ARCHITECTURES["mixtral"], 6)
    for chosen, refusal in ((64, ""), (3, "lets its tokens see 3 of 6 keys, chosen from the hidden states")):
        config, model = transformers.DeepseekV32Config, transformers.DeepseekV32Model
        small = shrink(config().to_dict()) | {"index_topk": chosen}
        torch.manual_seed(0)
        layers = Explainer(model(config.from_dict(small)).eval()).prepared.record(inputs)
        assert all(
            refusal in layer.findings.reason and bool(layer.findings.reason) == bool(refusal)
            for layer in layers
        )


def test_experts_chosen_by_a_maximum_are_held() -> None:
    explainer = Explainer(build_tiny("switch_transformers"))
    ids = {"input_ids": torch.tensor([[5, 17, 9, 40, 3, 21]])}
    assert explainer.explain(ids, experts="frozen", layers=1).unmet == []
    with pytest.warns(CompletenessWarning):
        assert explainer.explain(ids, routes="z2z", layers=1, max_nodes=200).unmet


def test_a_held_maximum_is_the_score_of_the_held_expert() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]])
    held = torch.tensor([[0], [1]])
    with holding([held, held, held, held], torch.arange(2)):
        value, index = scores.max(dim=-1)
        kept, place = torch.max(scores, -1, keepdim=True)
        best = scores.argmax(dim=-1)
        top = scores.topk(1)
        largest, elementwise, columns = scores.max(), torch.maximum(scores, scores), scores.max(dim=0)
        first = (scores > 2).long().argmax(-1)  # of a mask: no scores
    assert value.tolist() == [1.0, 4.0]
    assert (index.tolist(), best.tolist()) == ([0, 1], [0, 1])
    assert (kept.tolist(), place.tolist()) == ([[1.0], [4.0]], [[0], [1]])
    assert (top.values.tolist(), top.indices.tolist()) == ([[1.0], [4.0]], [[0], [1]])
    assert (largest.item(), columns.values.tolist()) == (6.0, [5.0, 4.0, 6.0])
    assert torch.equal(elementwise, scores)
    assert first.tolist() == [1, 0]
