"""The judge of the whole-model benchmark, against the unmodified model with other ids."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark_scripts import BENCHMARKS, loaded

FOLDER = BENCHMARKS
NAMES = ("subjects", "question_file", "chain_relevances", "removal_judge", "prediction_scores",
         "prediction_standings", "measure")  # fmt: skip


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, no_shape_checks: None) -> Iterator[dict[str, Any]]:
    with loaded(NAMES, monkeypatch) as modules:
        yield modules


def asked(scripts: dict[str, Any]) -> Any:
    ids = [2, 10, 20, 30, 40, 3]
    return scripts["question_file"].Question(
        "made-001", "made", ids, [str(number) for number in ids], 7, 1, [True, *[False] * 4, True]
    )


def plain(explainer: Any, ids: list[int]) -> float:
    model = explainer.whole.now().placement.model
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)[7])


def test_removed_tokens_are_replaced_by_the_neutral_one(scripts: dict[str, Any]) -> None:
    explainer, question = scripts["subjects"].tiny_decoder(torch.float64), asked(scripts)
    values: dict[str, float] = {}
    relevances = {"chain": np.array([0, 3.0, -1, 2, 1, 0])}
    wanted = scripts["removal_judge"].sets_of(question, relevances, whole=True)
    assert set(wanted) == {"neutral", "mean", "random 0"}
    scripts["removal_judge"].judge(explainer, question, "neutral", wanted["neutral"], values)
    assert values["0"] == pytest.approx(plain(explainer, question.ids), abs=1e-12)
    assert values[str(2 + 8)] == pytest.approx(plain(explainer, [2, 1, 20, 1, 40, 3]), abs=1e-12)
    before = dict(values)
    scripts["removal_judge"].judge(explainer, question, "neutral", wanted["neutral"], values)
    assert values == before
    alone = scripts["chain_relevances"].leave_one_out(explainer, question)
    assert alone[3] == pytest.approx(values["0"] - values["8"], abs=1e-12)


def test_scores_come_from_what_was_run(scripts: dict[str, Any]) -> None:
    question = asked(scripts)
    weight = np.array([0.0, 3.0, -1.0, 2.0, 1.0, 0.0])
    judged = {str(number): -sum(weight[k] for k in range(6) if number >> k & 1) for number in range(64)}
    every = dict.fromkeys(("neutral", "mean", "random 0"), judged)
    rows = dict(scripts["prediction_scores"].measured(question, every, weight))
    # four players, of which 1, 1, 2, 3, 3 go: 3, 3, 5, 6, 6 of the first, -1, -1, 0, 2, 2 of the last
    assert rows["neutral: between"] == pytest.approx((23 - 2) / 5)
    assert rows["neutral: NAOPC comprehensiveness"] == pytest.approx(1)
    assert rows["neutral: NAOPC sufficiency"] == pytest.approx(0)
    assert rows["leave-one-out: rank"] == pytest.approx(1)
    assert rows["random: Shapley rank"] == pytest.approx(1)
    few = {name: {"0": 0.0, **{str(1 << k): 0.0 for k in range(6)}} for name in every}
    left = dict(scripts["prediction_scores"].measured(question, few, weight))
    assert set(left) == {"leave-one-out: rank"}


def test_standings_say_what_is_better_and_random_is_zero(scripts: dict[str, Any]) -> None:
    import pandas

    generator = np.random.default_rng(0)
    rows = pandas.DataFrame([
        {"question": f"made-{place}", "method": method, "measure": "neutral: between",
         "value": mean + generator.normal()}
        for place in range(60)
        for method, mean in {"chain": 3.0, "good": 3.1, "bad": 1.0, "random": 0.0, "chain-other": 9.0}.items()
    ])  # fmt: skip
    table = scripts["prediction_standings"].standings(rows, "main").set_index("method")
    assert set(table.index) == {"chain", "good", "bad", "random"}
    assert (table.questions == 60).all()
    assert table.beside.fillna("").to_dict() == {
        "bad": "worse", "chain": "", "good": "cannot be told", "random": "worse",
    }  # fmt: skip
    assert table.may_be_best.to_dict() == {"bad": False, "chain": True, "good": True, "random": False}
    assert table.low["random"] < 0 < table.high["random"]


def test_a_line_that_was_cut_short_is_taken_off(scripts: dict[str, Any], tmp_path: Path) -> None:
    files, path = scripts["question_file"], tmp_path / "relevances" / "chain.jsonl"
    question = asked(scripts)
    files.append(path, {"name": "made-001", "relevance": [1.0]})
    with path.open("a") as file:
        file.write('{"name": "made-002", "rele')
    assert not [*files.unanswered([question], path)]
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["made-001"]
    files.write_questions(tmp_path / "questions.jsonl", [question])
    assert files.read_questions(tmp_path / "questions.jsonl") == [question]
