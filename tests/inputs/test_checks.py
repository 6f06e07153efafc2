"""What is given to a model: keys that it does not take, lengths and ids that it has not, types of numbers."""

import warnings
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from architectures import ARCHITECTURES, build
from ligflow import Explainer, Flow, LigflowError
from ligflow.errors import TextWarning
from ligflow.evaluation import conformance
from ligflow.inputs.checks import check_inputs, codebooks_of, own_inputs
from ligflow.layer.model_state import prepared

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48,
         "vocab_size": 64}  # fmt: skip
IDS = torch.tensor([[3, 7, 11, 19]])
WORDS = ["[UNK]", "the", "cat", "sat"]


def tokenizer_of(*names: str, unknown: str | None = "[UNK]") -> PreTrainedTokenizerFast:
    """Words by their places in a list, with the inputs that a tokenizer of this kind gives."""
    known = {word: number for number, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(known, unknown or "[none]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    more = {"unk_token": unknown} if unknown else {}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_input_names=["input_ids", *names], **more)


def small(name: str, **more: Any) -> PreTrainedModel:
    """A tiny model that is made from the names of its config and class."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SMALL | more)
    return getattr(transformers, f"{name}Model")(config).eval()


def assert_same(ours: Flow, theirs: Flow) -> None:
    assert ours.routes == theirs.routes
    for route in theirs.routes:
        torch.testing.assert_close(ours.tensors[route], theirs.tensors[route], rtol=1e-6, atol=1e-8)


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["distilbert", "gpt_neox", "llama"])
def test_what_a_tokenizer_adds_and_no_part_of_the_model_takes_is_left_out(name: str) -> None:
    model, tokenizer = build(ARCHITECTURES[name]), tokenizer_of("token_type_ids", "attention_mask")
    assert "token_type_ids" in tokenizer("the cat sat")
    flow = Explainer(model, tokenizer).explain("the cat sat")
    assert_same(flow, Explainer(model).explain({"input_ids": torch.tensor([[1, 2, 3]])}))
    assert flow.routes == ("z2u", "u2z", "z2z")
    assert not flow.meta["notes"]


def test_a_mapping_with_other_keys_is_explained_without_them_and_says_so() -> None:
    model = build(ARCHITECTURES["distilbert"])
    other = {"special_tokens_mask": torch.zeros_like(IDS), "offset_mapping": torch.zeros(1, 4, 2)}
    flow = Explainer(model).explain({"input_ids": IDS, **other})
    assert_same(flow, Explainer(model).explain({"input_ids": IDS}))
    assert flow.meta["notes"] == ["not taken by DistilBertModel: offset_mapping, special_tokens_mask"]


def test_a_key_that_a_part_of_the_model_takes_stays() -> None:
    model, explained = build(ARCHITECTURES["bert"]), []
    for kind in (0, 1):
        inputs = {"input_ids": IDS, "token_type_ids": torch.full_like(IDS, kind)}
        explained.append(Explainer(model).explain(inputs))
    assert not torch.equal(explained[0].z2z, explained[1].z2z)
    assert not explained[0].meta["notes"]


def test_a_reason_ends_in_one_full_stop() -> None:
    class Odd(transformers.LlamaModel):
        def forward(self, input_ids: Tensor, tolerance: Tensor | None = None, **more: Any) -> Any:
            return super().forward(input_ids, tolerance=tolerance, **more)

    model = Odd(transformers.LlamaConfig(**SMALL)).eval()
    with pytest.raises(LigflowError, match="'tolerance'") as caught:
        Explainer(model).explain({"input_ids": IDS, "tolerance": torch.ones(1)})
    said = str(caught.value)
    assert ".." not in said
    assert said.count("z2z is available") == said.count("routes=") == 1


# --- lengths and ids ------------------------------------------------------------------------------

BEHIND_PADDING = {
    "Roberta": {}, "XLMRoberta": {}, "Camembert": {}, "MPNet": {}, "Data2VecText": {},
    "Esm": {"mask_token_id": 4}, "Longformer": {"attention_window": 18},
}  # fmt: skip


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", BEHIND_PADDING)
def test_a_text_is_cut_to_the_positions_that_the_table_has(name: str) -> None:
    model = small(name, max_position_embeddings=20, pad_token_id=1, **BEHIND_PADDING[name])
    explainer, asked = Explainer(model, tokenizer_of()), {"routes": "z2z", "targets": [0]}
    assert len(explainer.explain("cat " * 40, truncate=True, **asked).tokens) == 18
    with pytest.raises(LigflowError, match="has 19 tokens, and the model takes 18"):
        explainer.explain("cat " * 19, **asked)
    for inputs in ({"input_ids": torch.arange(5, 24)[None]}, {"inputs_embeds": torch.ones(1, 19, 32)}):
        with pytest.raises(LigflowError, match="have 19 tokens, and the model takes 18"):
            explainer.explain(inputs, **asked)
    with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
        model(torch.arange(5, 24)[None])


@pytest.mark.parametrize(
    ("name", "more"),
    [("Bert", {"pad_token_id": 1}), ("OPT", {"word_embed_proj_dim": 32, "ffn_dim": 32, "pad_token_id": 1})],
)
def test_positions_that_begin_at_the_first_row_are_all_taken(name: str, more: dict[str, Any]) -> None:
    explainer = Explainer(small(name, max_position_embeddings=20, **more))
    flow = explainer.explain({"input_ids": torch.arange(5, 25)[None]}, routes="z2z", targets=[0])
    assert len(flow.tokens) == 20


@pytest.mark.parametrize("wrong", [64, -100])
def test_an_id_that_the_model_has_not_is_named(wrong: int) -> None:
    explainer = Explainer(small("Llama"), tokenizer_of())
    with pytest.raises(
        LigflowError, match=f"row {wrong} of 'embed_tokens.weight', .* 0 to 63.*own tokenizer"
    ):
        explainer.explain({"input_ids": torch.tensor([[1, wrong]])})
    explainer = Explainer(small("Llama", vocab_size=3), tokenizer_of())
    with pytest.raises(LigflowError, match=r"row 3 of .*resize_token_embeddings"):
        explainer.explain("the cat sat")


def test_a_kind_of_token_that_the_model_has_not_is_named() -> None:
    inputs = {"input_ids": IDS, "token_type_ids": torch.tensor([[0, 0, 2, 0]])}
    with pytest.raises(
        LigflowError, match=r"row 2 of 'embeddings.token_type_embeddings.weight'.*token_type_ids\["
    ):
        Explainer(small("Bert")).explain(inputs)


def test_streamed_layers_name_the_table_too() -> None:
    explainer = Explainer(small("Llama"), device="cpu", streamed=True)
    with pytest.raises(LigflowError, match=r"row 64 of 'embed_tokens.weight'"):
        explainer.explain({"input_ids": torch.tensor([[1, 64]])})


# --- texts that a tokenizer does not take ---------------------------------------------------------


def test_a_text_that_the_tokenizer_refuses_is_named_and_the_others_are_explained() -> None:
    explainer = Explainer(small("Llama"), tokenizer_of(unknown=None))
    with pytest.raises(LigflowError, match=r"cannot encode the text 'the zebra': Exception: .*Missing"):
        explainer.explain("the zebra")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flows = list(explainer.explain_many(["the cat", "the zebra", "cat"], routes="z2z"))
    assert [(flow.meta["index"], flow.tokens) for flow in flows] == [(0, ["the", "cat"]), (2, ["cat"])]
    (warning,) = [one for one in caught if one.category is TextWarning]
    assert str(warning.message).startswith("Text 1 ('the zebra') is left out: ")


def test_a_text_of_which_nothing_is_left_is_named() -> None:
    words = Tokenizer(models.WordLevel({"the": 0}, "the"))
    words.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("z")
    with pytest.raises(LigflowError, match="makes no token of the text 'zzz'"):
        Explainer(small("Llama"), PreTrainedTokenizerFast(tokenizer_object=words)).explain("zzz")


# --- models that pad by themselves ----------------------------------------------------------------

PADS: dict[str, dict[str, Any]] = {
    "Longformer": {"attention_window": 8},
    "BigBird": {"block_size": 4, "num_random_blocks": 1},
}


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("name", "count", "whole"), [("Longformer", 6, 8), ("BigBird", 30, 32)])
def test_what_a_model_pads_with_is_no_token(name: str, count: int, whole: int) -> None:
    model = small(name, **PADS[name])
    text = " ".join(WORDS[1:][place % 3] for place in range(count))
    explainer = Explainer(model, tokenizer_of("attention_mask"))
    layer = explainer.prepared.record(text)[0]
    assert len(layer.hidden) == whole
    flow = explainer.explain(text, routes="z2z", tol=1e-4)
    assert flow.tokens == text.split()
    assert flow.meta["words"] == list(range(count))
    start, row = layer.hidden[2].expand_as(layer.hidden), torch.zeros(whole)
    kind = layer.implementation
    with prepared(layer.module, kind):
        first = layer.forward(start[None])[0, 2].detach()
        for node in torch.linspace(0, 1, 65)[:-1] + 1 / 128:  # plain autograd, midpoint rule
            hidden = (start + node * (layer.hidden - start)).requires_grad_()
            moved = layer.forward(hidden[None])[0, 2] - first
            (slope,) = torch.autograd.grad(moved.norm(), hidden)
            row += (slope * (layer.hidden - start)).sum(-1).detach() / 64
    assert not row[count:].any()
    torch.testing.assert_close(flow.z2z[0, 2], row[:count], rtol=5e-3, atol=2e-3 * float(row.abs().max()))


@pytest.mark.parametrize(
    "one", [{"input_ids": torch.tensor([[3, 7, 0, 0]])}, {"input_ids": torch.full((1, 4), 3)}]
)
def test_given_and_inner_padding_are_both_left_out(one: dict[str, Tensor]) -> None:
    model = small("Longformer", **PADS["Longformer"])
    mask = torch.tensor([[1, 1, 0, 0]])
    flow = Explainer(model).explain(one | {"attention_mask": mask}, routes="z2z")
    plain = {"input_ids": one["input_ids"][:, :2]}
    theirs = Explainer(model).explain(plain, routes="z2z")
    assert len(flow.tokens) == len(theirs.tokens) == 2
    torch.testing.assert_close(flow.z2z, theirs.z2z, rtol=1e-4, atol=1e-6)


def test_tokens_that_others_see_are_no_padding() -> None:
    class Prompted(transformers.LlamaModel):
        def forward(self, input_ids: Tensor, **more: Any) -> Any:
            own = self.embed_tokens(input_ids)
            return super().forward(inputs_embeds=torch.cat([own[:, :1] * 0 + 1, own], 1), **more)

    torch.manual_seed(0)
    flow = Explainer(Prompted(transformers.LlamaConfig(**SMALL)).eval()).explain(
        {"input_ids": IDS}, routes="z2z"
    )
    assert len(flow.tokens) == IDS.shape[1] + 1
    assert flow.z2z[0, 1:, 0].abs().min() > 0


# --- types of numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "given"), [("bfloat16", "bfloat16"), ("float64", "float32"), ("float32", "float64")]
)
def test_embeddings_of_another_type_are_those_numbers(own: str, given: str) -> None:
    model = small("Llama").to(getattr(torch, own))
    embedded = model.embed_tokens(IDS).to(getattr(torch, given))
    flow = Explainer(model).explain({"inputs_embeds": embedded})
    wide = torch.float64 if own == "float64" else torch.float32
    model = small("Llama").to(getattr(torch, own)).to(wide)
    assert_same(flow, Explainer(model).explain({"inputs_embeds": embedded.to(wide)}))


def test_a_waveform_in_half_precision_is_explained() -> None:
    more = {"conv_dim": (8, 8), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2}  # fmt: skip
    model, wave = small("Wav2Vec2", **more).bfloat16(), torch.linspace(-1, 1, 100)[None].cos().bfloat16()
    flow = Explainer(model).explain({"input_values": wave}, routes="z2z")
    wide = small("Wav2Vec2", **more).bfloat16().float()
    assert_same(flow, Explainer(wide).explain({"input_values": wave.float()}, routes="z2z"))


# --- another default device or type -------------------------------------------------------------------


def test_default_device_and_type_have_no_say() -> None:
    explainer = Explainer(small("Llama"), tokenizer_of())
    expected = explainer.explain("the cat sat")
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.bfloat16)
    try:
        flow = explainer.explain("the cat sat")
        checks = conformance.check(explainer)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert all(one.passed for one in checks)
    assert_same(flow, expected)


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ({}, {}, "The inputs are empty"),
        ({"input_ids": [[3, 7]]}, {}, "Input 'input_ids' is list; pass tensors"),
        ({"input_ids": IDS.repeat(2, 1)}, {}, "one example at a time; these inputs hold 2"),
        ({"input_ids": IDS[:, :0]}, {}, "The inputs hold no tokens"),
        ({"input_ids": IDS}, {"limit": 3}, "The inputs have 4 tokens, and the model takes 3; cut them"),
        ({"inputs_embeds": torch.zeros(1, 5, 8)}, {"limit": 4}, "have 5 tokens, and the model takes 4"),
        ({"input_ids": IDS, "decoder_input_ids": IDS}, {}, "leave out decoder_input_ids, or explain"),
        ({"input_ids": IDS}, {"decoder": ["decoder_input_ids"]}, "pass its decoder_input_ids too"),
        ({"input_ids": IDS.repeat(3, 1)}, {"codebooks": 4}, "one example at a time; these inputs hold 3"),
    ],
)  # fmt: skip
def test_inputs_that_are_no_example_are_refused(inputs: Any, options: Any, said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        check_inputs(inputs, **{"limit": None} | options)


def test_inputs_of_one_example_are_taken_as_they_are() -> None:
    both = {"input_ids": IDS, "decoder_input_ids": IDS + 1, "decoder_attention_mask": IDS > 0}
    taken = check_inputs(both, 4, ["decoder_input_ids", "decoder_inputs_embeds"])
    assert [*taken] == [*both]
    assert torch.equal(own_inputs(taken, decodes=True)["input_ids"], IDS + 1)
    assert [*own_inputs(taken, decodes=True)] == ["input_ids", "attention_mask"]
    assert [*own_inputs(taken, decodes=False)] == [*both]
    codes = {"input_ids": IDS.repeat(4, 1)}
    assert check_inputs(codes, 4, codebooks=4)["input_ids"].shape == (4, 4)
    config = transformers.MusicgenDecoderConfig(num_codebooks=3)
    assert (codebooks_of(config), codebooks_of(transformers.BertConfig())) == (3, 1)
