"""Models and tokenizers as other programs hold them: the numbers are those of the model inside."""

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoTokenizer, BertConfig, BertModel, ViTImageProcessor, pipeline

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError, direction, explain
from ligflow.explainer.embedded import embedded_folder
from ligflow.explainer.unwrapping import model_of, tokenizer_of

MINILM = Path(embedded_folder("embedded:minilm"))
TEXT = "The cat sat."


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MINILM)


@pytest.fixture(scope="module")
def bert() -> BertModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    return BertModel(BertConfig(**sizes, vocab_size=30522)).eval()


@pytest.fixture(scope="module")
def expected(bert: BertModel, tokenizer: Any) -> Flow:
    return Explainer(bert, tokenizer).explain(TEXT)


def same(found: Flow, expected: Flow) -> None:
    assert found.tokens == expected.tokens
    torch.testing.assert_close(found.z2z, expected.z2z, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("no_shape_checks")
def test_the_model_is_taken_out_of_data_parallel(bert: BertModel, tokenizer: Any, expected: Flow) -> None:
    same(Explainer(torch.nn.DataParallel(bert), tokenizer).explain(TEXT), expected)


@pytest.mark.usefixtures("no_shape_checks")
def test_the_model_is_taken_out_of_what_torch_compile_gives(bert: BertModel) -> None:
    assert Explainer(torch.compile(bert, backend="eager")).model is bert


@pytest.fixture
def one_process() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("no_shape_checks", "one_process")
def test_of_models_in_several_processes_the_whole_one_is_taken_or_asked_for(bert: BertModel) -> None:
    assert Explainer(DistributedDataParallel(bert)).model is bert
    sharded = fully_shard(copy.deepcopy(bert), mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(LigflowError, match=r"word_embeddings.weight' are sharded: .*get_model_state_dict"):
        Explainer(sharded)
    whole = BertModel(bert.config).eval()
    whole.load_state_dict(get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True)))
    inputs = {"input_ids": torch.tensor([[3, 9, 4]])}
    found, expected = (Explainer(model).explain(inputs, routes="z2z") for model in (whole, bert))
    assert torch.equal(found.z2z, expected.z2z)
    module = "torch.distributed.fsdp.fully_sharded_data_parallel"
    older = of_class("FullyShardedDataParallel", module, _fsdp_wrapped_module=bert)
    with pytest.raises(LigflowError, match=r"not FullyShardedDataParallel; .*get_model_state_dict"):
        Explainer(older)


@pytest.mark.usefixtures("no_shape_checks")
def test_a_pipeline_brings_its_tokenizer(bert: BertModel, tokenizer: Any, expected: Flow) -> None:
    made = pipeline("feature-extraction", model=bert, tokenizer=tokenizer)
    same(Explainer(made).explain(TEXT), expected)
    same(explain(TEXT, made), expected)


@pytest.mark.usefixtures("no_shape_checks")
def test_adapters_of_weights_are_part_of_the_model() -> None:
    peft = pytest.importorskip("peft")
    model = build(ARCHITECTURES["llama"])
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(copy.deepcopy(model), config)
    inputs = example(ARCHITECTURES["llama"], 4)
    found = Explainer(adapted).explain(inputs, routes="z2z")
    merged = Explainer(copy.deepcopy(adapted).merge_and_unload()).explain(inputs, routes="z2z")
    torch.testing.assert_close(found.z2z, merged.z2z, atol=1e-5, rtol=1e-4)
    assert (found.z2z - Explainer(model).explain(inputs, routes="z2z").z2z).abs().max() > 1e-3


def test_adapters_that_put_tokens_before_the_text_are_refused() -> None:
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM", num_layers=2, token_dim=32)
    config.num_attention_heads, config.num_transformer_submodules = 4, 1
    with pytest.raises(LigflowError, match="puts tokens of its own before the text"):
        Explainer(peft.PeftModel(build(ARCHITECTURES["llama"]), config))


