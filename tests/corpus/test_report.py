"""Reports on runs made by hand: means, ranks, intervals, words, tables, figures, and refusals."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from ligflow import LigflowError
from ligflow.corpus.analysis.completeness import certify, left_out
from ligflow.corpus.analysis.estimates import ATTENTION, PAIRS, SHUFFLED, estimate
from ligflow.corpus.analysis.rankings import best_first, rank, ranking
from ligflow.corpus.analysis.rankings_in_words import best, finding, number, warnings_of
from ligflow.corpus.reports import consistency_figures, latex_tables
from ligflow.corpus.reports.files import numbered
from ligflow.corpus.reports.markdown import plain
from ligflow.corpus.reports.report import report
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")
GOOD = {"l2": 0.1, "relative_l2": 0.1, "normalised_l2": 0.1, "pearson": 0.9, "spearman": 0.9, "top_k": 0.9}


def favouring(att: str, mlp: str, rule: str) -> Any:
    """Makes one composed map the best under all metrics."""

    def change(row: Row) -> None:
        if (row["map"], row["att"], row["mlp"], row["rule"]) == ("composed", att, mlp, rule):
            row |= GOOD

    return change


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pictures, which take most of a report's time."""
    monkeypatch.setattr(consistency_figures, "draw", lambda *_: [])


def frame_of(found: Run) -> pandas.DataFrame:
    return pandas.concat([found.table(shard, "metrics").to_pandas() for shard in found.done])


# --- estimates ------------------------------------------------------------------------------------


def test_means_are_those_of_the_rows(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path, units=("token", "word"))
    ours, frame = estimate(found, draws=100), frame_of(found)
    assert (ours.units, ours.layers, ours.sentences) == (("token", "word"), (0, 3), 12)
    for unit, layer, direct, diagonal in (("token", 3, "itb", True), ("word", 0, "zero", False)):
        rows = frame[
            (frame.unit == unit) & (frame.layer == layer) & (frame.direct == direct)
            & (frame.diagonal == diagonal)
        ]  # fmt: skip
        at = ours.mean[
            ours.units.index(unit), int(not diagonal), ours.layers.index(layer), DIRECT.index(direct)
        ]
        for kind, place in (("composed", 0), ("shuffled", SHUFFLED.start)):
            for n, (att, mlp, rule) in enumerate(PAIRS):
                some = rows[
                    (rows["map"] == kind) & (rows.att == att) & (rows.mlp == mlp) & (rows.rule == rule)
                ]
                np.testing.assert_allclose(at[place + n], some[list(METRICS)].mean(), rtol=1e-6)
        attention = rows[rows["map"] == "attention"][list(METRICS)].mean()
        np.testing.assert_allclose(at[ATTENTION], attention, rtol=1e-6)


def test_all_layers_together_are_all_rows(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path)
    ours, frame = estimate(found, draws=100), frame_of(found)
    rows = frame[(frame["map"] == "attention") & (frame.direct == "itb") & frame.diagonal]
    np.testing.assert_allclose(ours.mean[0, 0, 2, 1, ATTENTION], rows[list(METRICS)].mean(), rtol=1e-6)
    assert ours.cells[0, 0, 2, 1, ATTENTION].tolist() == [len(rows)] * len(METRICS)
    assert not ours.undefined.any()


@pytest.mark.parametrize("shard_size", [1, 12])
def test_shards_do_not_matter(tmp_path: Path, shard_size: int) -> None:
    one, other = (
        estimate(run_by_hand(tmp_path / str(size), shard_size=size), draws=200) for size in (5, shard_size)
    )
    np.testing.assert_allclose(one.draws, other.draws, rtol=1e-12)


