"""A run on prompts: the numbers of each alone, the same however it is cut, what is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from ligflow import Explainer, LigflowError
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.twins import Twin
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.prompt_settings import PromptSettings
from small_prompts import PROMPTS, close, corpus, run_on, tables
from small_runs import stopping

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_the_numbers_are_those_of_explain_prediction(predictions: Run, speaker: str) -> None:
    explainer = Explainer.from_pretrained(speaker)
    of_prompts, of_tokens, of_components = (table.to_pandas() for table in tables(predictions).values())
    for prompt in PROMPTS:
        alone = explainer.explain_prediction(
            prompt.inputs, prompt.answer, prompt.contrast, reference=prompt.reference or "neutral"
        )
        row = of_prompts.set_index("prompt").loc[prompt.number]
        assert (row.score, row.reference_score) == pytest.approx((alone.value, alone.reference_value))
        assert row.change == row.score - row.reference_score
        assert row.certificate == pytest.approx(row.completeness_error / row.scale)
        assert abs(row.certificate) < 1e-3
        assert (row.question, row.says) == (alone.meta["question"], alone.top[0][0])
        words = of_tokens[of_tokens.prompt == prompt.number]
        assert words.token.tolist() == alone.tokens
        assert words.relevance.tolist() == pytest.approx(alone.relevance.tolist(), abs=1e-6)
        assert row.completeness_error == pytest.approx(words.relevance.sum() - row.change)
        assert row.estimated_error == pytest.approx(words.error.sum())
        parts = of_components[of_components.prompt == prompt.number]
        for layer in (0, 1):
            own = parts[parts.layer == layer]
            heads = own[own.kind == "head"].pivot_table(values="relevance", index="head", columns="position")
            assert heads.to_numpy() == pytest.approx(alone.heads[layer].numpy(), abs=1e-6)
            mlp = own[own.kind == "mlp"]
            assert mlp.relevance.tolist() == pytest.approx(alone.mlps[layer].tolist(), abs=1e-6)
            assert mlp["head"].isna().all()


def test_the_manifest_says_which_kind_of_run_it_is(predictions: Run) -> None:
    manifest = json.loads((predictions.folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["sentences"], manifest["shards"]) == ("predictions", 5, 3)
    assert manifest["settings"] == PromptSettings().describe()
    assert manifest["model"]["class"] == "GPT2LMHeadModel"
    assert [item for shard in predictions.done for item in predictions.items(shard)] == list(PROMPTS)
    assert {name: table.schema for name, table in tables(predictions).items()} == predictions.kind.tables
    with pytest.raises(LigflowError, match="a run on prompts, and one on sentences is expected"):
        predictions.sentences(0)


def test_interrupted_runs_have_the_same_tables(predictions: Run, speaker: str, tmp_path: Path) -> None:
    for done in (1, 2):
        told = stopping(done)
        assert run_on(speaker, tmp_path, progress=told).done == list(range(done))
    whole = run_on(speaker, tmp_path)
    assert not whole.missing
    close(whole, predictions)


def test_what_cannot_be_explained_is_listed_and_the_others_stay(speaker: str, tmp_path: Path) -> None:
    prompts = (
        PROMPTS[0], Prompt(1, "the cat", "made:2", "slept"), Prompt(2, "the cat sat on the", "made:3", "cat"),
        Prompt(3, "the cat", "made:4", reference="the cat sat"),
    )  # fmt: skip
    whole = run_on(speaker, tmp_path, prompts, shard_size=4)
    rows = tables(whole)["prompts"].to_pylist()
    assert [row["left_out"] is None for row in rows] == [True, False, True, False]
    assert "'slept' is not in this model's vocabulary" in rows[1]["left_out"]
    assert rows[1]["score"] is None
    assert whole.left_out(0) == 2
    assert {*tables(whole)["tokens"]["prompt"].to_pylist()} == {0, 2}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": PromptSettings(tol=1e-2)}, "settings.tol: 0.001 there, 0.01 asked"),
        ({"settings": Experiment()}, "kind: 'predictions' there, 'consistency' asked"),
    ],
)
def test_another_run_is_refused_with_the_difference(
    predictions: Run, speaker: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(LigflowError, match=said):
        run_on(speaker, predictions.folder, **options)


def test_prompts_that_changed_are_refused(predictions: Run, speaker: str) -> None:
    with pytest.raises(LigflowError, match="its prompts have changed"):
        run_on(speaker, predictions.folder, PROMPTS[:4])


def test_models_and_settings_that_predict_nothing(tmp_path: Path, speaker: str) -> None:
    with pytest.raises(LigflowError, match="has no head that predicts a token or a class"):
        run(tmp_path, corpus(), Model("embedded:minilm"), PromptSettings())
    with pytest.raises(LigflowError, match="leave twins out"):
        run_on(speaker, tmp_path, twins=[Twin("new weights", 0)])
    with pytest.raises(LigflowError, match="Unknown attention 'still'"):
        PromptSettings(attention="still")
    assert not (tmp_path / "manifest.json").exists()


def test_a_kind_of_run_that_is_not_known(predictions: Run, tmp_path: Path) -> None:
    manifest = json.loads((predictions.folder / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"kind": "circuits"}))
    with pytest.raises(LigflowError, match="kind 'circuits', which this version does not know"):
        open_run(tmp_path)
