"""What the repository keeps of the whole-model benchmark makes its tables, and lets a run go on."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas
import pytest

from benchmark_scripts import BENCHMARKS, loaded

FOLDER = BENCHMARKS / "results" / "prediction-faithfulness"
MODELS = sorted(file.name.removesuffix("-scores.csv.gz") for file in FOLDER.glob("*-scores.csv.gz"))
MEASURES = ("random: between", "leave-one-out: rank")  # two of the tables', since all take seconds
NAMES = ("question_file", "kept_results", "chain_relevances", "removal_judge", "prediction_scores",
         "prediction_standings", "measure")  # fmt: skip


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, no_shape_checks: None) -> Iterator[dict[str, ModuleType]]:
    with loaded(NAMES, monkeypatch) as modules:
        yield modules


@pytest.mark.parametrize("model", MODELS)
def test_tables_of_the_kept_scores_are_the_kept_standings(scripts: dict[str, ModuleType], model: str) -> None:
    rows = scripts["kept_results"].scores_of(model)
    rows = rows[rows.measure.isin(MEASURES)]
    for part, name in {"main": "standings", "variants": "variants"}.items():
        ours = scripts["prediction_standings"].standings(rows, part).fillna({"beside": ""})
        kept = pandas.read_csv(FOLDER / f"{model}-{name}.csv").fillna({"beside": ""})
        kept = kept[kept.measure.isin(MEASURES)].reset_index(drop=True)
        pandas.testing.assert_frame_equal(ours, kept, rtol=1e-4, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_those_of_the_kept_relevances_and_removals(
    scripts: dict[str, ModuleType], model: str, tmp_path: Path
) -> None:
    assert scripts["kept_results"].lay(model, tmp_path) == []
    files = sorted((tmp_path / model / "judged").glob("*.json"))
    for file in files[3:]:
        file.unlink()
    ours = scripts["prediction_scores"].scores(model, tmp_path).dropna()
    kept = scripts["kept_results"].scores_of(model)
    kept = kept[kept.question.isin([file.stem for file in files[:3]])]
    both = ours.merge(kept, on=["question", "kind", "method", "measure"], validate="1:1")
    assert len(both) == len(ours) == len(kept) > 0
    np.testing.assert_allclose(both.value_x, both.value_y, rtol=1e-4, atol=1e-6)


def test_a_run_goes_on_with_what_is_kept(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    kept, files = scripts["kept_results"], scripts["question_file"]
    asked = [
        files.Question(f"made-00{number}", "made", [number, 5, 6], ["a", "b", "c"], 7, 1, [False] * 3)
        for number in (1, 2, 3)
    ]
    first, second, folder = tmp_path / "first", tmp_path / "second", tmp_path / "kept"
    files.write_questions(first / "tiny" / "questions.jsonl", asked)
    for method in ("chain", "rival"):
        about = dict.fromkeys(kept.ABOUT, "as made") | {"method": method}
        for question in asked[:2]:
            line = {"name": question.name, "relevance": [0.1, -2 / 3, 4e-9], "seconds": 0.25, "peak_mb": 3.0}
            files.append(first / "tiny" / "relevances" / f"{method}.jsonl", line)
        (first / "tiny" / "relevances" / f"{method}.json").write_text(json.dumps(about))
    (first / "tiny" / "judged").mkdir()
    (first / "tiny" / "judged" / "made-001.json").write_text(
        json.dumps({"neutral": {"0": -1.5, "6": -2 / 3}})
    )
    assert kept.keep("tiny", first, folder)

    # another machine: it asks the second question otherwise, has the rival at other settings, and a set more
    files.write_questions(
        second / "tiny" / "questions.jsonl", [asked[0], replace(asked[1], ids=[9, 9, 9]), asked[2]]
    )
    (second / "tiny" / "relevances").mkdir()
    (second / "tiny" / "relevances" / "rival.json").write_text(json.dumps({"settings": "others"}))
    (second / "tiny" / "judged").mkdir()
    (second / "tiny" / "judged" / "made-001.json").write_text(json.dumps({"neutral": {"2": -4.0}}))
    for _ in range(2):
        assert kept.lay("tiny", second, folder) == ["made-002", "rival"]
    [line] = files.read_lines(second / "tiny" / "relevances" / "chain.jsonl")
    assert (line["name"], line["seconds"]) == ("made-001", 0.25)
    assert line["relevance"] == pytest.approx([0.1, -2 / 3, 4e-9], rel=1e-6)
    assert not (second / "tiny" / "relevances" / "rival.jsonl").exists()
    judged = json.loads((second / "tiny" / "judged" / "made-001.json").read_text())["neutral"]
    assert judged == {"2": -4.0, "0": -1.5, "6": pytest.approx(-2 / 3, rel=1e-6)}

    # where nothing has been run, all of it is there; what is kept again is the same
    shutil.rmtree(second)
    assert kept.lay("tiny", second, folder) == []
    assert files.read_questions(second / "tiny" / "questions.jsonl") == asked
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert kept.keep("tiny", second, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert not kept.keep("tiny", tmp_path / "none", folder)
