"""Methods tried on sentences: rows, standings, files, and going on after an interruption."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.corpus.analysis.faithfulness_ranking import Standing, is_control, standings
from ligflow.corpus.reports.faithfulness_page import standing_table
from ligflow.corpus.runs.faithfulness_trial import corpus_means, try_methods
from ligflow.corpus.runs.folders import locked
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables import faithfulness_rows
from ligflow.corpus.tables.faithfulness_rows import MEASURES, SHUFFLED, Trial
from ligflow.evaluation.ablation import ablation
from ligflow.evaluation.faithfulness import measured
from ligflow.evaluation.other_methods import value_zeroing
from ligflow.evaluation.shuffled_weights import shuffled
from ligflow.routes.workspace import Selection

Command = Callable[..., tuple[int, str, str]]
TEXTS = ("The cat slept.", "Nobody saw the old light.", "Rain fell.")
SENTENCES = [Sentence(number, text, f"made:{number + 1}") for number, text in enumerate(TEXTS)]
TRIAL = Trial(layers=(2,), steps=4, shuffled=1)
pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture(scope="module")
def pair() -> tuple[Explainer, Explainer]:
    explainer = Explainer.from_pretrained()
    return explainer, Explainer(shuffled(explainer.model), explainer.tokenizer, name=explainer.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Explainer, Explainer]) -> Path:
    place = tmp_path_factory.mktemp("trial") / "sentences"
    try_methods(place, *pair, SENTENCES, TRIAL)
    return place


def test_rows_are_those_of_the_layer(folder: Path, pair: tuple[Explainer, Explainer]) -> None:
    frame = try_methods(folder, *pair, SENTENCES, TRIAL)
    assert set(frame.measure) == set(MEASURES)
    assert set(frame[frame.measure == SHUFFLED].sentence) == {0}
    assert frame.unmet.sum() == 0
    explainer = pair[0]
    layer = explainer.prepared.record(TEXTS[1])[2]
    everyone = torch.arange(len(layer.hidden))
    place = Selection(everyone, everyone)
    others = ~torch.eye(len(everyone), dtype=torch.bool)
    with explainer.prepared.ready_for(layer):
        maps = value_zeroing(layer, place)[None]
        expected = measured(ablation(layer, place, "target").image, maps, others, steps=4)
    rows = frame[(frame.sentence == 1) & (frame.method == "value zeroing") & (frame.replacement == "target")]
    for row in rows[rows.measure.isin(expected)].itertuples():
        assert row.sum == pytest.approx(float(expected[str(row.measure)].sum()), rel=1e-4)
        assert row.count == len(everyone)


def test_what_is_done_is_not_done_again(
    folder: Path, pair: tuple[Explainer, Explainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = try_methods(folder, *pair, SENTENCES, TRIAL)
    (folder / "000001.parquet").unlink()
    done: list[tuple[int, int]] = []
    again = try_methods(folder, *pair, SENTENCES, TRIAL, lambda *state: done.append(state))
    assert done == [(1, 1)]
    numbers = ["sum", "count"]
    pandas.testing.assert_frame_equal(before.drop(columns=numbers), again.drop(columns=numbers))
    np.testing.assert_allclose(before["sum"], again["sum"], rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(faithfulness_rows, "of_sentence", None)  # nothing is left to do
    try_methods(folder, *pair, SENTENCES, TRIAL)


def test_another_trial_in_the_same_folder(folder: Path, pair: tuple[Explainer, Explainer]) -> None:
    with pytest.raises(LigflowError, match=r"holds another trial \(steps 4, not 5\); choose another folder"):
        try_methods(folder, *pair, SENTENCES, Trial(layers=(2,), steps=5, shuffled=1))
    with pytest.raises(LigflowError, match=r"holds another trial \(texts "):
        try_methods(folder, *pair, SENTENCES[:2], TRIAL)
    assert json.loads((folder / "trial.json").read_text())["steps"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no description of a trial"),
        ("[1]", r"is no description of a trial: it holds \[1\]"),
        ('{"model": "a", "texts": "b", "layers": null, "steps": "4"}', "is damaged: steps: Input should be"),
        ('{"model": "a"}', "is damaged: texts: Field required. Bring back a copy"),
    ],
)
def test_a_damaged_description_of_a_trial(
    tmp_path: Path, pair: tuple[Explainer, Explainer], text: str, said: str
) -> None:
    (tmp_path / "trial.json").write_text(text)
    with pytest.raises(LigflowError, match=said):
        try_methods(tmp_path, *pair, SENTENCES, TRIAL)


def test_the_mean_of_the_corpus(pair: tuple[Explainer, Explainer]) -> None:
    layers = [pair[0].prepared.record(text)[2].hidden for text in TEXTS]
    expected = torch.cat(layers).double().mean(0)
    torch.testing.assert_close(corpus_means(pair[0], SENTENCES)[2], expected)


def test_shuffled_weights_keep_their_values_and_lose_their_places(pair: tuple[Explainer, Explainer]) -> None:
    real, twin = (one.model.state_dict() for one in pair)
    name = "encoder.layer.2.attention.self.value.weight"
    assert not torch.equal(real[name], twin[name])
    assert torch.equal(real[name].flatten().sort().values, twin[name].flatten().sort().values)
    for same in ("embeddings.word_embeddings.weight", "encoder.layer.2.output.LayerNorm.weight"):
        assert torch.equal(real[same], twin[same])
    layer, other = (one.prepared.record(TEXTS[0])[2] for one in pair)
    with pair[1].prepared.ready_for(other):
        moved = other.on_input(layer.hidden)
        assert torch.equal(moved.hidden, layer.hidden)
        assert torch.equal(moved.output, other.forward(layer.hidden[None])[0])


def test_bad_input(tmp_path: Path, pair: tuple[Explainer, Explainer]) -> None:
    with pytest.raises(LigflowError, match="There is no layer 9: there are 6"):
        try_methods(tmp_path / "a", *pair, SENTENCES, Trial(layers=(9,)))
    long = Sentence(3, "word " * 600, "made:4")
    with pytest.raises(LigflowError, match="made:4 cannot be tried, choose other sentences: "):
        try_methods(tmp_path / "b", *pair, [*SENTENCES, long], TRIAL)
    assert not list((tmp_path / "b").glob("*.parquet"))
    with pytest.raises(LigflowError, match="The corpus has no sentence"):
        try_methods(tmp_path / "c", *pair, [], TRIAL)
    with pytest.raises(LigflowError, match="steps is 1; give a whole number from 2"):
        Trial(steps=1)


# --- standings ------------------------------------------------------------------------------------


def made(values: dict[str, list[float]], measure: str = "between") -> pandas.DataFrame:
    """One target a sentence."""
    return pandas.DataFrame([
        {"sentence": number, "layer": 0, "unmet": 0, "replacement": "zero", "method": method,
         "measure": measure, "sum": value, "count": 1}
        for method, of_method in values.items() for number, value in enumerate(of_method)
    ])  # fmt: skip


def by_method(frame: pandas.DataFrame) -> dict[str, Standing]:
    return {one.method: one for one in standings(frame, draws=400) if one.layer is None}


def test_means_places_and_what_cannot_be_told_from_the_best() -> None:
    noise = np.random.default_rng(0).normal(size=40)
    found = by_method(made({
        "best": (1 + noise).tolist(), "shifted": (0.9 + noise).tolist(),
        "noisy": (0.98 + np.roll(noise, 7)).tolist(), "random": (5 + noise).tolist(),
    }))  # fmt: skip
    assert found["best"].mean == pytest.approx(1 + noise.mean())
    assert (found["best"].place, found["noisy"].place, found["shifted"].place) == (1, 2, 3)
    assert found["random"].place == 0
    assert found["best"].as_good
    assert found["noisy"].as_good
    assert not found["shifted"].as_good  # always below it by 0.1: the difference is paired
    assert found["best"].low < found["best"].mean < found["best"].high
    assert found["best"].targets == 40


def test_lower_is_better_where_it_is() -> None:
    found = by_method(made({"one": [1.0] * 9, "other": [2.0] * 9}, "sufficiency"))
    assert (found["one"].place, found["other"].place) == (1, 2)


def test_a_table_in_the_order_of_the_places() -> None:
    frames = [made({"one": [0.1] * 9, "other": [0.2] * 9, "random": [0.9] * 9}, m) for m in MEASURES]
    text = standing_table(standings(pandas.concat(frames), draws=100), "zero")
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| other", "| one", "| random"]
    assert "**0.200 ± 0.000**" in text
    assert is_control("random")


def test_the_command(tmp_path: Path, run: Command) -> None:
    call = partial(run, "corpus", "faithfulness")
    source, out = tmp_path / "some.txt", str(tmp_path / "out")
    source.write_text("\n".join(TEXTS[:2]), encoding="utf-8")
    arguments = (
        str(source),
        "--out",
        out,
        "--layers",
        "1",
        "--steps",
        "3",
        "--shuffled",
        "1",
        "--draws",
        "100",
    )
    status, said, _ = call(*arguments)
    assert status == 0
    assert said.splitlines()[-1] == f"wrote {out}/faithfulness.md"
    assert "Sources replaced by zero, area between the curves: " in said
    assert " is best (" in said
    names = {"faithfulness.md", "faithfulness.svg", "faithfulness.png", "standings.csv", "standings.parquet"}
    assert {path.name for path in Path(out).iterdir()} == {*names, "sentences"}
    text = (Path(out) / "faithfulness.md").read_text(encoding="utf-8")
    assert "2 sentences, layer 1; curves of 3 steps, k = 3; 0 integrals of LIG missed the tolerance." in text
    assert text.count("| value zeroing |") == 4
    assert "an interval takes at least 100" in call(*arguments[:-1], "9")[2]
    assert "holds another trial" in call(*arguments[:-3], "0")[2]
    assert "There is no layer 9" in call(str(source), "--out", str(tmp_path / "no"), "--layers", "9")[2]


def test_two_processes_in_one_folder_are_kept_apart(folder: Path, pair: tuple[Explainer, Explainer]) -> None:
    with locked(folder), pytest.raises(LigflowError, match="Another run is at work in"):
        try_methods(folder, *pair, SENTENCES, TRIAL)
    assert len(try_methods(folder, *pair, SENTENCES, TRIAL)) > 0


def test_a_folder_that_cannot_be_made(tmp_path: Path, pair: tuple[Explainer, Explainer]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="Cannot make the folder"):
        try_methods(tmp_path / "file" / "trial", *pair, SENTENCES, TRIAL)
