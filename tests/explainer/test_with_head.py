"""A checkpoint's model with the head that it names; flows are taken without it, of the same weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.explainer.pretrained import load_whole
from ligflow.explainer.with_head import without_head

HEADS = [
    ("llama", "LlamaForCausalLM"),
    ("gpt2", "GPT2LMHeadModel"),
    ("bert", "BertForMaskedLM"),
    ("bert", "BertForSequenceClassification"),
    ("t5", "T5ForConditionalGeneration"),
    ("bart", "BartForConditionalGeneration"),
    ("vit", "ViTForImageClassification"),
]


def saved(folder: Path, name: str, kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(build(ARCHITECTURES[name]).config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def inputs_of(name: str, both: bool = False) -> dict[str, Tensor]:
    inputs = example(ARCHITECTURES[name], 5)
    return inputs | ({"decoder_input_ids": inputs["input_ids"]} if both else {})


@pytest.mark.parametrize(("name", "kind"), HEADS)
def test_flows_are_those_of_the_model_without_its_head_to_the_last_bit(
    tmp_path: Path, name: str, kind: str
) -> None:
    saved(tmp_path, name, kind)
    stack = "decoder" if kind.startswith("T5") else None
    inputs = inputs_of(name, stack is not None)
    few: dict[str, Any] = {
        "quadrature": "gauss-legendre:5",
        "tol": 0.999,
    }  # bits are the same at any accuracy
    explainer = Explainer.from_pretrained(tmp_path, stack=stack)
    flow = explainer.explain(inputs, **few)
    base = AutoModel.from_pretrained(tmp_path)
    plain = Explainer(base, explainer.tokenizer, name=str(tmp_path), stack=stack).explain(inputs, **few)
    assert flow.meta == plain.meta
    assert flow.tensors.keys() == plain.tensors.keys()
    for key, tensor in flow.tensors.items():
        assert torch.equal(tensor, plain.tensors[key]), key


@pytest.mark.parametrize(("name", "kind"), HEADS)
def test_the_whole_says_what_the_saved_model_says(tmp_path: Path, name: str, kind: str) -> None:
    model = saved(tmp_path, name, kind)
    whole = Explainer.from_pretrained(tmp_path).whole
    assert whole.headless == ""
    inputs = inputs_of(name, model.config.is_encoder_decoder)
    with torch.no_grad():
        logits = whole.now().placement.model(**inputs).logits
        torch.testing.assert_close(logits, model(**inputs).logits, rtol=0, atol=1e-6)


def test_flows_do_not_run_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, "llama", "LlamaForCausalLM")
    explainer = Explainer.from_pretrained(tmp_path)

    def ran(*_: Any, **__: Any) -> None:
        raise AssertionError("the head ran")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", ran)
    explainer.explain(inputs_of("llama"))
    with pytest.raises(AssertionError, match="the head ran"):
        explainer.whole.now().placement.model(**inputs_of("llama"))


def test_the_two_have_the_same_weights(tmp_path: Path) -> None:
    saved(tmp_path, "t5", "T5ForConditionalGeneration")
    loaded = load_whole(tmp_path)
    assert type(loaded.model).__name__ == "T5Model"
    memory = {one.data_ptr() for one in loaded.whole.parameters()}
    assert {one.data_ptr() for one in loaded.model.parameters()} <= memory


def config_with(folder: Path, **changed: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed), encoding="utf-8")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (None, "its config names no class with a head"),
        (["NoSuchModel"], "its config names NoSuchModel, which transformers does not have"),
        (["BertTokenizer"], "its config names BertTokenizer, which transformers does not have"),
        (["BertModel"], "its config names BertModel, a class without a head"),
        (["BertForMaskedLM"], "its checkpoint lacks 'cls.predictions.bias' of BertForMaskedLM"),
    ],
)
def test_without_a_head_it_is_the_base_model_and_why_is_known(
    tmp_path: Path, names: list[str] | None, why: str
) -> None:
    build(ARCHITECTURES["bert"]).save_pretrained(tmp_path)
    config_with(tmp_path, architectures=names)
    explainer = Explainer.from_pretrained(tmp_path)
    assert type(explainer.model).__name__ == "BertModel"
    assert explainer.whole is explainer.prepared
    assert explainer.whole.headless == why


def test_heads_of_other_sizes_are_as_good_as_missing(tmp_path: Path) -> None:
    """They are drawn at random where the sizes of the config are other ones."""
    saved(tmp_path, "bert", "BertForSequenceClassification")
    config_with(tmp_path, id2label={0: "a", 1: "b", 2: "c"})
    loaded = load_whole(tmp_path, ignore_mismatched_sizes=True)
    assert loaded.headless == "its checkpoint lacks 'classifier.bias' of BertForSequenceClassification"
    assert type(loaded.whole).__name__ == "BertModel"


def test_a_head_that_cannot_be_built_leaves_flows_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, "llama", "LlamaForCausalLM")

    def broken(*_: object) -> None:
        raise ImportError("LlamaForCausalLM requires something\nwhich is not there")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "__init__", broken)
    explainer = Explainer.from_pretrained(tmp_path)
    assert explainer.whole.headless == (
        "LlamaForCausalLM could not be loaded: LlamaForCausalLM requires something"
    )
    assert not explainer.explain(inputs_of("llama")).unmet
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(LigflowError, match="Could not load model"):
        load_whole(tmp_path)


def test_a_head_on_other_layers_than_those_that_flows_have(tmp_path: Path) -> None:
    saved(tmp_path, "bart", "BartForCausalLM")
    assert load_whole(tmp_path).headless == "BartForCausalLM does not hold all of BartModel"


def test_a_causal_model_that_is_asked_for_is_both(tmp_path: Path) -> None:
    saved(tmp_path, "gpt2", "GPT2LMHeadModel")
    explainer = Explainer.from_pretrained(tmp_path, unembedding=True)
    assert type(explainer.model).__name__ == "GPT2LMHeadModel"
    assert explainer.whole is explainer.prepared


def test_a_model_that_holds_no_such_model_has_none_without_its_head() -> None:
    assert without_head(build(ARCHITECTURES["gpt2"]), "BertModel") is None
    assert without_head(build(ARCHITECTURES["gpt2"]), "NoSuchModel") is None


CODE = """
from transformers import BertConfig, BertForMaskedLM, BertModel
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertModel):
    config_class = OwnConfig
