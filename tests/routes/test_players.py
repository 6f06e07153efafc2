"""Where the players of u2z start and end."""

import pytest
import torch

from families import layer_of
from ligflow import LigflowError
from ligflow.method.baselines import Itb
from ligflow.paths.batch import alone
from ligflow.routes.players import players_of, u_end, u_ends
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.settings import ask


def test_u_at_the_start_is_attention_over_copies_of_the_target() -> None:
    for _, layer, place in layer_of("llama"):
        work = Workspace(alone(layer), (place,))
        found = u_ends(work, Itb())[0]
        for target in range(6):
            copies = layer.hidden[target].expand(1, 6, -1)
            torch.testing.assert_close(found[target], layer.attend(copies)[0, target])
        end = z2u_from(work, Itb()).image(torch.ones(1, dtype=torch.float64), place.targets)[0]
        torch.testing.assert_close(end, u_end(layer))


def test_players_start_where_the_settings_say() -> None:
    """The residual moves only from a start that all targets share."""
    for _, layer, place in layer_of("bert"):
        work, end = Workspace(alone(layer), (place,)), u_end(layer)
        own = torch.linspace(-1, 1, 32, dtype=torch.float64).reshape(4, 8)
        shared = players_of(work, ask(mlp_baseline="matched", att_baseline="mean"))
        assert shared.residual_start is not None
        torch.testing.assert_close(shared.residual_start, layer.hidden.mean(0).expand(6, -1))
        mean = layer.attend(layer.hidden.mean(0).expand(1, 6, -1))[0]
        torch.testing.assert_close(shared.start, mean)
        for baseline, start in (
            ("zero", torch.zeros_like(end)),
            ("att_itb_a0", u_ends(work, Itb())[0]),
            (own, own.expand(6, -1, -1)),
        ):
            players = players_of(work, ask(mlp_baseline=baseline))
            torch.testing.assert_close(players.start, start)
            torch.testing.assert_close(players.end, end)
            assert players.residual_start is None


def test_context_vectors_that_do_not_fit_are_refused_with_the_shapes_that_do() -> None:
    for _, layer, place in layer_of("bert"):
        work = Workspace(alone(layer), (place,))
        for vectors in (torch.zeros(8), torch.full((4, 8), torch.nan)):
            with pytest.raises(LigflowError, match=r"of shape \(6, 4, 8\) or \(4, 8\) \(tokens, heads"):
                players_of(work, ask(mlp_baseline=vectors))
