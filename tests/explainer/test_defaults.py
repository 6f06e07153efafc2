"""What a process has set as its default type and device does not reach a result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel, LlamaConfig, LlamaModel

from ligflow import Explainer, Flow, Words, direction
from ligflow.evaluation.conformance import check
from ligflow.explainer.embedded import embedded_folder
from ligflow.results.tracing import trace
from ligflow.view.html import fragment
from ligflow.view.interactive_page import page
from ligflow.view.ladder import links

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "vocab_size": 30522,
}  # fmt: skip
TEXT = "Lighthouses outshine the stars."
DEFAULTS: dict[str, Callable[[], None]] = {
    "bfloat16": lambda: torch.set_default_dtype(torch.bfloat16),
    "float64": lambda: torch.set_default_dtype(torch.float64),
    "meta": lambda: torch.set_default_device("meta"),
}


@contextmanager
def default(change: Callable[[], None]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@pytest.fixture(scope="module", params=["bert", "llama"])
def explainer(request: pytest.FixtureRequest) -> Explainer:
    torch.manual_seed(0)
    plain = BertModel(BertConfig(**SMALL)) if request.param == "bert" else LlamaModel(LlamaConfig(**SMALL))
    names = ["input_ids", "attention_mask"]
    return Explainer(
        plain, AutoTokenizer.from_pretrained(embedded_folder("embedded:minilm"), model_input_names=names)
    )


def everything(explainer: Explainer) -> dict[str, Any]:
    """What the public surface gives: tensors, figures' links, texts."""
    mean = explainer.explain(TEXT, att_baseline="mean", mlp_baseline="matched", layer_baseline="mean")
    fixed = explainer.explain(Words.joined(TEXT.split()), quadrature="gauss-legendre:8", layers=[1])
    ones = direction(torch.ones(32, dtype=torch.float32, device="cpu"))
    asked = explainer.explain(TEXT, routes=("u2z", "z2z"), scalarization=ones)
    (many,) = explainer.explain_many([TEXT], routes="z2z")
    found: dict[str, Any] = {}
    flows: dict[str, Flow] = {"mean": mean, "fixed": fixed, "asked": asked, "many": many}
    flows |= {
        "hidden": mean.hide_special(),
        "words": mean.merge_words(),
        "both": fixed.hide_special().merge_words(),
    }
    for name, flow in flows.items():
        found |= {f"{name}.{part}": tensor for part, tensor in flow.tensors.items()}
        found[f"{name}.unmet"] = len(flow.unmet)
        found[f"{name}.repr"] = repr(flow)
    found |= {rule: mean.composed(rule) for rule in ("conserving", "product")}
    found |= {
        "attention": explainer.attention(TEXT),
        "fragment": fragment(fixed),
        "page": page([mean, fixed]),
    }
    for kind in ("heat", "layers", "heads", "ladder"):
        mean.plot(kind)
    found |= {"links": links(mean, 1, 2).first, "links of z2z": links(many, 1).first}
    followed = trace(mean, "the")
    found |= {"relevance": followed.relevance, "paths": [path.weight for path in followed.paths()]}
    found["graph"] = sorted(followed.to_networkx(0.05).edges)
    found["table"] = mean.to_pandas().value.tolist()
    found["check"] = [(one.name, one.passed) for one in check(explainer, inputs=[TEXT])]
    return found


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, so that results are equal bit for bit."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def expected(explainer: Explainer) -> dict[str, Any]:
    return everything(explainer)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", DEFAULTS)
def test_results_are_those_of_any_process(explainer: Explainer, expected: dict[str, Any], name: str) -> None:
    with default(DEFAULTS[name]):
        found = everything(explainer)
    for part, value in expected.items():
        if isinstance(value, Tensor):
            assert found[part].dtype == value.dtype, part
            assert torch.equal(found[part], value), (part, float((found[part] - value).abs().max()))
        else:
            assert found[part] == value, part
    assert expected["mean.unmet"] == expected["hidden.unmet"] == expected["words.unmet"] == 0