def test_what_is_not_defined_is_counted_and_not_part_of_a_mean(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        row["pearson"] = None if row["target"] == 0 else 0.5

    ours = estimate(run_by_hand(tmp_path, change=change), draws=100)
    pearson = METRICS.index("pearson")
    assert (ours.mean[..., pearson] == 0.5).all()
    assert ours.undefined[0, 0, 0, 0, 0].tolist() == [12 if n == pearson else 0 for n in range(len(METRICS))]
    assert ours.cells[0, 0, 0, 0, 0, pearson] == 18  # 6 sentences with one more target, 6 with two


def test_a_metric_that_is_never_defined(tmp_path: Path, no_figures: None) -> None:
    def change(row: Row) -> None:
        row["spearman"] = None

    found = run_by_hand(tmp_path, change=change)
    rows = ranking(rank(estimate(found, draws=100)), "token", True, "itb", "spearman")
    assert len(rows) == len(PAIRS)
    assert all(np.isnan(row.mean) and not row.tied and row.rows == 0 for row in rows)
    assert "nan" in report(found.folder, draws=100).read_text()
    assert "--" in (found.folder / "report" / "pairs.tex").read_text()


def test_draws_must_be_many(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="draws is 99; an interval takes at least 100"):
        estimate(run_by_hand(tmp_path), draws=99)


# --- ranks ----------------------------------------------------------------------------------------


def test_the_best_is_first_under_every_metric(tmp_path: Path) -> None:
    best_pair = ("itb", "att_itb_a0", "conserving")
    ranked = rank(estimate(run_by_hand(tmp_path, change=favouring(*best_pair)), draws=200))
    for metric in METRICS:
        rows = ranking(ranked, "token", False, "zero", metric)
        assert [row.rank for row in rows] == list(range(1, 17))
        first = rows[0]
        assert (first.att, first.mlp, first.rule) == best_pair
        assert first.mean == pytest.approx(GOOD[metric])
        assert (first.low, first.high) == pytest.approx((GOOD[metric],) * 2)
        assert first.difference == 0
        assert not any(row.tied for row in rows[1:])
        assert first.beats_attention
        assert first.beats_shuffled
        assert not first.beats_twin
        assert np.isnan(first.twin)
        means = [row.mean for row in rows]
        assert means == sorted(means, reverse=metric in ("pearson", "spearman", "top_k"))


def test_differences_to_the_best_are_paired(tmp_path: Path) -> None:
    """Every pair varies alike from sentence to sentence: each is unsure, their difference is not."""

    def change(row: Row) -> None:
        step = 0.0 if row["att"] is None else 0.001 * PAIRS.index((row["att"], row["mlp"], row["rule"]))
        row["l2"] = np.random.default_rng(row["sentence"]).uniform(1, 2) + step

    ranked = rank(estimate(run_by_hand(tmp_path, change=change), draws=200))
    rows = ranking(ranked, "token", True, "itb", "l2")
    assert [(row.att, row.mlp, row.rule) for row in rows] == PAIRS
    assert rows[1].high - rows[1].low > 0.1
    assert (rows[1].difference_low, rows[1].difference_high) == pytest.approx((0.001, 0.001), abs=1e-5)
    assert not rows[1].tied


PLACES = [3, 11, 0, 7, 14, 1, 9, 5, 15, 2, 12, 6, 10, 4, 13, 8]  # of the pairs, in a mixed order


def mixed(kind: str) -> Any:
    """l2 of pair p is noise of the sentence + 0.01 times its place; each control is beside it by a known gap.

    Shuffled, the pairs of even place are better by 0.0005, the others worse; on random weights, those of
    the first eight pairs are worse by 0.002, the others better. Without the diagonal all are worse by 0.1.
    """

    def change(row: Row) -> None:
        noise = np.random.default_rng(row["sentence"]).uniform(1, 2) + (0.0 if row["diagonal"] else 0.1)
        if row["att"] is None:
            row["l2"] = noise + 0.0705
            return
        pair = PAIRS.index((row["att"], row["mlp"], row["rule"]))
        gap = 0.0
        if row["map"] == "shuffled":
            gap = -0.0005 if PLACES[pair] % 2 == 0 else 0.0005
        elif kind == "twin":
            gap = 0.002 if pair < 8 else -0.002
        row["l2"] = noise + 0.01 * PLACES[pair] + gap

    return change


@pytest.mark.parametrize("rules", [("product", "conserving"), ("product",)])
def test_every_number_of_a_ranking_is_of_its_own_pair(tmp_path: Path, rules: tuple[str, ...]) -> None:
    own, twin = (
        estimate(run_by_hand(tmp_path / kind, layers=(0,), change=mixed(kind)), draws=100)
        for kind in ("own", "twin")
    )
    rows = ranking(rank(own, twin, rules=rules), "token", True, "zero", "l2")
    order = sorted((PLACES[n], n) for n, pair in enumerate(PAIRS) if pair[2] in rules)
    base = own.mean[0, 0, -1, DIRECT.index("zero"), :16, METRICS.index("l2")] - 0.01 * np.array(PLACES)
    assert base == pytest.approx(np.full(16, base[0]))
    assert [(row.att, row.mlp, row.rule) for row in rows] == [PAIRS[n] for _, n in order]
    for row, (place, n) in zip(rows, order, strict=True):
        mean, best_place = base[0] + 0.01 * place, order[0][0]
        assert row.mean == pytest.approx(mean)
        draws = own.draws[1:, 0, 0, -1, DIRECT.index("zero"), n, METRICS.index("l2")]
        assert (row.low, row.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
        gaps = (row.difference, row.difference_low, row.difference_high)
        assert gaps == pytest.approx((0.01 * (place - best_place),) * 3, abs=1e-6)
        assert row.tied == (place == best_place)
        assert row.attention == pytest.approx(base[0] + 0.0705)
        assert row.shuffled == pytest.approx(mean + (-0.0005 if place % 2 == 0 else 0.0005))
        assert row.twin == pytest.approx(mean + (0.002 if n < 8 else -0.002))
        beaten = (row.beats_attention, row.beats_shuffled, row.beats_twin)
        assert beaten == (place <= 7, place % 2 == 1, n < 8)
    without = ranking(rank(own, twin, rules=rules), "token", False, "zero", "l2")
    assert [row.mean - 0.1 for row in without] == pytest.approx([row.mean for row in rows])


def test_what_is_not_defined_ranks_last() -> None:
    values = np.array([np.nan, 2.0, 1.0, np.nan, 3.0])
    assert best_first(values, lower_is_better=True).tolist() == [2, 1, 4, 0, 3]
    assert best_first(values, lower_is_better=False).tolist() == [4, 1, 2, 0, 3]


def test_rules_can_be_ranked_apart_and_layers_one_by_one(tmp_path: Path) -> None:
    found = estimate(run_by_hand(tmp_path), draws=100)
    alone = rank(found, rules=("product",))
    assert {row.rule for row in alone} == {"product"}
    assert max(row.rank for row in alone) == 8
    by_layer = rank(found, by_layer=True)
    assert {row.layer for row in by_layer} == {0, 3}
    assert len(by_layer) == 2 * 2 * len(DIRECT) * len(METRICS) * len(PAIRS)


def test_one_sentence_has_no_intervals_and_nothing_can_be_told_apart(
    tmp_path: Path, no_figures: None
) -> None:
    found = run_by_hand(tmp_path, sentences=1)
    rows = ranking(rank(estimate(found, draws=300)), "token", True, "itb", "l2")
    assert all(np.isnan(row.low) and np.isnan(row.high) and row.tied for row in rows)
    assert not any(row.beats_shuffled for row in rows)
    text = report(found.folder, draws=300).read_text()
    assert "Sentences: 1. Intervals from so few are too narrow" in text
    assert "cannot be told" in text
    assert "**holds**" not in text  # whichever pair is best


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("itb", "zero", "product"), "**holds** (best: ATT `itb` / MLP `zero`, product)"),
        (("zero", "zero", "product"), "**does not hold** (ATT `zero` / MLP `zero`, product is better than"),
    ],
)
def test_the_papers_finding(tmp_path: Path, pair: tuple[str, str, str], words: str) -> None:
    found = estimate(run_by_hand(tmp_path, change=favouring(*pair)), draws=200)
    lines = finding(rank(found), rank(found, rules=("product",)), "token")
    assert len(lines) == 1 + len(METRICS)
    assert all(line.count(words) == len(DIRECT) for line in lines)


