"""Layers that come to their devices: the same results, at most two at a time, the model as it was."""

import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, WHOLE_ONLY, Architecture, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.devices import streaming
from ligflow.devices.weights import Copies
from ligflow.evaluation.conformance import check
from ligflow.explainer import computation, placement, validated_layers
from ligflow.recording.record import record
from prediction import tiny

FAMILIES = ("bert", "llama", "albert", "gemma3_text", "mixtral")
WAYS: dict[str, dict[str, Any]] = {
    "streamed": {"device": "cpu", "streamed": True},
    "two devices": {"device": ["cpu", "cpu"]},
}
STREAMED = WAYS["streamed"]
BERT, LLAMA = ARCHITECTURES["bert"], ARCHITECTURES["llama"]
unmet = pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # routing jumps in mixtral
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def deep(name: str, layers: int = 5) -> Architecture:
    """The family with more layers."""
    config = dict(ARCHITECTURES[name].config) | {"num_hidden_layers": layers}
    return Architecture(ARCHITECTURES[name].model, config)


def slots(model: nn.Module) -> list[int]:
    """The identity of every parameter and buffer, where the modules keep them."""
    owners = [owner for m in model.modules() for owner in (m._parameters, m._buffers)]
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()]
    return [id(one) for owner in owners for one in owner.values()] + hooks


def assert_same(found: Flow, expected: Flow) -> None:
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in found.tensors.items():
        torch.testing.assert_close(tensor, expected.tensors[name], rtol=1e-4, atol=1e-5, msg=name)
    assert {**found.meta, "notes": []} == {**expected.meta, "notes": []}


@functools.cache
def plain(name: str, baselines: tuple[tuple[str, str], ...]) -> Flow:
    """The flow of the model where it lies, for every way."""
    inputs = example(ARCHITECTURES[name], 4, padding=1)
    return Explainer(build(ARCHITECTURES[name])).explain(inputs, max_nodes=64, **dict(baselines))


@unmet
@ways
@pytest.mark.parametrize("name", FAMILIES)
def test_results_are_those_of_the_model_where_it_lies(name: str, way: dict[str, Any]) -> None:
    model, inputs = build(ARCHITECTURES[name]), example(ARCHITECTURES[name], 4, padding=1)
    before = slots(model)
    explainer = Explainer(model, **way)
    assert explainer.model is model
    for baselines in ((), (("layer_baseline", "mean"), ("att_baseline", "mean"))):
        assert_same(explainer.explain(inputs, max_nodes=64, **dict(baselines)), plain(name, baselines))
        assert slots(model) == before


@ways
def test_float64_stays_float64(way: dict[str, Any]) -> None:
    model = build(LLAMA, torch.float64)
    flow = Explainer(model, **way).explain(example(LLAMA, 5))
    assert flow.meta["dtype"] == "float64"
    for name, tensor in Explainer(model).explain(example(LLAMA, 5)).tensors.items():
        torch.testing.assert_close(flow.tensors[name], tensor, rtol=1e-12, atol=1e-12)


@ways
def test_layers_that_cannot_be_split_are_streamed_too(way: dict[str, Any]) -> None:
    model, inputs = build(WHOLE_ONLY["longformer"]), example(WHOLE_ONLY["longformer"], 4)
    assert_same(
        Explainer(model, **way).explain(inputs, routes="z2z"), Explainer(model).explain(inputs, routes="z2z")
    )


@ways
def test_conformance_and_size_need_no_more(way: dict[str, Any]) -> None:
    explainer = Explainer(build(LLAMA), **way)
    assert explainer.prepared.size(example(LLAMA, 4)) == (2, 4)
    assert all(one.passed for one in check(explainer, [example(LLAMA, 4)]))


# --- how many, and which --------------------------------------------------------------------------


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """For each fetch of a layer: how many copies of layers there were, and the thread's name."""
    alive: WeakSet[Copies] = WeakSet()
    seen: list[tuple[int, str]] = []
    fetch = streaming.fetch

    def counted(modules: Any, device: torch.device) -> Copies:
        seen.append((len(alive), threading.current_thread().name))
        copies = fetch(modules, device)
        alive.add(copies)
        return copies

    monkeypatch.setattr(streaming, "fetch", counted)
    yield seen
    assert not alive


def test_two_layers_at_most_are_resident(fetched: list[tuple[int, str]]) -> None:
    explainer = Explainer(build(deep("bert")), **STREAMED)
    explainer.explain(example(BERT, 4))
    assert len(fetched) == 20  # recorded, run as loaded, validated, explained
    assert max(before for before, _ in fetched) == 1
    assert sum("fetch" in thread for _, thread in fetched) == 16  # all but the first of each pass
    explainer.explain(example(BERT, 4), layers=[1, 3])
    assert len(fetched) == 20 + 10 + 2  # what validation found is known


