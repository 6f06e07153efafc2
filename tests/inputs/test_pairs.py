"""Two texts for an encoder-decoder: what the decoder sees of them."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from architectures import Architecture, build
from language_models import tokenizer
from ligflow import Explainer, Flow, LigflowError, Pair
from ligflow.cli.main import app
from ligflow.evaluation.conformance import check

BART = Architecture(
    "BartModel",
    {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
     "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 64,
     "max_position_embeddings": 40, "decoder_start_token_id": 2, "forced_eos_token_id": None},
)  # fmt: skip


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(build(BART), tokenizer(), stack="decoder")


def test_the_decoder_begins_with_its_start_token(explainer: Explainer) -> None:
    flow = explainer.explain(Pair("the cat sat", "a mat"))
    assert flow.tokens == ["cat", "a", "mat"]  # id 2, the start token, is a word of this tokenizer
    assert flow.memory == ["the", "cat", "sat"]
    assert flow.meta["text"] == "the cat sat → a mat"
    assert flow.z2z_cross.shape == (2, 3, 3)


def test_a_pair_equals_its_inputs(explainer: Explainer) -> None:
    given = {"input_ids": torch.tensor([[1, 2, 3]]), "decoder_input_ids": torch.tensor([[2, 5, 6]])}
    by_text, by_ids = explainer.explain(Pair("the cat sat", "a mat")), explainer.explain(given)
    torch.testing.assert_close(by_text.z2z_cross, by_ids.z2z_cross)
    torch.testing.assert_close(by_text.e2u, by_ids.e2u)


def test_one_text_is_not_enough_for_a_decoder(explainer: Explainer) -> None:
    with pytest.raises(LigflowError, match=r"Pair\(source, target\)"):
        explainer.explain("the cat sat")
    with pytest.raises(LigflowError, match="stack='decoder'"):
        Explainer(build(BART), tokenizer()).explain(Pair("the cat", "a mat"))


def test_blank_and_long_texts_are_refused(explainer: Explainer) -> None:
    with pytest.raises(LigflowError, match="empty or blank"):
        explainer.explain(Pair("the cat", " "))
    with pytest.raises(LigflowError, match="41 tokens, its start token among them"):
        explainer.explain(Pair("the cat", "mat " * 40))


def test_many_pairs_go_one_by_one(explainer: Explainer) -> None:
    pairs = [Pair("the cat sat", "a mat"), Pair("the mat", "the cat sat on")]
    for pair, flow in zip(pairs, explainer.explain_many(pairs), strict=True):
        torch.testing.assert_close(flow.z2z_cross, explainer.explain(pair).z2z_cross)


def test_a_decoder_conforms(explainer: Explainer) -> None:
    checks = check(explainer)
    assert all(one.passed for one in checks), checks
    assert checks[0].measured == "2 of 2"


def test_the_command_explains_a_decoder(tmp_path: Path) -> None:
    build(BART).save_pretrained(tmp_path / "bart")
    tokenizer().save_pretrained(tmp_path / "bart")
    saved = tmp_path / "pair.flow"
    asked = ["explain", "the cat sat", "--model", str(tmp_path / "bart"), "--stack", "decoder",
             "--decoder-text", "a mat", "--save", str(saved), "--encoder-baseline", "zero"]  # fmt: skip
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "e:t" in done.output.replace(" ", "")
    flow = Flow.load(saved)
    assert flow.memory == ["the", "cat", "sat"]
    assert flow.meta["settings"]["encoder_baseline"] == "zero"