def test_a_best_that_is_no_better_than_its_controls_is_said_to_be_so(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        row |= GOOD if row["att"] == "zero" else {}

    line = best(rank(estimate(run_by_hand(tmp_path, change=change), draws=200)), "token", True)[0]
    assert "not to be told from it: ATT `zero` / MLP `zero`, product" in line
    assert "It is not better than its own values shuffled (0.1)." in line


def test_raw_l2_that_rewards_small_noise_is_warned_of(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        if row["map"] == "shuffled" and row["att"] == "itb_map_ratio":
            row["l2"] = 0.0

    ranked = rank(estimate(run_by_hand(tmp_path, change=change), draws=100))
    lines = warnings_of(ranked, "token", 40, 3, 2, [])
    assert lines[0] == "Integrals that miss the tolerance: 3; see Completeness."
    assert lines[1] == "Sentences that were left out: 2; see Left out."
    assert "is better than 16 of the 16 real maps" in lines[2]


def test_numbers_are_readable() -> None:
    assert [number(x) for x in (0.123456, 12.3456, 12345.6, float("nan"))] == [
        "0.123",
        "12.3",
        "12346",
        "nan",
    ]


# --- completeness ---------------------------------------------------------------------------------


def test_completeness_counts_integrals_and_flips(tmp_path: Path) -> None:
    def cell(row: Row) -> None:
        if (row["route"], row["baseline"]) == ("z2u", "itb_zero_ratio"):
            row["flipped"] = 1
        if row["sentence"] == 7 and row["layer"] == 3 and row["route"] == "z2z":
            row |= {"certificate": -0.5, "unmet": 1, "nodes": 106, "origin_mass": 0.4}

    found = certify(run_by_hand(tmp_path, cell=cell))
    rows = {(row.route, row.baseline, row.layer): row for row in found}
    ratio, direct = rows["z2u", "itb_zero_ratio", None], rows["z2z", "itb", None]
    assert ratio.integrals == 12 * 2 * 2 * 4
    assert ratio.flipped == pytest.approx(1 / 4)
    assert (direct.unmet, direct.largest, direct.origin_mass) == pytest.approx((2, 0.5, 0.4))
    assert direct.nodes == pytest.approx(10 + 2 * 96 / 48)
    assert direct.median == pytest.approx(1e-4, rel=0.05)
    assert direct.far_from_tame == pytest.approx(2 / 48)
    assert rows["z2z", "itb", 0].unmet == 0
    assert rows["z2z", "itb", 3].far_from_tame == pytest.approx(2 / 24)


def test_left_out_sentences_are_counted_by_reason(tmp_path: Path) -> None:
    reasons = {
        3: "602 tokens, and the model takes 512. Shorten it.",
        8: "717 tokens, and the model takes 512.",
    }
    found = left_out(run_by_hand(tmp_path, left_out=reasons))
    assert (found.explained, found.count) == (10, 2)
    assert found.first[0] == (3, "made:4", reasons[3])
    assert dict(found.reasons) == {"### tokens, and the model takes ###": 2}


# --- the report -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a run with a twin, words, sentences that were left out and a model of a bad name."""
    folder = tmp_path_factory.mktemp("report")
    name = "evil|<script>alert(1)</script> `x` \\input{y}"
    bad = ["made:3: expected | and <b>"]
    change = favouring("itb", "att_itb_a0", "conserving")
    settings: Any = {"units": ("token", "word"), "left_out": {4: "too long <i>"}, "sentences": 14}
    run_by_hand(folder, change=change, name=name, bad=bad, **settings)
    run_by_hand(folder / "twin", name=name, bad=bad, **settings)
    return report(folder, folder / "out", draws=100)


def test_a_report_has_words_tables_and_figures(written: Path) -> None:
    names = {path.name for path in written.parent.iterdir()}
    shapes = [f"layers-{direct}-{rule}" for direct in DIRECT for rule in ("conserving", "product")]
    pictures = {f"{name}.{kind}" for name in ["pairs", *shapes] for kind in ("svg", "png")}
    tables = {"pairs.csv", "layers.csv", "completeness.csv", "left_out.csv", "pairs.tex"}
    assert names == pictures | tables | {"report.md"}
    text = written.read_text()
    for heading in (
        "Over tokens: does the paper's finding hold?", "Over words: what agrees best", "Completeness",
        "Flipped signs", "Left out", "Settings and versions",
    ):  # fmt: skip
        assert f"## {heading}" in text
    assert "13 sentences explained, 1 left out." in text
    assert "random weights" in text


def test_a_report_can_be_read_as_a_table(written: Path) -> None:
    pairs = pandas.read_csv(written.parent / "pairs.csv")
    assert len(pairs) == 2 * 2 * len(DIRECT) * len(METRICS) * len(PAIRS)
    first = pairs[(pairs["rank"] == 1) & (pairs.metric == "l2")]
    assert (first.att == "itb").all()
    assert first["twin"].notna().all()
    assert pandas.read_csv(written.parent / "left_out.csv")["sentence"].tolist() == [4]
    assert len(pandas.read_csv(written.parent / "completeness.csv")) == 9 * 3


def test_text_from_outside_is_escaped(written: Path) -> None:
    text = written.read_text()
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\\<script\\>" in text
    assert "too long \\<i\\>" in text
    assert "expected \\| and \\<b\\>" in text
    tex = (written.parent / "pairs.tex").read_text()
    assert r"\input{y}" not in tex
    assert r"\textbackslash{}input\{y\}" in tex
    assert plain("a|b\nc*") == "a\\|b c\\*"
    assert latex_tables.escape("50% & _x_ #1 $") == r"50\% \& \_x\_ \#1 \$"


def test_latex_tables_are_whole(written: Path) -> None:
    tex = (written.parent / "pairs.tex").read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == len(DIRECT)
    bodies = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert len(bodies) == len(DIRECT) * (1 + len(PAIRS))
    assert all(line.count("&") - line.count(r"\&") == 2 + len(METRICS) for line in bodies)
    assert tex.count(r"\textbf") == len(DIRECT) * len(METRICS)


def test_figures_are_well_formed_and_the_same_each_time(written: Path, tmp_path: Path) -> None:
    for path in written.parent.glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    for path in written.parent.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    again = report(written.parent.parent, tmp_path, draws=100)
    for name in ("report.md", "pairs.csv", "pairs.svg", "layers-itb-product.svg"):
        assert (again.parent / name).read_bytes() == (written.parent / name).read_bytes(), name


def test_the_heat_map_frames_the_best(tmp_path: Path) -> None:
    change = favouring("zero", "zero", "product")
    figure = consistency_figures.heat_map(estimate(run_by_hand(tmp_path, change=change), draws=100))
    for axes in figure.axes:
        assert [patch.get_y() for patch in axes.patches] == [
            PAIRS.index(("zero", "zero", "product")) - 0.48
        ] * 3


def test_a_twin_that_is_none_is_refused(tmp_path: Path) -> None:
    one, other = run_by_hand(tmp_path / "one"), run_by_hand(tmp_path / "other", sentences=11)
    with pytest.raises(LigflowError, match="is no twin of"):
        report(one.folder, twin=other.folder)


def test_a_twin_elsewhere(tmp_path: Path, no_figures: None) -> None:
    one, other = run_by_hand(tmp_path / "one"), run_by_hand(tmp_path / "other")
    assert "the best, random weights" in report(one.folder, twin=other.folder, draws=100).read_text()
    assert "random weights" not in report(one.folder, tmp_path / "alone", draws=100).read_text()


def test_an_unfinished_run_says_so(tmp_path: Path, no_figures: None) -> None:
    text = report(run_by_hand(tmp_path, unfinished=1).folder, draws=100).read_text()
    assert "The run is not finished: 2 of 3 shards are in this report." in text


@pytest.mark.parametrize("missing", [1, 3])
def test_an_unfinished_twin_says_so(tmp_path: Path, no_figures: None, missing: int) -> None:
    one = run_by_hand(tmp_path)
    run_by_hand(tmp_path / "twin", unfinished=missing)
    text = report(one.folder, draws=100).read_text()
    line = f"The twin on random weights is not finished: {3 - missing} of 3 shards are in this report."
    assert line in text
    assert ("the best, random weights" in text) == (missing < 3)


def test_runs_without_a_result(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="holds no run"):
        report(tmp_path)
    with pytest.raises(LigflowError, match=r"No shard of .* holds an explained sentence yet"):
        report(run_by_hand(tmp_path / "new", unfinished=3).folder)
    reasons = dict.fromkeys(range(12), "too long")
    with pytest.raises(LigflowError, match="holds an explained sentence"):
        report(run_by_hand(tmp_path / "none", left_out=reasons).folder)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path)
    path = found.place(1) / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LigflowError, match=r"metrics.parquet' \(shard 1\) is damaged"):
        report(found.folder)


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="The report cannot be written"):
        report(found.folder, tmp_path / "file" / "out", draws=100)


def test_a_run_that_was_moved_can_be_reported(tmp_path: Path, no_figures: None) -> None:
    found = run_by_hand(tmp_path / "run")
    moved = shutil.move(found.folder, tmp_path / "moved")
    assert report(moved, draws=100).is_file()
    assert open_run(moved).done == [0, 1, 2]


def test_layers_heads_and_sentences_are_whole_numbers_in_tables() -> None:
    """Also where some rows have none, which pandas would make 5.0 of."""
    frame = numbered(pandas.DataFrame({"layer": [5, None], "head": [None, 1], "mean": [1.0, 2.5]}))
    assert frame.to_csv(index=False) == "layer,head,mean\n5,,1.0\n,1,2.5\n"