def test_predictions_hold_two_layers_at_most(fetched: list[tuple[int, str]]) -> None:
    """A prediction runs the model, and borrows its layers meanwhile: all come by one stream."""
    model, inputs = tiny.gpt2(layers=4), {"input_ids": tiny.ids(5)}
    asked = {"answer": 7, "reference": "mean", "edges": [0], "points": 7}
    explainer = Explainer(model, **STREAMED)
    before = slots(explainer.prepared.now().placement.model)
    streamed = explainer.explain_prediction(inputs, **asked)
    assert max(alive for alive, _ in fetched) <= 2  # the layers, and what is no layer
    assert slots(explainer.prepared.now().placement.model) == before
    whole = Explainer(model).explain_prediction(inputs, **asked)
    torch.testing.assert_close(streamed.relevance, whole.relevance, rtol=0, atol=1e-12)
    torch.testing.assert_close(streamed.edges(0), whole.edges(0), rtol=0, atol=1e-12)


def test_a_layer_that_is_called_often_comes_once(fetched: list[tuple[int, str]]) -> None:
    Explainer(build(ARCHITECTURES["albert"]), **STREAMED).explain(example(ARCHITECTURES["albert"], 4))
    assert len(fetched) == 3


def test_layers_use_the_copies_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(deep("bert"))
    explainer = Explainer(model, **STREAMED)
    copied: Any = explainer.prepared.now().placement.model
    own = {id(parameter) for parameter in copied.parameters()}
    seen: list[list[bool]] = []
    explain_together = computation.explain_together

    def looking(layers: Any, *rest: Any) -> Any:
        members = copied.encoder.layer
        seen.append([id(next(member.parameters())) not in own for member in members])
        assert all(id(weight) not in own for weight in layers[0].module.parameters())
        return explain_together(layers, *rest)

    monkeypatch.setattr(computation, "explain_together", looking)
    explainer.explain(example(BERT, 4), routes="z2z")
    assert seen == [[row == column for column in range(5)] for row in range(5)]


