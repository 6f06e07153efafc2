"""Directions that float32 would lose."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from families import layer_of
from ligflow import Explainer
from ligflow.method.baselines import Itb, Mean, Vectors, Zero
from ligflow.paths.batch import alone
from ligflow.routes.double_precision import attribute_in_double, double_workspace, has_wider, starts_flat
from ligflow.routes.path_map import PathMap
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.settings import ask


def peaked(dtype: torch.dtype) -> Explainer:
    """A head that attends almost to the target alone at both ends of its path, and not on the way."""
    model = build(ARCHITECTURES["bert"], dtype)
    for layer in model.encoder.layer:
        own = layer.attention.self
        with torch.no_grad():
            for part in (own.query, own.key):
                part.weight[:8], part.bias[:8] = 0, 0
                part.weight[:8, :8] = 5 * torch.eye(8, dtype=dtype)
    return Explainer(model)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # of another target, asked for too much
def test_one_head_that_comes_back_is_enough_for_the_finer_numbers() -> None:
    inputs = example(ARCHITECTURES["bert"], 6)
    found = peaked(torch.float32).explain(inputs, routes="z2u", layers=0)
    exact = peaked(torch.float64).explain(inputs, routes="z2u", layers=0, tol=1e-5)
    total = exact.total("z2u")[0, 0, 3]
    assert float(total) == pytest.approx(1.429e-5, rel=1e-3)  # beside 4.3 of other targets
    assert exact.z2u[0, 0, 3].abs().sum() > 2000 * total
    assert found.unmet == []
    assert float(found.total("z2u")[0, 0, 3]) == pytest.approx(float(total), rel=1e-3)
    torch.testing.assert_close(found.z2u[0, 0, 3].double(), exact.z2u[0, 0, 3], rtol=1e-4, atol=1e-8)


def test_only_float32_has_something_wider_and_only_from_a_shared_middle_u_starts_flat() -> None:
    for dtype, wider in ((torch.float32, True), (torch.float64, False)):
        for _, layer, place in layer_of("bert", dtype):
            work = Workspace(alone(layer), (place,))
            assert has_wider(work) is wider
            flat = [
                starts_flat(work, baseline) for baseline in (Mean(), Vectors(torch.zeros(32)), Zero(), Itb())
            ]
            assert flat == [wider, wider, False, False]


def test_the_copy_is_the_layer_in_float64_and_made_once() -> None:
    for _, layer, place in layer_of("llama", torch.float32):
        work = Workspace(alone(layer), (place,))
        double = double_workspace(work)
        assert double is double_workspace(work)
        (copy,) = double.batch.layers
        assert (copy.hidden.dtype, layer.hidden.dtype) == (torch.float64, torch.float32)
        assert next(copy.module.parameters()).dtype == torch.float64
        assert next(layer.module.parameters()).dtype == torch.float32
        end = torch.ones(1, dtype=torch.float32)
        ours, exact = (z2u_from(space, Itb()).image(end, place.targets) for space in (work, double))
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(exact[0], copy.attend(copy.hidden[None])[0])


def test_a_map_is_built_on_the_copy_and_given_for_the_rows_that_are_asked() -> None:
    for _, layer, place in layer_of("bert", torch.float32):
        work, settings = Workspace(alone(layer), (place,)), ask(quadrature="gauss-legendre:12")
        spaces: list[Workspace] = []

        def build(space: Workspace, into: list[Workspace] = spaces) -> PathMap:
            into.append(space)
            return z2u_from(space, Itb())

        whole = attribute_in_double(build, settings, work, "z2u")
        part = attribute_in_double(build, settings, work, "z2u", torch.tensor([4, 1]))
        assert all(space is double_workspace(work) for space in spaces)
        assert whole.value.dtype == torch.float64
        torch.testing.assert_close(part.value, whole.value[[4, 1]])
