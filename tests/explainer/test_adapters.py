"""Adapters of peft: they are part of what is explained, by every route and in every state, or refused."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, build, example
from language_models import saved
from ligflow import Explainer, Flow, LigflowError
from ligflow.explainer.pretrained import load_whole, tokenizer_named
from ligflow.explainer.unembedding import unembedding_row
from ligflow.prediction.chain import Accuracy
from prediction.chain_of_family import chained
from prediction.oracle_families import FAMILIES
from prediction.test_chain_against_oracle import assert_same

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.usefixtures("no_shape_checks")

MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]
TEXT = "the cat sat on a mat"
KINDS: dict[str, Callable[[], Any]] = {
    "lora": lambda: peft.LoraConfig(r=2, target_modules=MATRICES),
    "dora": lambda: peft.LoraConfig(r=2, target_modules=MATRICES, use_dora=True),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "adalora": lambda: peft.AdaLoraConfig(
        init_r=2, target_r=2, tinit=1, tfinal=1, total_step=10, target_modules=MATRICES
    ),
}


def adapted(model: PreTrainedModel, config: Any, name: str = "default", seed: int = 1) -> Any:
    """The model with an adapter whose weights are random, so that it matters."""
    made = peft.get_peft_model(model, config, adapter_name=name)
    return drawn(made, name, seed).eval().requires_grad_(False)


def drawn(model: Any, name: str, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if f".{name}" in key:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator).to(weight))
    return model


def assert_maps(found: Flow, right: Flow, limit: float = 1e-5) -> None:
    for route in right.routes:
        atol = limit * float(right.tensors[route].abs().max())
        torch.testing.assert_close(found.tensors[route], right.tensors[route], rtol=0, atol=atol)


# --- adapters in a model --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_the_chain_is_that_of_brute_force_through_the_model_with_its_adapter(
    kind: str,
) -> None:
    family = FAMILIES["llama"]
    plain = family.built()
    held = adapted(copy.deepcopy(plain), KINDS[kind]()).double()
    model = held.get_base_model()
    result = family.explained(model, 32)
    assert_same(chained(family, model, Accuracy(points=31)), result)
    without = chained(family, plain, Accuracy(points=31)).by_depth[0]
    assert float((without - result.relevance).abs().sum()) > 0.1 * result.scale
    torch.testing.assert_close(model(**family.inputs()).logits, held(**family.inputs()).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_inside_layers_are_those_of_merged_weights(kind: str) -> None:
    held = adapted(build(ARCHITECTURES["llama"]), KINDS[kind]())
    inputs = example(ARCHITECTURES["llama"], 5)
    flow = Explainer(held).explain(inputs)
    assert_maps(flow, Explainer(copy.deepcopy(held).merge_and_unload()).explain(inputs))
    assert not flow.unmet
    modules = 2 * (2 if kind == "ia3" else len(MATRICES))
    name = "lora" if kind == "dora" else kind
    note, *others = flow.meta["notes"]
    assert note == f"the adapter 'default' ({name}) is part of what is explained, on {modules} modules"
    assert len(others) == (2 if kind == "adalora" else 0)  # of each layer: it has no closed form


def test_what_is_explained_follows_the_state_of_the_adapters() -> None:
    """One active, another, both, none, merged: each as the model runs, with one explainer."""
    inputs, config = example(ARCHITECTURES["llama"], 5), KINDS["lora"]
    plain = build(ARCHITECTURES["llama"])
    held = adapted(copy.deepcopy(plain), config(), "first")
    held.add_adapter("second", config())
    drawn(held, "second", 2).requires_grad_(False)
    asked: dict[str, Any] = {"routes": "z2z", "layers": [1], "targets": [-1]}
    alone = {}
    for name in ("first", "second"):
        held.set_adapter(name)
        alone[name] = Explainer(copy.deepcopy(held).merge_and_unload()).explain(inputs, **asked)
    explainer = Explainer(held)

    def explained() -> Flow:
        return explainer.explain(inputs, **asked)

    for name in ("first", "second", "first"):
        held.set_adapter(name)
        assert_maps(explained(), alone[name])
    held.base_model.set_adapter(["first", "second"])
    both = explained()
    assert_maps(both, Explainer(copy.deepcopy(held).merge_and_unload()).explain(inputs, **asked))
    assert float((both.z2z - alone["first"].z2z).abs().max()) > 1e-3
    held.set_adapter("first")
    with held.disable_adapter():
        off = explained()
    assert_maps(off, Explainer(plain).explain(inputs, **asked))
    assert off.meta["notes"][0].startswith("the adapter 'first' (lora) is loaded and switched off")
    held.merge_adapter()
    merged = explained()
    assert_maps(merged, alone["first"])
    assert merged.meta["notes"][0] == "the adapter 'first' (lora) is part of what is explained, on 14 modules"
    assert "'second' (lora) is loaded and switched off" in merged.meta["notes"][1]


def test_the_row_of_an_output_token_has_what_an_adapter_adds(tmp_path: Path) -> None:
    explainer = Explainer.from_pretrained(saved("llama", tmp_path), unembedding=True)
    held = adapted(explainer.model, peft.LoraConfig(r=2, target_modules=["lm_head"]))
    model = held.get_base_model()
    row = unembedding_row(model, explainer.tokenizer, "mat")
    hidden = torch.randn(1, 32)
    torch.testing.assert_close(hidden @ row, model.lm_head(hidden)[:, 6])


def test_several_kinds_at_once_are_taken_from_a_mixed_model() -> None:
    model = build(ARCHITECTURES["llama"])
    mixed = peft.PeftMixedModel(copy.deepcopy(model), KINDS["lora"](), "first")
    mixed.add_adapter("second", peft.LoHaConfig(r=2, target_modules=["q_proj"]))
    mixed.set_adapter(["first", "second"])
    drawn(drawn(mixed, "first", 1), "second", 2).eval().requires_grad_(False)
    inputs = example(ARCHITECTURES["llama"], 5)
    flow = Explainer(mixed).explain(inputs, routes="z2z")
    assert_maps(flow, Explainer(copy.deepcopy(mixed).merge_and_unload()).explain(inputs, routes="z2z"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"alora_invocation_tokens": [1, 2]}, "activated LoRA.* begins to work where certain tokens stand"),
        ({"peft_type": "XLORA"}, "XLORA.* weighs its adapters anew for each text"),
        ({"is_prompt_learning": True}, "puts tokens of its own before the text"),
    ],
)  # fmt: skip
def test_adapters_that_are_more_than_weights_are_refused(fields: dict[str, Any], said: str) -> None:
    held = adapted(build(ARCHITECTURES["llama"]), KINDS["lora"]())
    config: Any = type("Config", (), {"is_prompt_learning": False, "peft_type": "LORA"} | fields)()
    held.peft_config["default"] = config
    with pytest.raises(LigflowError, match=said):
        Explainer(held)


# --- adapters by name -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny language model; adapters for it, for its part without a head, and for another model."""
    place = tmp_path_factory.mktemp("adapters")
    base = saved("llama", place / "base")
    other = saved("gpt2", place / "other")
    whole = load_whole(base).whole
    for name, model, config in (
        ("lora", whole, KINDS["lora"]()),
        ("headless", load_whole(base).model, KINDS["lora"]()),
        (
            "other",
            load_whole(other).whole,
            peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True),
        ),
    ):
        adapted(copy.deepcopy(model), config).save_pretrained(place / f"adapter-{name}")
    return {
        name: str(place / name)
        for name in ("base", "other", "adapter-lora", "adapter-headless", "adapter-other")
    }


