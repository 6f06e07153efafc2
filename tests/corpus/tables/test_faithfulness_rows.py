"""What a trial stores of a sentence, against the measures by hand."""

from pathlib import Path

import pytest
import torch

from ligflow import Explainer
from ligflow.corpus.runs.faithfulness_trial import try_methods
from ligflow.corpus.tables.faithfulness_rows import MEASURES, SHUFFLED
from ligflow.evaluation.faithfulness import measured
from ligflow.evaluation.other_methods import value_zeroing
from ligflow.evaluation.removal import ablation
from ligflow.routes.workspace import Selection
from small_trial import SENTENCES, TEXTS, TRIAL

pytestmark = pytest.mark.usefixtures("no_shape_checks")


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
