"""Directions towards output tokens: whose row it is, what it measures, and what is refused."""

from pathlib import Path

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from language_models import WORDS, saved, tokenizer
from ligflow import Explainer, LigflowError, direction
from ligflow.explainer.pretrained import load
from ligflow.explainer.unembedding import token_id, unembedding, unembedding_row
from ligflow.results.tracing import BASELINES, trace

TEXT = "the cat sat on a mat"


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_row_is_that_of_the_head(name: str, tmp_path: Path) -> None:
    model, words = load(saved(name, tmp_path), unembedding=True)
    row = unembedding_row(model, words, "mat")
    torch.testing.assert_close(row, model.lm_head.weight[WORDS.index("mat")].detach())
    hidden = torch.randn(1, 32)
    torch.testing.assert_close(hidden @ row, model.lm_head(hidden)[:, 6].detach())


@pytest.mark.parametrize("which", ["composed", "z2z"])
def test_the_first_step_shares_out_what_the_layer_moves(which: str, tmp_path: Path) -> None:
    """`<w, z'(z) - z'(mean)>`, with both ends from the layer itself."""
    explainer = Explainer.from_pretrained(saved("gpt2", tmp_path), unembedding=True)
    row = unembedding_row(explainer.model, explainer.tokenizer, "mat")
    asked = {"u2z": direction(row), "z2z": direction(row)}
    settings = BASELINES["mean"]
    top = explainer.explain(TEXT, layers=1, targets=3, scalarization=asked, **settings)
    layer = explainer.model.transformer.h[1]
    hidden: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, out: hidden.extend([given[0], out]))
    with torch.no_grad():
        explainer.model(**explainer.tokenizer(TEXT, return_tensors="pt"))
        hook.remove()
        mean = hidden[0].mean(1, keepdim=True).expand_as(hidden[0])  # equal tokens: masks change nothing
        moved = (hidden[1] - layer(mean))[0, 3] @ row
    route = "u2z" if which == "composed" else "z2z"
    assert float(top.total(route)[0, 0]) == pytest.approx(float(moved), rel=1e-4)
    maps = top.composed()[0, 0] if which == "composed" else top.z2z[0, 0]
    scale = float(top.tensors[f"{route}.scale"][0, 0])
    assert float(maps.sum()) == pytest.approx(float(moved), abs=1e-3 * scale)
    found = trace(explainer.explain(TEXT, **settings), 3, which=which, top=top)
    torch.testing.assert_close(found.relevance[1], maps.double() / maps.double().sum())
    assert float(found.relevance[1, 4:].abs().max()) == 0
    assert found.drift < 1e-10
    opened = float((top.tensors[f"{route}.residue"][0, 0] / moved).abs())
    assert float(found.certificates[0]) >= opened * 0.999


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cat", "'the cat' is 2 tokens of this model: 'the', 'cat'; give the text of one"),
        ("dog", "'dog' is not in this model's vocabulary"),
        ("", "'' is 0 tokens of this model; give"),
        (" ", "' ' is 0 tokens"),
    ],
)
def test_texts_that_are_not_one_known_token(text: str, words: str) -> None:
    with pytest.raises(LigflowError, match=words):
        token_id(tokenizer(), text)
    assert token_id(tokenizer(), "[UNK]") == 0


def test_models_without_an_unembedding(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="LlamaModel has no unembedding; load it with unembedding=True"):
        unembedding(build(ARCHITECTURES["llama"]))
    with pytest.raises(LigflowError, match="BertModel is not one"):
        unembedding(build(ARCHITECTURES["bert"]))
    with pytest.raises(LigflowError, match=r"^ViTModel has no unembedding\.$"):
        unembedding(build(ARCHITECTURES["vit"]))
    with pytest.raises(LigflowError, match=r"its checkpoint lacks 'lm_head\.weight'"):
        load(saved("llama", tmp_path, head=False), unembedding=True)
    with pytest.raises(LigflowError, match="needs the model's tokenizer"):
        token_id(None, "mat")


def test_a_tied_unembedding_is_in_the_base_models_checkpoint(tmp_path: Path) -> None:
    model, _ = load(saved("gpt2", tmp_path, head=False), unembedding=True)
    assert unembedding(model).weight is model.transformer.wte.weight


def test_a_direction_of_the_wrong_size_is_refused() -> None:
    explainer = Explainer(build(ARCHITECTURES["gpt2"]))
    asked = {"z2z": direction(torch.ones(7))}
    with pytest.raises(
        LigflowError, match=r"direction for z2z has shape \(7,\); it must be one of \[\(32,\)"
    ):
        explainer.explain(example(ARCHITECTURES["gpt2"], 3), routes=("z2z",), scalarization=asked)
