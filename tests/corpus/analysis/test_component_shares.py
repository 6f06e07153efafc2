"""Which components carry a task: shares by hand, a head that is planted and one that is not, groups."""

from pathlib import Path

import numpy as np
import pytest

from ligflow import LigflowError
from ligflow.corpus.analysis.component_shares import component_draws, component_shares, layer_shares
from ligflow.corpus.analysis.group_differences import group_differences
from ligflow.corpus.analysis.prompt_components import Component, components_of
from ligflow.corpus.analysis.prompt_examples import examples, explained, extremes, labels
from ligflow.corpus.runs.store import Run
from made_predictions import HEADS, LAYERS, LENGTH, run_of


def noise(number: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng([7, number])
    return draw.normal(0, 0.2, (LAYERS, HEADS, LENGTH)), draw.normal(0, 0.2, (LAYERS, LENGTH))


def planted(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Head 2 of layer 1 has 0.8 more at the last token."""
    heads, mlps = noise(number)
    heads[1, 2, -1] += 0.8
    return heads, mlps


def wandering(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Another head has it in each prompt."""
    heads, mlps = noise(number)
    heads.reshape(-1, LENGTH)[number % (LAYERS * HEADS), -1] += 0.8
    return heads, mlps


def test_shares_are_means_over_prompts(tmp_path: Path) -> None:
    run = run_of(tmp_path, planted, 40, left_out=[3])
    rows = component_shares(component_draws(run, 200))
    assert [(row.kind, row.layer, row.head) for row in rows] == [
        *(("head", layer, head) for layer in range(LAYERS) for head in range(HEADS)),
        ("mlp", 0, None), ("mlp", 1, None),
    ]  # fmt: skip
    every = [planted(number) for number in range(40) if number != 3]
    heads = np.stack([heads.reshape(-1, LENGTH) for heads, _ in every])
    own = heads.sum(-1)
    for at, row in enumerate(rows[: LAYERS * HEADS]):
        assert row.prompts == 39
        assert row.relevance == pytest.approx(own[:, at].mean())
        assert row.share == pytest.approx(own[:, at].mean() / 2)
        assert row.magnitude == pytest.approx(np.abs(own[:, at]).mean() / 2)
        assert row.positive == pytest.approx((own[:, at] > 0).mean())
        size = np.abs(heads[:, at])
        assert row.at_last == pytest.approx((size[:, -1] / size.sum(-1)).mean())
        assert row.low < row.share < row.high
    layers = layer_shares(component_draws(run, 200))
    sums = own.reshape(-1, LAYERS, HEADS).sum(-1).mean(0) / 2
    assert [row.share for row in layers if row.kind == "head"] == pytest.approx(list(sums))


def test_a_head_that_is_planted_carries_the_task_and_no_other(tmp_path: Path) -> None:
    rows = component_shares(component_draws(run_of(tmp_path, planted, 60), 300))
    assert [(row.layer, row.head) for row in rows if row.carries] == [(1, 2)]
    (row,) = [row for row in rows if row.carries]
    assert 0 < row.control < row.share


def test_the_control_fails_what_is_another_head_in_each_prompt(tmp_path: Path) -> None:
    """The intervals of some leave out 0, for each has its turn; none has more than any would."""
    rows = component_shares(component_draws(run_of(tmp_path, wandering, 240), 300))
    assert any(row.low > 0 for row in rows if row.kind == "head")
    assert not any(row.carries for row in rows)


def test_it_does_not_depend_on_shards(tmp_path: Path) -> None:
    two = [
        component_draws(run_of(tmp_path / str(size), planted, 20, shard_size=size), 100) for size in (3, 20)
    ]
    ours, theirs = map(component_shares, two)
    for row, other in zip(ours, theirs, strict=True):
        assert (row.share, row.low, row.control) == pytest.approx((other.share, other.low, other.control))


def test_of_one_prompt_nothing_can_be_told(tmp_path: Path) -> None:
    rows = component_shares(component_draws(run_of(tmp_path, planted, 1), 100))
    assert all(np.isnan(row.low) and not row.carries for row in rows)


def test_groups_that_differ(tmp_path: Path) -> None:
    groups = ["a"] * 30 + ["b"] * 30 + ["single", None]
    run = run_of(tmp_path, lambda n: planted(n) if n < 30 else noise(n), 62, groups)
    rows = group_differences(component_draws(run, 300))
    assert {(row.group, row.layer, row.head) for row in rows if row.differs} == {("a", 1, 2), ("b", 1, 2)}
    first = next(row for row in rows if (row.group, row.layer, row.head) == ("a", 1, 2))
    assert first.difference == pytest.approx(first.share - first.elsewhere)
    assert 0 < first.low < first.difference < first.high
    assert all(np.isnan(row.low) and not row.differs for row in rows if row.group == "single")
    assert [row.prompts for row in rows if row.group == "single"] == [1] * 8


def test_one_group_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    assert group_differences(component_draws(run_of(tmp_path, noise, 4, ["a"] * 4), 100)) == []


def test_examples_are_the_prompts_at_the_ends(tmp_path: Path) -> None:
    run = run_of(tmp_path, noise, 30)
    own = examples(run)[Component("head", 1, 0)]
    share = np.array([noise(number)[0][1, 0].sum() / 2 for number in range(30)])
    order = np.argsort(-share)
    assert [example.prompt for example in own] == [*order[:2], *order[-2:]]
    assert own[0].share == pytest.approx(share[order[0]])
    assert list(own[0].relevance) == pytest.approx(list(noise(int(order[0]))[0][1, 0]))
    assert labels(run, {own[0].prompt}) == {own[0].prompt: ["Prompt", f"<i>{own[0].prompt}"]}
    ends = extremes(explained(run))
    assert {*ends} == {"most for the answer", "most against it", "largest certificates"}
    assert len(ends["most against it"]) == 0


def test_a_run_without_an_explained_prompt(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="holds an explained prompt yet"):
        component_draws(run_of(tmp_path, noise, 2, left_out=[0, 1]))


def test_the_components_of_a_model(predictions: Run) -> None:
    parts = components_of(predictions.table(0, "components"))
    assert [part.name for part in parts[:2]] == ["layer 0, head 0", "layer 0, head 1"]
    assert parts[-1].name == "layer 1, MLP"
    assert Component("cross-head", 3, 1).name == "layer 3, cross head 1"