def test_another_order_than_expected_works() -> None:
    members = nn.ModuleList(nn.Sequential(nn.Linear(2, 2)) for _ in range(3))
    cpu, before = torch.device("cpu"), slots(members)
    with streaming.Stream([(one, cpu) for one in members]) as stream:
        for number in (0, 2, 2, 1, 0, 1):
            stream.bring(members[number], cpu)
            now = slots(members)
            changed = {place // 2 for place, (a, b) in enumerate(zip(before, now, strict=True)) if a != b}
            assert changed == {number}
    assert slots(members) == before


def test_modules_that_layers_share_keep_their_own_weights() -> None:
    shared = nn.Linear(2, 2)
    members = nn.ModuleList(nn.Sequential(shared, nn.Linear(2, 2)) for _ in range(3))
    cpu, before = torch.device("cpu"), slots(members)
    with streaming.Stream([(one, cpu) for one in members]) as stream:
        for member in members:
            stream.bring(member, cpu)
            assert torch.equal(member[0].weight, shared.weight)
    assert slots(members) == before


# --- after an error -------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("place", ["record", "validate", "explain_together"])
def test_the_model_is_left_as_found_after_an_error(
    place: str, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(deep("llama"))
    before = slots(model)

    def fail(*_: Any) -> None:
        if place != "record":  # a hook, which is bound to the copy that is recorded
            assert slots(model) == before
        raise ArithmeticError("on purpose")

    if place == "record":
        model.layers[3].mlp.register_forward_hook(fail)
        before = slots(model)
    else:
        monkeypatch.setattr(validated_layers if place == "validate" else computation, place, fail)
    with pytest.raises(ArithmeticError, match="on purpose"):
        Explainer(model, **way).explain(example(LLAMA, 4))
    assert slots(model) == before
    assert model.config._attn_implementation != "ligflow"


@ways
def test_no_room_on_a_device_is_said(way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate")

    model = build(BERT)
    before = slots(model)
    monkeypatch.setattr("ligflow.devices.weights.fresh", full)
    with pytest.raises(LigflowError, match="cpu has no room for the weights of two layers: tried"):
        Explainer(model, **way).explain(example(BERT, 4))
    assert slots(model) == before


# --- several devices ------------------------------------------------------------------------------


def test_every_device_has_a_thread_and_progress_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[int, int] = {}
    explain_together = computation.explain_together

    def noting(layers: Any, *rest: Any) -> Any:
        threads[layers[0].index] = threading.get_ident()
        return explain_together(layers, *rest)

    monkeypatch.setattr(computation, "explain_together", noting)
    seen: list[tuple[int, int]] = []
    explainer = Explainer(build(deep("bert")), **WAYS["two devices"])
    explainer.explain(example(BERT, 4), routes="z2z", progress=lambda done, of: seen.append((done, of)))
    assert seen == [(n, 5) for n in (1, 2, 3, 4, 5)]
    assert threads[0] == threads[2] == threads[4] != threads[1] == threads[3]
    assert threading.get_ident() not in threads.values()


def test_an_error_stops_the_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def fail(layers: Any, *_: Any) -> None:
        started.append(layers[0].index)
        time.sleep(0.1)
        raise ArithmeticError("on purpose")

    monkeypatch.setattr(computation, "explain_together", fail)
    explainer = Explainer(build(deep("bert", 12)), **WAYS["two devices"])
    with pytest.raises(ArithmeticError, match="on purpose"):
        explainer.explain(example(BERT, 4))
    assert len(started) < 12


def test_layers_that_share_a_module_go_to_one_device() -> None:
    model = build(deep("bert"))
    model.encoder.layer[3].output = model.encoder.layer[0].output
    layers = record(model, example(BERT, 4))
    assert placement._groups(layers) == [0, 1, 2, 0, 3]
    model.encoder.layer[4].output = model.encoder.layer[1].output
    model.encoder.layer[4].attention = model.encoder.layer[3].attention
    assert placement._groups(layers) == [0, 0, 1, 0, 0]


def test_threads_that_share_a_streamed_model_take_turns() -> None:
    explainer, inputs = Explainer(build(LLAMA), **STREAMED), [example(LLAMA, 4), example(LLAMA, 6)]
    expected = [explainer.explain(one).z2z for one in inputs]
    found: dict[int, torch.Tensor] = {}

    def work(number: int) -> None:
        found[number] = explainer.explain(inputs[number]).z2z

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, z2z in enumerate(expected):
        torch.testing.assert_close(found[number], z2z)


# --- weights that are not in memory ---------------------------------------------------------------


def mapped(model: nn.Module, folder: Path) -> bool:
    """Whether all weights lie in the memory maps of files in the folder."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    spans = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in lines]
    return all(any(a <= one.data_ptr() < b for a, b in spans) for one in model.parameters())


needs_maps = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")


@needs_maps
@ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_is_read_layer_by_layer(dtype: torch.dtype, way: dict[str, Any], tmp_path: Path) -> None:
    build(LLAMA, dtype).save_pretrained(tmp_path)
    explainer = Explainer.from_pretrained(str(tmp_path), **way)
    assert mapped(explainer.model, tmp_path)
    assert explainer.model.dtype == dtype
    flow = explainer.explain(example(LLAMA, 4))
    assert_same(flow, Explainer.from_pretrained(str(tmp_path)).explain(example(LLAMA, 4)))
    assert mapped(explainer.model, tmp_path)
    said = ["weights in bfloat16, integrated in a float32 copy"] if dtype == torch.bfloat16 else []
    assert flow.meta["notes"] == said


@needs_maps
@unmet
@pytest.mark.parametrize("name", ["albert", "mixtral"])
def test_weights_can_be_kept_in_a_folder(name: str, tmp_path: Path) -> None:
    model, inputs = build(ARCHITECTURES[name]), example(ARCHITECTURES[name], 4)
    before = slots(model)
    expected = Explainer(model).explain(inputs, max_nodes=64)
    for _ in range(2):  # the second writes while the first one's files are in use
        explainer = Explainer(model, offload_folder=tmp_path / "weights", **STREAMED)
        assert mapped(explainer.model, tmp_path)
        assert_same(explainer.explain(inputs, max_nodes=64), expected)
    assert slots(model) == before
    assert not mapped(model, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LigflowError, match=r"offload_folder .*file/weights' cannot be made"):
        Explainer(build(BERT), offload_folder=tmp_path / "file" / "weights", **STREAMED)


def dispatched(model: PreTrainedModel) -> PreTrainedModel:
    """The model with the hooks of accelerate, as device_map leaves it."""
    from accelerate import dispatch_model

    modules = {name.split(".")[0] for name, _ in model.named_parameters()} | {"rotary_emb"}
    return dispatch_model(model, dict.fromkeys(modules, "cpu"), main_device="cpu", force_hooks=True)


@pytest.mark.parametrize("baseline", ["itb", "mean"])
def test_a_model_that_accelerate_placed_is_explained_where_it_is(baseline: str) -> None:
    inputs = example(LLAMA, 4)
    expected = Explainer(build(LLAMA)).explain(inputs, att_baseline=baseline)
    model = dispatched(build(LLAMA))
    assert hasattr(model.layers[0].mlp.up_proj, "_hf_hook")
    assert_same(Explainer(model).explain(inputs, att_baseline=baseline), expected)


def test_weights_that_accelerate_offloaded_are_refused() -> None:
    model = build(BERT)
    model.encoder.layer[1].to("meta")
    with pytest.raises(LigflowError, match=r"encoder\.layer\.1.*not in memory.*streamed=True"):
        Explainer(model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"streamed": True}, "needs the device that layers come to, e.g. device='cuda'; present: cpu"),
        ({"offload_folder": "weights"}, "offload_folder is for streamed layers"),
        ({"device": []}, "No device was given; present: cpu"),
        ({"device": ["cpu", "gpu"]}, "'gpu' is not usable; present: cpu"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        Explainer(build(BERT), **given)
    with pytest.raises(LigflowError, match=message):
        Explainer.from_pretrained(**given)
