"""The page on the consistency experiment says what its kept tables say."""

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import experiment  # type: ignore[import-not-found]  # noqa: E402
import experiment_tables  # type: ignore[import-not-found]  # noqa: E402

PAGE = (ROOT / "docs" / "explanation" / "experiment.md").read_text(encoding="utf-8")
KEPT = [name for name in experiment.RUNS if (experiment_tables.RESULTS / name).is_dir()]
MINILM = ("minilm-shipped", "minilm-gum", "minilm-ewt")
BLOCKS = experiment_tables.blocks(KEPT)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_tables(name: str) -> None:
    assert f"<!-- begin {name} -->\n\n{BLOCKS[name]}\n\n<!-- end {name} -->" in PAGE


@pytest.mark.parametrize(
    ("direct", "least", "most"), [("itb", 0.95, 0.95), ("mean", 0.65, 0.72), ("zero", 0.28, 0.32)]
)
def test_the_first_sentences_are_those_of_the_tables(direct: str, least: float, most: float) -> None:
    found = []
    for run in MINILM:
        rows = experiment_tables.read(run, "pairs")
        rows = rows[(rows.unit == "token") & ~rows.diagonal & (rows.direct == direct)]
        rows = rows[experiment_tables.own(rows, direct) & (rows.metric == "pearson")]
        found += rows["mean"].tolist()
    assert (round(min(found), 2), round(max(found), 2)) == (least, most)


def test_how_often_the_pair_with_matched_ends_may_be_the_best() -> None:
    may_be = []
    for run, direct in itertools.product(MINILM, ("zero", "mean", "itb")):
        rows = experiment_tables.read(run, "pairs")
        rows = rows[(rows.unit == "token") & ~rows.diagonal & (rows.direct == direct)]
        rows = rows[experiment_tables.own(rows, direct)].set_index("metric")
        may_be += rows.may_be_best[list(experiment_tables.SHOWN)].tolist()
    assert f"in {sum(may_be)} of {len(may_be)} rankings" in PAGE


def test_what_weights_that_learnt_nothing_leave() -> None:
    rows = experiment_tables.read("minilm-twins", "controls")
    rows = rows[(rows.unit == "token") & (rows.direct == "itb")].set_index("control")
    found = [rows["value"][kind] for kind in ("permuted weights", "new weights")]
    assert [round(float(value), 2) for value in (*found, rows["mean"].iloc[0])] == [0.89, 0.84, 0.96]
    assert (rows.outcome[["permuted weights", "new weights"]] == "better").all()


def test_what_other_models_show() -> None:
    rows = {run: experiment_tables.read(run, "pairs") for run in ("gemma-shipped", "smollm2-shipped")}
    off = {run: some[(some.unit == "token") & ~some.diagonal] for run, some in rows.items()}
    shown = list(experiment_tables.SHOWN)

    def own(run: str, direct: str) -> Any:
        some = off[run][off[run].direct == direct]
        return some[experiment_tables.own(some, direct)].set_index("metric").loc[shown]

    assert (own("gemma-shipped", "itb")["rank"] <= 3).all()
    assert [int(own("smollm2-shipped", direct).may_be_best.sum()) for direct in ("itb", "mean")] == [3, 3]
    zero = own("smollm2-shipped", "zero")
    assert (zero["rank"] >= 15).all()
    some = off["smollm2-shipped"]
    best = some[(some.direct == "zero") & (some.metric == "pearson") & (some["rank"] == 1)].iloc[0]
    assert (round(zero["mean"]["pearson"], 2), round(best["mean"], 2)) == (0.01, 0.46)
    assert (best.att, best.mlp) == ("itb_zero_ratio", "att_itb_a0")


def test_what_heads_weighed_alike_leave() -> None:
    rows = [experiment_tables.read(run, "controls") for run in MINILM]
    alike = [
        float(
            some[(some.unit == "token") & (some.direct == "itb") & (some.control == "heads_alike")][
                "value"
            ].iloc[0]
        )
        for some in rows
    ]
    assert (round(min(alike), 2), round(max(alike), 2)) == (0.89, 0.91)


def test_no_path_of_a_machine_is_kept() -> None:
    for file in experiment_tables.RESULTS.rglob("*.*"):
        text = file.read_text(encoding="utf-8")
        assert "/home/" not in text
        assert "/work/" not in text