class OwnMasked(BertForMaskedLM):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.bert = OwnModel(config, add_pooling_layer=False)
        self.post_init()
"""


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("base", [True, False])
def test_a_head_of_a_checkpoints_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: bool
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "own"
    model = saved(folder, "bert", "BertForMaskedLM")
    (folder / "own.py").write_text(CODE, encoding="utf-8")
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.OwnMasked"}
    own |= {"AutoModel": "own.OwnModel"} if base else {}
    config_with(folder, model_type="own", auto_map=own, architectures=["OwnMasked"])
    explainer = Explainer.from_pretrained(folder, trust_remote_code=True)
    assert type(explainer.model).__name__ == "OwnModel"
    assert type(explainer.whole.model).__name__ == "OwnMasked"
    with torch.no_grad():
        logits = explainer.whole.now().placement.model(**inputs_of("bert")).logits
        torch.testing.assert_close(logits, model(**inputs_of("bert")).logits)
    config_with(folder, architectures=["Other"])
    assert load_whole(folder, trust_remote_code=True).headless == (
        "its config names Other, which its code does not load"
    )


def test_a_checkpoint_that_cannot_be_read_is_still_said_to_be(tmp_path: Path) -> None:
    saved(tmp_path, "bert", "BertForMaskedLM")
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(LigflowError, match="Could not load model"):
        load_whole(tmp_path)


def test_parts_that_differ_are_not_put_together() -> None:
    model: Any = build(ARCHITECTURES["t5"])
    assert type(without_head(model, "T5Model")).__name__ == "T5Model"
    model.decoder = nn.Identity()
    assert without_head(model, "T5Model") is None
