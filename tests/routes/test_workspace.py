"""What settings share of the work, and what they do not."""

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from encoder_decoders import explainer_of, inputs_of
from ligflow import Explainer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Itb, Mean, Vectors, Zero
from ligflow.paths.batch import together
from ligflow.routes.workspace import Selection, Workspace, key_of_settings
from ligflow.settings import ask

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("routes", [("u2z",), ("z2z",), ("u2z", "z2z")])
def test_starts_of_the_encoder_are_told_apart_where_settings_share_a_computation(
    name: str, routes: tuple[str, ...]
) -> None:
    explainer, inputs = explainer_of(name), inputs_of(name, 3, 0, torch.float32)
    own = torch.linspace(-1, 1, explainer.prepared.record(inputs)[0].encoded.shape[1])
    starts: list[str | Tensor] = ["mean", "zero", own, "mean"]
    base = {"routes": routes, "mlp_baseline": "matched", "quadrature": "gauss-legendre:5", "tol": 0.9}
    variants = [base | {"encoder_baseline": start} for start in starts]
    together = explainer.explain_under(inputs, variants)
    alone = [explainer.explain(inputs, **variant) for variant in variants]
    for route in routes:
        first, second, *_ = (flow.total(route) for flow in alone)
        assert (first - second).abs().max() > 0.1
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours.total(route), theirs.total(route), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(ours.tensors[route], theirs.tensors[route], rtol=1e-4, atol=1e-5)


def test_a_selection_names_the_sources_that_are_no_padding() -> None:
    selection = Selection(torch.tensor([0, 1, 3]), torch.tensor([1]), torch.tensor([0, 2]))
    assert selection.sources("z2u", 5).tolist() == [0, 1, 3]
    assert selection.sources("e2u", 5).tolist() == [0, 2]
    assert selection.sources("z2z", 5).tolist() == [0, 1, 3, 5, 7]
    alone_ = Selection(selection.visible, selection.targets).on(torch.device("cpu"))
    assert (alone_.memory, alone_.sources("z2z", 5).tolist()) == (None, [0, 1, 3])


def test_rows_of_several_sentences_and_what_is_computed_once() -> None:
    engine = Explainer(build(ARCHITECTURES["bert"])).prepared
    layers = [engine.record(example(ARCHITECTURES["bert"], length))[0] for length in (3, 5)]
    targets = (torch.tensor([2]), torch.tensor([0, 4]))
    selections = tuple(
        Selection(torch.arange(length), chosen) for length, chosen in zip((3, 5), targets, strict=True)
    )
    work = Workspace(together(layers), selections)
    assert (work.rows.tolist(), work.owner.tolist()) == ([2, 5, 9], [0, 1, 1])
    calls: list[int] = []
    assert [work.once("key", lambda: calls.append(1) or 7) for _ in range(2)] == [7, 7]
    assert calls == [1]
    with prepared(layers[0].module, layers[0].implementation):
        assert work.path(Itb()) is work.path(Itb())
    mean, first = work.start(Mean()), layers[0].hidden.mean(0)
    torch.testing.assert_close(mean.vectors[:3], first.expand(3, -1))
    torch.testing.assert_close(mean.vectors[5:], layers[1].hidden.mean(0).expand(5, -1))
    assert work.cross(Mean()) is None


def test_settings_that_differ_in_anything_have_keys_of_their_own() -> None:
    vector = torch.ones(4)
    variants = [
        ask(), ask(tol=1e-4), ask(max_nodes=40), ask(quadrature="captum:8"),
        ask(scalarization={"z2u": "projection"}),
    ]  # fmt: skip
    keys = {
        key_of_settings(settings, "z2u", baseline)
        for settings in variants
        for baseline in (Itb(), Vectors(vector))
    }
    assert len(keys) == 10
    assert Vectors(vector) == Vectors(vector)
    assert Vectors(vector) != Vectors(vector.clone())
    assert Zero() == Zero()
