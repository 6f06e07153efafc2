"""Changes of experts on a path and the size of the jumps, against a fine scan of the unmodified layer."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import MixtralConfig, MixtralModel

from ligflow import Explainer, Flow
from ligflow.method.baselines import Itb
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.routes import autograd
from ligflow.routes.jumps import jumps
from ligflow.routes.z2z import z2z_map

pytestmark = [
    pytest.mark.usefixtures("no_shape_checks"),
    pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning"),
]
TOKENS, TARGETS = 16, [0, 3, 6, 9, 15]


def mixtral() -> tuple[Explainer, dict[str, Tensor]]:
    """The model of `docs/scripts/measure.py routing`."""
    torch.manual_seed(0)
    config = MixtralConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, vocab_size=64, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    model = MixtralModel(config).eval()
    return Explainer(model), {"input_ids": torch.randint(3, 64, (1, TOKENS))}


def scanned(
    explainer: Explainer, inputs: dict[str, Tensor], layer: int, target: int, baseline: str, points: int
) -> tuple[float, int]:
    """The sum of `||F(a+) - F(a-)||` over the total, and how many: the router is watched in a fine scan."""
    recorded, chosen = explainer.prepared.record(inputs)[layer], []
    z = recorded.hidden
    start = {"itb": z[target].expand_as(z), "zero": torch.zeros_like(z), "mean": z.mean(0).expand_as(z)}
    nodes = torch.linspace(0, 1, points + 1)[:, None, None]
    paths = start[baseline] + nodes * (z - start[baseline])
    gate = recorded.module.mlp.gate
    handle = gate.register_forward_hook(lambda *call: chosen.append(call[-1][-1].view(-1, TOKENS, 2)))
    with explainer.prepared.ready_for(recorded), torch.no_grad():
        image = torch.cat([recorded.forward(some)[:, target] for some in paths.split(256)])
    handle.remove()
    experts = torch.cat(chosen)[:, target].sort(-1).values
    changes = (experts[1:] != experts[:-1]).any(-1).nonzero()[:, 0]
    step = image.diff(dim=0)
    found = [float((step[at] - step[max(at - 1, 0)]).norm()) for at in changes.tolist()]
    return sum(found) / max(float((image[-1] - image[0]).norm()), 1e-30), len(found)


@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
def test_changes_of_experts_are_those_of_a_fine_scan(baseline: str) -> None:
    explainer, inputs = mixtral()
    flow = explainer.explain(inputs, routes="z2z", layers=[0, 1], layer_baseline=baseline, max_nodes=60)
    found = {(change.layer, change.target): change for change in flow.routing_changes}
    seen = 0
    for layer in (0, 1):
        for target in TARGETS:
            expected, changes = scanned(explainer, inputs, layer, target, baseline, 1200)
            jump = found[layer, target].jump if (layer, target) in found else 0.0
            assert jump == pytest.approx(expected, abs=3e-4), (layer, target, changes)
            seen += changes
    assert seen >= 3


def test_a_row_within_the_tolerance_may_hide_a_jump() -> None:
    """The certificate misses what L jumps by. F jumps across the motion, so here by 500 times as much."""
    explainer, inputs = mixtral()
    flow = explainer.explain(inputs, routes="z2z")
    changes = {(change.layer, change.target): change for change in flow.routing_changes}
    assert len(changes) == 21
    assert {place for place, change in changes.items() if change.met} == {(1, 3), (3, 6)}
    hidden = changes[1, 3]
    assert abs(hidden.certificate) < 1e-4
    assert hidden.jump == pytest.approx(3.3e-2, abs=5e-4)
    assert {(cell.layer, cell.target) for cell in flow.unmet} == {p for p, c in changes.items() if not c.met}
    (note,) = [note for note in flow.meta["notes"] if "experts" in note]
    assert note.startswith(
        "z2z: the experts of 21 targets change on the path, where the output jumps by up to"
    )
    assert "1.2e-01 of the total, which no integral sees (2 of them are within the tolerance" in note


def test_what_the_certificate_misses_is_the_jump_of_l() -> None:
    """`sum IG - total` is minus the sum of the jumps of L, which is less than the jump of F."""
    explainer, inputs = mixtral()
    flow = explainer.explain(inputs, routes="z2z", layers=1, targets=[7], tol=1e-4)
    recorded = explainer.prepared.record(inputs)[1]
    z, nodes = recorded.hidden, torch.linspace(0, 1, 4001)[:, None, None]
    with explainer.prepared.ready_for(recorded), torch.no_grad():
        paths = z[7] + nodes * (z - z[7])
        image = torch.cat([recorded.forward(some)[:, 7] for some in paths.split(500)])
    length = (image - image[0]).norm(dim=-1).double()
    step = length.diff()
    jumped = step[(step - step.median()).abs() > 50 * (step - step.median()).abs().median()]
    residue = float(flow.z2z.sum() - flow.total("z2z"))
    assert residue == pytest.approx(-float(jumped.sum()), rel=5e-2)
    assert flow.routing_changes[0].jump > 1.3 * abs(residue) / float(flow.total("z2z"))


def test_frozen_experts_and_layers_without_any_do_not_change() -> None:
    explainer, inputs = mixtral()
    assert explainer.explain(inputs, routes=("u2z", "z2z"), layers=0, experts="frozen").routing_changes == []
    from architectures import ARCHITECTURES, build, example

    dense = Explainer(build(ARCHITECTURES["llama"])).explain(example(ARCHITECTURES["llama"], 5))
    assert dense.routing_changes == []
    assert not any(name.endswith(".jump") for name in dense.tensors)


def test_the_same_in_a_batch_on_a_small_budget_and_from_a_file(tmp_path: Path) -> None:
    explainer, inputs = mixtral()
    settings = {"routes": ("u2z", "z2z"), "layers": [1], "max_nodes": 60}
    alone_ = explainer.explain(inputs, **settings)
    short = {"input_ids": inputs["input_ids"][:, :7]}
    *_, batched = explainer.explain_many([short, inputs], batch_size=2, **settings)
    small = explainer.explain(inputs, memory_budget=400_000, **settings)
    loaded = Flow.load(alone_.save(tmp_path / "flow.safetensors"))
    expected = [(c.route, c.target, pytest.approx(c.jump, abs=1e-5)) for c in alone_.routing_changes]
    assert {route for route, *_ in expected} == {"u2z", "z2z"}
    for flow in (batched, small, loaded):
        assert [(c.route, c.target, c.jump) for c in flow.routing_changes] == expected


def test_a_layer_that_is_not_split_sees_the_same_jumps() -> None:
    explainer, inputs = mixtral()
    layer = explainer.prepared.record(inputs)[1]
    everyone = torch.arange(TOKENS)
    with explainer.prepared.ready_for(layer):
        start = Itb().start(layer.hidden, everyone)
        split = jumps(z2z_map(attention_path(alone(layer), start)), everyone, 1)
        whole = jumps(autograd.z2z(layer.whole("it is not split"), start), everyone, 1)
        in_place = alone(layer.with_findings(positionwise=False))
        columns = jumps(z2z_map(attention_path(in_place, start)), torch.tensor([3, 7, 8]), 1)
    assert (split > 0).sum() >= 4
    torch.testing.assert_close(whole, split, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(columns, split[[3, 7, 8]], rtol=1e-3, atol=1e-5)


def test_words_keep_the_mean_jump_of_their_tokens() -> None:
    explainer, inputs = mixtral()
    flow = explainer.explain(inputs, routes="z2z", layers=1, max_nodes=60)
    words = [place // 2 for place in range(TOKENS)]
    labels = {"words": words, "word_labels": [str(word) for word in range(8)], "word_places": [0] * 8}
    merged = replace(flow, meta={**flow.meta, **labels}).merge_words()
    jump, scale = (flow.tensors[f"z2z.{part}"].view(8, 2).mean(1) for part in ("jump", "scale"))
    expected = {word: float(jump[word] / scale[word]) for word in range(8) if jump[word] > 0}
    assert {c.target: pytest.approx(c.jump) for c in merged.routing_changes} == expected
