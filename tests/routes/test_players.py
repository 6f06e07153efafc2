"""Where the players of u2z start and end."""

import torch

from families import layer_of
from ligflow.paths.batch import alone
from ligflow.routes.players import u_at, u_end
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2u import z2u_from


def test_u_at_the_start_is_attention_over_copies_of_the_target() -> None:
    for _, layer, place in layer_of("llama"):
        work = Workspace(alone(layer), (place,))
        found = u_at(work, "itb", 0.0)
        for target in range(6):
            copies = layer.hidden[target].expand(1, 6, -1)
            torch.testing.assert_close(found[target], layer.attend(copies)[0, target])
        end = z2u_from(work, "itb").image(torch.ones(1, dtype=torch.float64), place.targets)[0]
        torch.testing.assert_close(end, u_end(layer))