def logits(explainer: Explainer) -> Tensor:
    with torch.no_grad():
        return explainer.whole.model(**explainer.tokenizer(TEXT, return_tensors="pt")).logits


@pytest.mark.parametrize("adapter", ["adapter-lora", "adapter-headless"])
def test_a_model_and_an_adapter_are_named_together_or_by_the_adapter(
    folders: dict[str, str], adapter: str
) -> None:
    base, place = folders["base"], folders[adapter]
    loaded = load_whole(base)
    held = peft.PeftModel.from_pretrained(
        loaded.whole if adapter == "adapter-lora" else loaded.model, place
    ).eval()
    assert held.peft_config["default"].base_model_name_or_path == base
    right = Explainer(held, tokenizer_named(base)).explain(TEXT)
    for name in (f"{base}+{place}", place):
        explainer = Explainer.from_pretrained(name)
        assert explainer.name == name
        assert explainer.whole.headless == ""
        assert_maps(explainer.explain(TEXT), right)
        with torch.no_grad():
            theirs = loaded.whole(**explainer.tokenizer(TEXT, return_tensors="pt")).logits
        torch.testing.assert_close(logits(explainer), theirs)
        assert tokenizer_named(name)(TEXT)["input_ids"] == [1, 2, 3, 4, 5, 6]
    assert float((logits(Explainer.from_pretrained(base)) - theirs).abs().max()) > 0.1
    prediction = explainer.explain_prediction(TEXT, "mat")
    assert any("the adapter 'default' (lora) is part of" in note for note in prediction.meta["notes"])


