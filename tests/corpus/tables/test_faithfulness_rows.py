"""What a trial stores of a sentence, against the measures by hand."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ligflow import Explainer
from ligflow.corpus.runs.faithfulness_trial import try_methods
from ligflow.corpus.tables import faithfulness_rows
from ligflow.corpus.tables.faithfulness_rows import ALL, MEASURES, SHUFFLED, WORDS
from ligflow.evaluation.faithfulness import measured
from ligflow.evaluation.other_methods import rivals, value_zeroing
from ligflow.evaluation.removal import ablation
from ligflow.routes.workspace import Selection
from small_trial import SENTENCES, TEXTS, TRIAL

Pair = tuple[Explainer, Callable[[int], Explainer]]

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_rows_are_those_of_the_layer(folder: Path, pair: Pair) -> None:
    frame = try_methods(folder, *pair, SENTENCES, TRIAL)
    assert set(frame.measure) == set(MEASURES)
    assert set(frame[frame.measure == SHUFFLED].sentence) == {0}
    assert frame.unmet.sum() == 0
    explainer = pair[0]
    layer = explainer.prepared.record(TEXTS[1])[2]
    everyone = torch.arange(len(layer.hidden))
    place = Selection(everyone, everyone)
    others = ~torch.eye(len(everyone), dtype=torch.bool)
    special = torch.tensor([True, *[False] * (len(everyone) - 2), True])  # [CLS] and [SEP]
    with explainer.prepared.ready_for(layer):
        maps = value_zeroing(layer, place)[None]
        expected = measured(ablation(layer, place, "target").image, maps, others, steps=4)
        of_words = measured(ablation(layer, place, "target").image, maps, others & ~special, steps=4)
    rows = frame[(frame.sentence == 1) & (frame.method == "value zeroing") & (frame.replacement == "target")]
    rows = rows[rows.measure.isin(expected)]
    assert len(rows) == 2 * len(expected)
    for row in rows.itertuples():
        known = {ALL: expected, WORDS: of_words}[str(row.players)][str(row.measure)]
        assert row.sum == pytest.approx(float(known.sum()), rel=1e-4)
        assert int(str(row.count)) == len(everyone)


def test_a_method_that_shuffled_weights_lack_is_not_compared_with_them(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count()

    def some(*asked: Any) -> dict[str, Tensor]:
        maps = rivals(*asked)
        return maps if next(calls) == 0 else {name: maps[name] for name in maps if name != "DecompX"}

    monkeypatch.setattr(faithfulness_rows, "rivals", some)
    frame = try_methods(tmp_path / "trial", *pair, SENTENCES[:1], TRIAL)
    compared = set(frame[frame.measure == SHUFFLED].method)
    assert set(frame.method) - compared >= {"DecompX"}
    assert "ALTI" in compared


def test_shuffled_weights_keep_their_values_and_lose_their_places(pair: Pair) -> None:
    both = pair[0], pair[1](0)
    real, twin = (one.model.state_dict() for one in both)
    name = "encoder.layer.2.attention.self.value.weight"
    assert not torch.equal(real[name], twin[name])
    assert torch.equal(real[name].flatten().sort().values, twin[name].flatten().sort().values)
    for same in ("embeddings.word_embeddings.weight", "encoder.layer.2.output.LayerNorm.weight"):
        assert torch.equal(real[same], twin[same])
    layer, other = (one.prepared.record(TEXTS[0])[2] for one in both)
    with both[1].prepared.ready_for(other):
        moved = other.on_input(layer.hidden)
        assert torch.equal(moved.hidden, layer.hidden)
        assert torch.equal(moved.output, other.forward(layer.hidden[None])[0])
