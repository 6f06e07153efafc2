"""Settings, inputs and models that cannot be explained: each has one clear message."""

from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, Architecture, build, example, since
from ligflow import Explainer, Flow, LigflowError, Words
from ligflow.evaluation.conformance import check

BERT = ARCHITECTURES["bert"]


@pytest.fixture(scope="module")
def bert() -> Explainer:
    return Explainer(build(BERT))


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
