"""The public entry: bad input, borrowed models, precision, threads, notes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, WHOLE_ONLY, Architecture, build, example, since
from ligflow import CompletenessWarning, Explainer, Flow, LigflowError, Words, direction
from ligflow.devices.precision import check_precision, exact_mode
from ligflow.devices.weights import fresh, with_weights
from ligflow.evaluation.conformance import check
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


BAD = {
    "layer": ({"layers": [2]}, "no layer 2: there are 2, numbered 0 to 1"),
    "negative layer": ({"layers": [-3]}, "no layer -3"),
    "target": ({"targets": [5]}, "no target 5: there are 5"),
    "no layer": ({"layers": []}, "No layer was chosen"),
    "route": ({"routes": ("u2u",)}, "Unknown route 'u2u'; choose from z2u, u2z, z2z"),
    "baseline": ({"att_baseline": "pad"}, "itb, zero, mean, itb_zero_ratio, itb_map_ratio"),
    "layer baseline": ({"layer_baseline": "itb_map_ratio"}, "Unknown layer_baseline"),
    "mlp baseline": ({"mlp_baseline": "itb"}, "att_itb_a0, zero, matched"),
    "rule": ({"quadrature": "simpson:3"}, "Unknown quadrature 'simpson:3'"),
    "tol": ({"tol": 0.0}, "between 0 and 1"),
    "baseline shape": ({"att_baseline": torch.ones(4, 32)}, r"\(5, 32\) or \(32,\)"),
    "mlp baseline shape": ({"mlp_baseline": torch.ones(32)}, r"\(5, 4, 8\) or \(4, 8\)"),
    "baseline nan": ({"layer_baseline": torch.full((32,), torch.nan)}, "NaN"),
}


@pytest.mark.parametrize(("settings", "message"), BAD.values(), ids=BAD.keys())
def test_bad_settings_have_one_clear_message(
    bert: Explainer, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(LigflowError, match=message):
        bert.explain(example(BERT, 5), **settings)


WRONG_TYPES = {
    "float layer": ({"layers": [0.0]}, r"layers is \[0.0\]; give whole numbers"),
    "text for layers": ({"layers": "first"}, "'first' is not a list of layers; give numbers and ranges"),
    "truth values": ({"targets": torch.tensor([True, False])}, "give whole numbers, e.g. targets="),
    "truth value": ({"layers": True}, "layers is True"),
    "routes": ({"routes": 3}, "routes is 3; give names, of z2u, u2z, z2z"),
    "array of text": ({"att_baseline": np.array(["itb"])}, "array of <U3 cannot be used"),
    "array shape": ({"att_baseline": np.zeros((4, 32))}, r"\(5, 32\) or \(32,\)"),
}


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("settings", "message"), WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_settings_of_another_type_have_one_clear_message(
    bert: Explainer, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(LigflowError, match=message):
        bert.explain(example(BERT, 5), **settings)


@pytest.mark.usefixtures("no_shape_checks")
def test_inputs_that_are_neither_text_nor_mapping_are_refused(bert: Explainer) -> None:
    with pytest.raises(LigflowError, match="a list of 2 texts, and explain takes one; take a flow for each"):
        bert.explain(["one", "two"])
    with pytest.raises(
        LigflowError, match=r"a tuple that holds one text.*pass texts\[0\], or take .* explain_many"
    ):
        bert.explain(("one",))
    with pytest.raises(LigflowError, match="a list of 2 texts"):
        bert.explain([Words.joined(["a", "b"]), [{"role": "user", "content": "Hi"}]])
    with pytest.raises(LigflowError, match="inputs are of type int; pass one text, its words"):
        bert.explain(3)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (
            {"layers": torch.tensor([0, 1]), "targets": torch.arange(3)},
            {"layers": [0, 1], "targets": range(3)},
        ),
        ({"layers": np.array([-1]), "targets": np.int64(2)}, {"layers": [1], "targets": [2]}),
        ({"layers": 0, "targets": (-1,)}, {"layers": [0], "targets": [4]}),
        ({"layer_baseline": np.linspace(-1, 1, 32)}, {"layer_baseline": torch.linspace(-1, 1, 32)}),
        ({"layer_baseline": np.zeros((5, 32))[::-1]}, {"layer_baseline": "zero"}),
    ],
    ids=["tensors", "arrays", "one", "array of one token", "array of all tokens"],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_what_stands_for_the_same_gives_the_same(
    bert: Explainer, given: dict[str, object], plain: dict[str, object], tmp_path: Path
) -> None:
    ours = bert.explain(example(BERT, 5), routes="z2z", **given)
    theirs = bert.explain(example(BERT, 5), routes=("z2z",), **plain)
    assert (ours.layers, ours.targets, ours.routes) == (theirs.layers, theirs.targets, ("z2z",))
    torch.testing.assert_close(ours.z2z, theirs.z2z)
    assert Flow.load(ours.save(tmp_path / "flow")).layers == ours.layers


def test_bad_inputs_have_one_clear_message(bert: Explainer) -> None:
    ids = torch.arange(3, 8)[None]
    cases = {
        "needs a tokenizer": "some text",
        "one example at a time": {"input_ids": ids.repeat(2, 1)},
        "50 tokens, and the model takes 40": {"input_ids": torch.full((1, 50), 5)},
        "no tokens": {"input_ids": ids[:, :0]},
        "are empty": {},
        "hides every token": {"input_ids": ids, "attention_mask": torch.zeros_like(ids)},
        "looks up row 999 of": {"input_ids": torch.tensor([[999]])},
    }
    for message, inputs in cases.items():
        with pytest.raises(LigflowError, match=message):
            bert.explain(inputs)


def test_inputs_that_the_model_does_not_take_are_left_out_and_named(bert: Explainer) -> None:
    ids = torch.arange(3, 8)[None]
    flow = bert.explain({"input_ids": ids, "decoder_input_ids": ids}, routes="z2z")
    assert any("decoder_input_ids" in note for note in flow.meta["notes"])


SPEECH = Architecture(
    "Wav2Vec2Model",
    {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
     "conv_dim": [8, 8], "conv_stride": [4, 4], "conv_kernel": [4, 4], "num_feat_extract_layers": 2,
     "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer",
     "do_stable_layer_norm": True},
)  # fmt: skip


@pytest.mark.parametrize("adapter", [False, True])
def test_a_mask_over_samples_hides_the_frames_that_are_padding(adapter: bool) -> None:
    explainer = Explainer(build(Architecture("Wav2Vec2Model", SPEECH.config | {"add_adapter": adapter})))
    samples = torch.randn(1, 160, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(160) < 96).long()[None]
    flow = explainer.explain({"input_values": samples, "attention_mask": mask}, routes=("z2z",))
    assert flow.tokens == [f"0.00{frame}s" for frame in range(6)]  # of 160 samples, 10 frames of 1 ms
    assert not flow.unmet
    assert len(explainer.explain({"input_values": samples}, routes=("z2z",)).tokens) == 10
    whole = {"input_values": samples, "attention_mask": torch.ones_like(mask)}
    assert len(explainer.explain(whole, routes=("z2z",)).tokens) == 10
    assert all(one.passed for one in check(explainer, [whole | {"attention_mask": mask}]))


@since("5.14.0")  # older ones fail themselves
def test_frames_that_a_model_pools_once_more_are_not_guessed() -> None:
    """SEW halves its frames inside the encoder, after its own arithmetic of masks."""
    config = {name: SPEECH.config[name] for name in SPEECH.config if name != "do_stable_layer_norm"}
    model = build(Architecture("SEWModel", config | {"squeeze_factor": 2}))
    mask = (torch.arange(160) < 96).long()[None]
    with pytest.raises(LigflowError, match="which of these are padding is not known"):
        Explainer(model).explain({"input_values": torch.randn(1, 160), "attention_mask": mask})


def test_inputs_must_be_tensors() -> None:
    with pytest.raises(LigflowError, match="is list; pass tensors"):
        Explainer(build(BERT)).explain({"input_ids": [[1, 2]]})


def test_weights_with_nan_are_named() -> None:
    model = build(BERT)
    with torch.no_grad():
        model.encoder.layer[1].output.dense.weight[0, 0] = torch.nan
    with pytest.raises(LigflowError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        Explainer(model)


def test_a_layer_that_overflows_is_named() -> None:
    model = build(BERT)
    with torch.no_grad():
        model.encoder.layer[1].intermediate.dense.weight.mul_(1e30)
        model.encoder.layer[1].output.dense.weight.mul_(1e30)
    with pytest.raises(LigflowError, match=r"Layer 1 \(encoder.layer.1, BertLayer\) gives NaN"):
        Explainer(model).explain(example(BERT, 4), layers=[1], routes=("u2z",))


def test_only_models_of_transformers_are_taken() -> None:
    with pytest.raises(LigflowError, match="not Linear"):
        Explainer(torch.nn.Linear(2, 2))


@pytest.mark.usefixtures("no_shape_checks")
def test_of_a_compiled_model_the_model_itself_is_asked_for() -> None:
    model = build(BERT)
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(LigflowError, match=r"not OptimizedModule; .*model\._orig_mod"):
        Explainer(compiled)
    assert Explainer(compiled._orig_mod).model is model


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


# --- devices and precision ------------------------------------------------------------------------

WRONG_DEVICES = ["gpu", "cuda:7", "cpu:x", "meta", 3.5, *([] if torch.cuda.is_available() else ["cuda", 0])]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("device", WRONG_DEVICES, ids=str)
def test_a_device_that_is_not_there_is_refused_with_those_present(device: str) -> None:
    for use in (
        lambda: Explainer(build(BERT), device=device),
        lambda: Explainer.from_pretrained(device=device),
    ):
        with pytest.raises(LigflowError, match=f"Device '{device}' is not usable; present: cpu"):
            use()


def test_a_model_that_is_on_the_device_is_not_copied() -> None:
    model = build(BERT)
    assert Explainer(model, device="cpu").model is model
    assert Explainer(model, device=["cpu"]).model is model


def test_a_copy_elsewhere_shares_nothing_with_the_model() -> None:
    model = build(BERT)
    model.lm = model.embeddings.word_embeddings
    copied = with_weights(model, lambda weight: fresh(weight, torch.device("cpu")))
    assert type(copied) is type(model)
    assert copied.lm.weight is copied.embeddings.word_embeddings.weight
    theirs = {weight.data_ptr() for weight in (*model.parameters(), *model.buffers())}
    assert theirs.isdisjoint(weight.data_ptr() for weight in (*copied.parameters(), *copied.buffers()))
    for ours, own in zip(copied.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, own)


def flags() -> tuple[object, ...]:
    """What the process has set about products in float32."""
    owners = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul)
    newer = [getattr(owner, "fp32_precision", None) for owner in owners]
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, *newer
    except RuntimeError:  # older and newer settings disagree
        return tuple(newer)


@pytest.fixture
def process_flags() -> Iterator[None]:
    before, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.allow_tf32 = cudnn


def newer_setting() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


PROCESS = {
    "as they are": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "cudnn off": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
}
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
    PROCESS["newer"] = newer_setting


@pytest.mark.usefixtures("process_flags")
@pytest.mark.parametrize("change", PROCESS.values(), ids=PROCESS.keys())
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_precision_holds_inside_and_the_process_gets_its_own_back(
    change: Callable[[], None], precision: str
) -> None:
    change()
    before, fast = flags(), precision == "tf32"
    inside: list[tuple[object, ...]] = []

    def failing() -> None:
        inside.append(flags())
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), exact_mode(torch.device("cpu"), precision):
        failing()
    assert inside[0][-3:] in ((None,) * 3, ("tf32", "tf32", "ieee") if fast else ("ieee",) * 3)
    assert len(inside[0]) == 3 or inside[0][:2] == (("high", True) if fast else ("highest", False))
    assert flags() == before


@pytest.mark.usefixtures("process_flags")
def test_explain_is_exact_unless_told_otherwise(bert: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_float32_matmul_precision("medium")
    seen: list[object] = []
    bert.explain(example(BERT, 3), progress=lambda *_: seen.append(torch.get_float32_matmul_precision()))
    monkeypatch.setattr("ligflow.explainer.explainer.check_precision", lambda *_: None)
    flow = bert.explain(
        example(BERT, 3),
        precision="tf32",
        progress=lambda *_: seen.append(torch.get_float32_matmul_precision()),
    )
    assert seen == ["highest"] * 2 + ["high"] * 2
    assert flow.meta["settings"]["precision"] == "tf32"
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.usefixtures("process_flags")
def test_calls_side_by_side_are_as_exact_as_the_strictest() -> None:
    torch.set_float32_matmul_precision("medium")
    with exact_mode(torch.device("cpu"), "tf32"):
        with exact_mode(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_a_precision_that_the_device_does_not_have_is_refused(bert: Explainer, precision: str) -> None:
    with pytest.raises(LigflowError, match=f"'{precision}' is not available on cpu; choose from float32.$"):
        bert.explain(example(BERT, 3), precision=precision)


def test_on_cuda_both_precisions_are_there() -> None:
    check_precision("tf32", [torch.device("cuda:0"), torch.device("cuda:1")])
    with pytest.raises(LigflowError, match=r"on cpu and cuda; choose from float32.$"):
        check_precision("tf32", [torch.device("cuda:0"), torch.device("cpu")])
    with pytest.raises(LigflowError, match=r"'bf16' is not available on cuda; choose from float32, tf32.$"):
        check_precision("bf16", [torch.device("cuda:0")])


# --- attention weights ----------------------------------------------------------------------------


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