def of_class(name: str, module: str, **held: Any) -> Any:
    """An object of a class that only its name tells, so that its package need not be there."""
    kind = type(name, (), {"__module__": module, "__getitem__": lambda self, at: self.parts[at]} | held)
    return kind()


def test_of_sentence_transformers_the_model_inside_is_taken(
    bert: BertModel, tokenizer: Any, expected: Flow
) -> None:
    inner = SimpleNamespace(auto_model=bert)
    module = "sentence_transformers.base.model"
    embedder = of_class("SentenceTransformer", module, parts=[inner, None], tokenizer=tokenizer)
    same(Explainer(embedder).explain(TEXT), expected)
    ranker = of_class("CrossEncoder", module, model=bert, tokenizer=tokenizer)
    assert model_of(ranker) == (bert, tokenizer)
    with pytest.raises(LigflowError, match="not SentenceTransformer"):
        Explainer(of_class("SentenceTransformer", "elsewhere", parts=[inner], tokenizer=tokenizer))


@pytest.mark.usefixtures("no_shape_checks")
def test_a_tokenizer_may_come_from_elsewhere(bert: BertModel, tokenizer: Any, expected: Flow) -> None:
    raw = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    found = Explainer(bert, raw).explain(TEXT)
    same(found, expected)
    assert found.special == expected.special
    same(Explainer(bert, str(MINILM)).explain(TEXT), expected)
    same(Explainer(bert, MINILM).explain(TEXT), expected)
    processor = of_class("ProcessorMixin", "transformers.processing_utils", tokenizer=tokenizer)
    assert tokenizer_of(processor) is tokenizer


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: Explainer(m, ViTImageProcessor()), "ViTImageProcessor.* is no tokenizer; pass one"),
        (lambda m: Explainer(m, 3), "int is no tokenizer"),
        (lambda m: Explainer(m, "./nowhere"), r"There is no folder './nowhere'"),
        (lambda m: Explainer("gpt2"), r"a model, not a name; load it: Explainer.from_pretrained\('gpt2'\)"),
        (lambda m: Explainer.from_pretrained(m), "not BertModel; a model that is loaded goes into Explainer"),
        (lambda m: explain(TEXT, m), "Text needs a tokenizer"),
        (lambda m: Explainer.from_pretrained(dtype=torch.float64, torch_dtype=torch.float32), "two names"),
        (lambda m: Explainer.from_pretrained(dtype=64), "dtype is 64; give a type of torch"),
        (lambda m: direction("up"), "The direction is str; pass a vector of numbers"),
        (lambda m: direction(torch.tensor([True])), "torch.bool of shape .1.; pass a vector of real numbers"),
        (lambda m: direction(np.ones(3, dtype=complex)), "complex128 of shape .3.; pass a vector of real"),
        (lambda m: direction(2.0), r"of shape \[\]; pass a vector"),
    ],
)  # fmt: skip
def test_what_is_something_else_is_refused_in_words(bert: BertModel, call: Any, said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        call(bert)


@pytest.mark.usefixtures("no_shape_checks")
def test_a_direction_may_be_an_array_or_a_list(bert: BertModel, tokenizer: Any) -> None:
    explainer, asked = Explainer(bert, tokenizer), {"routes": "z2z", "targets": [1]}
    vector = torch.linspace(-1, 1, 32)
    flows = [
        explainer.explain(TEXT, scalarization=direction(one), **asked)
        for one in (vector, vector.numpy(), np.flip(vector.numpy()[::-1]), vector.tolist())
    ]
    for flow in flows[1:]:
        torch.testing.assert_close(flow.z2z, flows[0].z2z)


def test_the_older_name_of_dtype_and_a_path_are_taken(tmp_path: Path) -> None:
    build(ARCHITECTURES["bert"]).save_pretrained(tmp_path)
    explainer = Explainer.from_pretrained(tmp_path, torch_dtype=torch.float64)
    assert (explainer.model.dtype, explainer.name) == (torch.float64, str(tmp_path))
    assert Explainer.from_pretrained(tmp_path, "cpu", torch.float64).model.dtype == torch.float64
