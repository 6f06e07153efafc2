"""A map under settings: directions fitted to targets, starts computed once, jumps where experts choose."""

from dataclasses import replace

import pytest
import torch

from families import layer_of
from ligflow import LigflowError, direction
from ligflow.method.baselines import Itb, Zero
from ligflow.paths.batch import alone
from ligflow.routes.explain_map import explain_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.routes.z2z import z2z_from
from ligflow.settings import Settings, ask

SETTINGS = ask(quadrature="gauss-legendre:8")


def towards(vector: torch.Tensor) -> Settings:
    return ask(quadrature="gauss-legendre:8", scalarization=direction(vector))


def test_a_direction_of_each_token_is_that_of_the_target() -> None:
    for _, layer, _ in layer_of("bert"):
        work = Workspace(alone(layer), (Selection(torch.arange(6), torch.tensor([1, 4])),))
        vectors = torch.randn(6, 32, generator=torch.Generator().manual_seed(2)).double()
        rows = explain_map(z2z_from(work, Itb()), towards(vectors), work, "z2z")
        for row, target in enumerate((1, 4)):
            alone_ = explain_map(z2z_from(work, Itb()), towards(vectors[target]), work, "z2z")
            torch.testing.assert_close(rows.value[row], alone_.value[row])
        later = explain_map(z2z_from(work, Itb()), towards(vectors), work, "z2z", rows=torch.tensor([1]))
        torch.testing.assert_close(later.value[0], rows.value[1])


def test_a_direction_of_each_head_is_that_of_the_scalar() -> None:
    for _, layer, place in layer_of("bert"):
        work = Workspace(alone(layer), (place,))
        vectors = torch.randn(4, 8, generator=torch.Generator().manual_seed(2)).double()
        rows = explain_map(z2u_from(work, Itb()), towards(vectors), work, "z2u")
        alone_ = explain_map(z2u_from(work, Itb()), towards(vectors[3]), work, "z2u")
        torch.testing.assert_close(rows.value[:, 3], alone_.value[:, 3])


def test_a_direction_of_another_size_is_refused_with_those_that_fit() -> None:
    for _, layer, place in layer_of("bert"):
        work = Workspace(alone(layer), (place,))
        with pytest.raises(LigflowError, match=r"direction for z2z has shape \(7,\).*\[\(32,\), \(6, 32\)\]"):
            explain_map(z2z_from(work, Itb()), towards(torch.ones(7)), work, "z2z")
        with pytest.raises(LigflowError, match=r"\[\(8,\), \(4, 8\), \(6, 4, 8\)\]"):
            explain_map(z2u_from(work, Itb()), towards(torch.ones(32)), work, "z2u")


def test_maps_with_one_start_compute_it_once() -> None:
    for _, layer, place in layer_of("bert"):
        work, starts = Workspace(alone(layer), (place,)), []
        path_map = z2z_from(work, Zero())

        def image(nodes: torch.Tensor, rows: torch.Tensor, own=path_map.image, into=starts) -> torch.Tensor:
            into.extend(node for node in nodes.tolist() if node == 0)
            return own(nodes, rows)

        counted = replace(path_map, image=image)
        first = explain_map(counted, SETTINGS, work, "z2z", start="zero")
        second = explain_map(counted, SETTINGS, work, "z2z", start="zero")
        assert len(starts) == 1
        assert torch.equal(first.value, second.value)
        assert first.jump is None  # no token chooses experts
