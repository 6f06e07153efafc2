"""The public entry: borrowed models, the caller's modes, threads, notes, attention weights."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from ligflow import CompletenessWarning, Explainer, LigflowError, direction
from ligflow.layer.model_state import prepared

BERT = ARCHITECTURES["bert"]


@pytest.fixture(scope="module")
def bert() -> Explainer:
    return Explainer(build(BERT))


def snapshot(model: torch.nn.Module) -> tuple[object, ...]:
    modules = [
        (module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in model.modules()
    ]
    parameters = [(p.requires_grad, p.grad is None, p.data_ptr()) for p in model.parameters()]
    return model.config._attn_implementation, model.config._experts_implementation, modules, parameters


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # routing jumps in mixtral
@pytest.mark.parametrize("name", ["bert", "mixtral", "gemma3_text"])
def test_the_model_is_left_as_found_also_after_an_error(name: str) -> None:
    model = build(ARCHITECTURES[name]).train()
    model.set_attn_implementation("sdpa")
    next(model.parameters()).requires_grad_(False)
    before = snapshot(model)
    Explainer(model).explain(example(ARCHITECTURES[name], 4), layers=[0])
    assert snapshot(model) == before
    with pytest.raises(LigflowError):
        Explainer(model).explain({"input_ids": torch.tensor([[999]])})
    assert snapshot(model) == before
    with pytest.raises(RuntimeError, match="on purpose"), prepared(model):
        raise RuntimeError("on purpose")
    assert snapshot(model) == before


def test_training_mode_does_not_change_a_result() -> None:
    inputs = example(BERT, 5)
    ours = Explainer(build(BERT).train()).explain(inputs)
    assert torch.equal(ours.z2z, Explainer(build(BERT)).explain(inputs).z2z)


MODES = {
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("name", ["llama", "gptj", "mamba"])
def test_the_callers_modes_do_not_change_a_result(
    name: str, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    architecture = (ARCHITECTURES | WHOLE_ONLY)[name]
    explainer = Explainer(build(architecture))
    routes = ("z2z",) if name == "mamba" else ("z2u", "u2z", "z2z")
    expected = explainer.explain(example(architecture, 5), routes=routes)
    with mode():
        found = explainer.explain(example(architecture, 5), routes=routes)
    for route in routes:
        assert torch.equal(found.tensors[route], expected.tensors[route])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_integrated_in_a_float32_copy_and_noted(dtype: torch.dtype) -> None:
    model = build(BERT).to(dtype)
    flow = Explainer(model).explain(example(BERT, 5))
    rounded = Explainer(build(BERT).to(dtype).float()).explain(example(BERT, 5))
    assert torch.equal(flow.z2z, rounded.z2z)
    assert flow.z2z.dtype == torch.float32
    assert model.dtype == dtype
    assert "float32 copy" in flow.meta["notes"][0]


def test_one_part_in_half_precision_is_enough() -> None:
    model = build(ARCHITECTURES["llama"])
    model.layers.to(torch.bfloat16)
    assert model.dtype == torch.float32
    flow = Explainer(model).explain(example(ARCHITECTURES["llama"], 5))
    assert not flow.unmet
    assert flow.meta["notes"] == ["weights in bfloat16, integrated in a float32 copy"]
    assert model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_model_made_in_inference_mode_is_copied(dtype: torch.dtype) -> None:
    with torch.inference_mode():
        model = build(BERT, dtype)
        explainer = Explainer(model)
    found = explainer.explain(example(BERT, 5)).z2z
    assert torch.equal(found, Explainer(build(BERT, dtype)).explain(example(BERT, 5)).z2z)
    assert torch.equal(found, Explainer(model).explain(example(BERT, 5)).z2z)
    assert all(parameter.is_inference() for parameter in model.parameters())


def test_loading_in_inference_mode_gives_weights_as_any(tmp_path: Path) -> None:
    build(BERT).save_pretrained(tmp_path)
    with torch.inference_mode():
        explainer = Explainer.from_pretrained(str(tmp_path))
        expected = Explainer(build(BERT)).explain(example(BERT, 4))
        assert torch.equal(explainer.explain(example(BERT, 4)).z2z, expected.z2z)
    assert not any(parameter.is_inference() for parameter in explainer.model.parameters())


@pytest.mark.parametrize("shared", [True, False])
def test_threads_do_not_meet(shared: bool) -> None:
    names = ["bert", "bert"] if shared else ["bert", "llama"]
    model = build(BERT)
    explainers = [Explainer(model if shared else build(ARCHITECTURES[name])) for name in names]
    inputs = [example(ARCHITECTURES[name], size) for name, size in zip(names, (6, 7), strict=True)]
    expected = [one.explain(given) for one, given in zip(explainers, inputs, strict=True)]
    found: dict[int, list[torch.Tensor]] = {0: [], 1: []}

    def work(which: int) -> None:
        for _ in range(3):
            found[which].append(explainers[which].explain(inputs[which]).z2u)

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which in (0, 1):
        assert len(found[which]) == 3
        for one in found[which]:
            torch.testing.assert_close(one, expected[which].z2u)


def test_order_of_layers_does_not_matter(bert: Explainer) -> None:
    inputs = example(BERT, 5)
    whole = bert.explain(inputs, layers=[1, 0])
    assert whole.layers == (0, 1)
    assert torch.equal(whole.z2z[1:], bert.explain(inputs, layers=[1]).z2z)


def test_unmet_cells_are_warned_of_and_named(bert: Explainer) -> None:
    with pytest.warns(CompletenessWarning, match="cells miss the tolerance") as caught:
        flow = bert.explain(example(BERT, 5), routes=("z2z",), layer_baseline="zero", quadrature="captum:4")
    assert len(flow.unmet) == 10
    worst = max(flow.unmet, key=lambda cell: abs(cell.certificate))
    assert abs(worst.certificate) == pytest.approx(flow.worst_certificate())
    assert f"layer {worst.layer}" in str(caught.pop(CompletenessWarning).message)


def test_a_mean_baseline_in_a_causal_model_is_noted() -> None:
    causal, plain = (
        Explainer(build(ARCHITECTURES[name])).explain(example(ARCHITECTURES[name], 5), att_baseline="mean")
        for name in ("llama", "bert")
    )
    assert "later tokens" in causal.meta["notes"][0]
    assert plain.meta["notes"] == []


def test_rows_whose_signs_a_ratio_turned_are_counted() -> None:
    explainer = Explainer(build(ARCHITECTURES["llama"]))
    inputs = example(ARCHITECTURES["llama"], 9)
    zero = explainer.explain(inputs, routes=("z2z",), layer_baseline="zero").z2z
    share = zero.diagonal(dim1=-2, dim2=-1) / zero.sum(-1)
    flow = explainer.explain(inputs, routes=("z2z",), layer_baseline="itb_zero_ratio")
    expected = int((share > 1).sum())
    assert expected > 0
    assert f"turned the signs of {expected} of 18 rows" in flow.meta["notes"][0]


def test_directions_per_route(bert: Explainer) -> None:
    vector = torch.linspace(-1, 1, 32)
    flow = bert.explain(
        example(BERT, 5), tol=1e-5, max_nodes=4000,
        scalarization={"z2z": direction(vector), "u2z": direction(vector), "z2u": direction(torch.ones(8))},
    )  # fmt: skip
    layer = bert.prepared.record(example(BERT, 5))[1]
    assert flow.total("z2z")[1].abs().max() < vector.norm() * layer.output.norm(dim=-1).max() * 2
    torch.testing.assert_close(flow.total("z2z"), flow.total("u2z"), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flow.z2z.sum(-1), flow.total("z2z"), rtol=1e-3, atol=1e-3)
    assert (flow.total("z2z") < 0).any()
    assert (flow.total("z2z") > 0).any()
    with pytest.raises(LigflowError, match="direction for z2u has shape"):
        bert.explain(example(BERT, 5), scalarization=direction(vector))


@pytest.mark.parametrize(
    ("name", "size"), [("bert", (2, 4)), ("albert", (3, 4)), ("gptj", (2, 4)), ("mamba", (2, 0))]
)
def test_the_size_of_a_model_is_known_from_one_run(name: str, size: tuple[int, int]) -> None:
    architecture = (ARCHITECTURES | WHOLE_ONLY)[name]
    assert Explainer(build(architecture)).prepared.size(example(architecture, 4)) == size


def test_progress_is_reported_by_layer(bert: Explainer) -> None:
    seen: list[tuple[int, int]] = []
    bert.explain(example(BERT, 3), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]


def test_attention_is_what_the_model_itself_returns(bert: Explainer) -> None:
    ids = torch.tensor([[3, 7, 9, 11, 4]])
    with torch.no_grad():
        before = bert.model.config._attn_implementation
        bert.model.set_attn_implementation("eager")
        known = torch.stack(bert.model(ids, output_attentions=True).attentions)[:, 0]
        bert.model.set_attn_implementation(before)
    torch.testing.assert_close(bert.attention({"input_ids": ids}), known, rtol=1e-5, atol=1e-6)
    some = bert.attention({"input_ids": ids}, layers=1, targets=[2, 4])
    torch.testing.assert_close(some, known[1:2, :, [2, 4]], rtol=1e-5, atol=1e-6)


def test_attention_leaves_padding_out(bert: Explainer) -> None:
    ids = torch.tensor([[3, 7, 9]])
    padded = {"input_ids": torch.tensor([[3, 7, 9, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 0, 0]])}
    torch.testing.assert_close(bert.attention(padded), bert.attention({"input_ids": ids}))