def test_the_command_line_takes_a_model_with_an_adapter(
    folders: dict[str, str], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    name = f"{folders['base']}+{folders['adapter-lora']}"
    status, _, errors = run("why", TEXT, "--answer", "mat", "--model", name, "--json", tmp_path / "a.json")
    assert (status, errors) == (0, "")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["meta"]["model"] == name
    status, _, errors = run("explain", TEXT, "--model", f"{folders['other']}+{folders['adapter-lora']}")
    assert status == 1
    assert "does not fit" in errors


def test_adapters_that_do_not_fit_are_refused_with_the_way_round(
    folders: dict[str, str], tmp_path: Path
) -> None:
    base, lora, foreign = folders["base"], folders["adapter-lora"], folders["adapter-other"]

    def said(name: str) -> str:
        with pytest.raises(LigflowError) as caught:
            Explainer.from_pretrained(name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    words = said(f"{base}+{foreign}")
    assert f"does not fit '{base}', which has no 'transformer.h.0.attn.c_attn.lora_A.weight'" in words
    assert (
        f"it says that it was made for '{folders['other']}'. Name the model that it was trained on" in words
    )
    assert "There is no adapter_config.json in './nowhere'. Give behind '+'" in said(f"{base}+./nowhere")
    assert "There is no adapter_config.json in" in said(f"{base}+{base}")
    assert "There is no adapter 'no/hub-id': no folder, and not from the hub" in said(f"{base}+no/hub-id")
    assert "There is no folder './gone'" in said(f"./gone+{lora}")

    def changed(name: str, **fields: Any) -> str:
        config = json.loads((Path(lora) / "adapter_config.json").read_text(encoding="utf-8")) | fields
        place = tmp_path / name
        place.mkdir()
        (place / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        (place / "adapter_model.safetensors").write_bytes(
            (Path(lora) / "adapter_model.safetensors").read_bytes()
        )
        return str(place)

    words = said(changed("lost", base_model_name_or_path="./gone"))
    assert "says that it was made for './gone', which cannot be loaded: There is no folder" in words
    assert "Name its model with it: MODEL+" in words
    assert "does not say of which model it is" in said(changed("unnamed", base_model_name_or_path=None))
    words = said(f"{base}+{changed('more', target_modules=[*MATRICES, 'lm_head'])}")
    assert "which has 'lm_head.lora_A.default.weight', for which the adapter holds nothing" in words
    assert "does not take it: Error(s) in loading" in said(f"{base}+{changed('larger', r=3)}")
    (Path(changed("damaged")) / "adapter_model.safetensors").write_bytes(b"no weights")
    assert "cannot be read (adapter_model.safetensors)" in said(f"{base}+{tmp_path / 'damaged'}")
