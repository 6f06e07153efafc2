import pytest
import torch

from ligflow import CompletenessWarning, Explainer, LigflowError
from ligflow.prediction import chain as chain_module
from prediction.tiny import gpt2, ids, llama

REFERENCE = torch.full((5,), 2)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_inputs_explained_together_have_what_each_has_alone(make) -> None:
    explainer = Explainer(make())
    generator = torch.Generator().manual_seed(3)
    many = [{"input_ids": torch.randint(3, 61, (1, 5), generator=generator)} for _ in range(4)]
    options = {"answer": 7, "on": [1, 2, 3, 4], "reference": REFERENCE, "tol": 1e-5, "edges": [1]}
    together = list(explainer.explain_predictions(many, **options))
    for inputs, prediction in zip(many, together, strict=True):
        alone = explainer.explain_prediction(inputs, **options)
        assert [each.points for each in prediction.certificates] == [
            each.points for each in alone.certificates
        ]
        for ours, theirs in (
            (prediction.by_depth, alone.by_depth), (prediction.error, alone.error),
            (prediction.heads[1], alone.heads[1]), (prediction.mlps[0], alone.mlps[0]),
            (prediction.residual[1], alone.residual[1]), (prediction.edges(1), alone.edges(1)),
        ):  # fmt: skip
            assert torch.allclose(ours, theirs, atol=1e-10, rtol=1e-9)
        assert prediction.top == alone.top
        assert prediction.value == pytest.approx(alone.value, abs=1e-10)


def test_inputs_of_other_lengths_stand_in_their_order() -> None:
    explainer = Explainer(gpt2())
    many = [{"input_ids": ids(count)} for count in (3, 5, 3, 4)]
    options = {"answer": 7, "reference": "mean", "on": [1, 2]}
    together = list(explainer.explain_predictions(many, batch_size=2, **options))
    assert [len(prediction.tokens) for prediction in together] == [3, 5, 3, 4]
    for prediction in together:
        assert float(prediction.by_depth.sum(-1).sub(prediction.change).abs().max()) < 2e-3 * prediction.scale


def test_one_text_and_a_wrong_batch_size_are_refused() -> None:
    explainer = Explainer(gpt2())
    with pytest.raises(LigflowError, match="Several inputs"):
        explainer.explain_predictions({"input_ids": ids(3)})
    with pytest.raises(LigflowError, match="batch_size is 0"):
        explainer.explain_predictions([{"input_ids": ids(3)}], batch_size=0)


@pytest.mark.filterwarnings("ignore::ligflow.errors.CompletenessWarning")
def test_an_input_that_goes_through_the_chain_once_more_goes_alone(monkeypatch) -> None:
    explainer, rows = Explainer(llama()), []
    own = chain_module._once

    def once(graph, change, *rest):
        rows.append(len(change))
        return own(graph, change, *rest)

    monkeypatch.setattr(chain_module, "_once", once)
    monkeypatch.setattr(chain_module, "_out_of_reach", lambda result: torch.zeros(len(result.error)))
    generator = torch.Generator().manual_seed(3)
    many = [{"input_ids": torch.randint(3, 61, (1, 5), generator=generator)} for _ in range(6)]
    options = {"answer": 7, "on": [1, 2, 3, 4], "reference": REFERENCE, "max_points": 7}
    together = list(explainer.explain_predictions(many, **options))
    assert rows == [6, 2]
    for inputs, prediction in zip(many, together, strict=True):
        alone = explainer.explain_prediction(inputs, **options)
        assert torch.allclose(prediction.by_depth, alone.by_depth, atol=1e-10, rtol=1e-9)
        assert torch.allclose(prediction.error, alone.error, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("how", [{"attention": "held"}, {"cut": "model"}])
def test_what_is_held_is_each_input_s_own(how) -> None:
    explainer = Explainer(gpt2())
    many = [{"input_ids": torch.tensor([[9, number, 5, 3]])} for number in (11, 40)]
    options = {"answer": 7, "on": [1, 2], "reference": REFERENCE[:4], "points": 7, "edges": ()} | how
    together = explainer.explain_predictions(many, **options)
    for inputs, prediction in zip(many, together, strict=True):
        alone = explainer.explain_prediction(inputs, **options)
        assert prediction.reference_value == pytest.approx(alone.reference_value, abs=1e-12)
        assert torch.allclose(prediction.by_depth, alone.by_depth, atol=1e-10, rtol=1e-9)


def test_progress_counts_inputs_of_all_and_of_an_unknown_number() -> None:
    explainer, said = Explainer(gpt2()), list[tuple[int, int]]()
    many = [{"input_ids": ids(3)}] * 3
    options = {"answer": 7, "on": [1, 2], "reference": REFERENCE[:3], "points": 7, "edges": ()}
    for inputs, count in ((many, 3), (iter(many), 0)):
        said.clear()
        list(explainer.explain_predictions(inputs, progress=lambda *both: said.append(both), **options))
        assert said == [(1, count), (2, count), (3, count)]


def test_points_that_were_asked_for_are_not_said_to_be_limited() -> None:
    options = {"answer": 7, "on": [1, 2], "reference": REFERENCE[:3], "edges": ()}
    with pytest.warns(CompletenessWarning, match=r"3 points\).* Give more points or leave them out, choose"):
        Explainer(gpt2()).explain_prediction({"input_ids": ids(3)}, points=3, **options)
