"""A decoder's flow over both sets of sources, worked out on whole numbers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ligflow.results import FlowData
from ligflow.results.joint_sources import over_both

LAYERS, HEADS, CROSS, OWN, MEMORY = 2, 2, 3, 4, 5


def counted(*shape: int, start: int = 0) -> Tensor:
    """Numbers that are all different."""
    return torch.arange(start, start + int(torch.tensor(shape).prod()), dtype=torch.float32).reshape(shape)


def cells(route: str, *shape: int, start: int) -> dict[str, Tensor]:
    parts = ("total", "scale", "residue", "error", "origin")
    known = {f"{route}.{part}": counted(*shape, start=start + 100 * n) for n, part in enumerate(parts)}
    nodes = counted(LAYERS, OWN, start=start).long()
    return {**known, f"{route}.met": torch.ones(shape, dtype=torch.bool), f"{route}.nodes": nodes}


@pytest.fixture
def flow() -> FlowData:
    tensors = {
        "z2u": counted(LAYERS, HEADS, OWN, OWN), "u2z": counted(LAYERS, HEADS, OWN, start=100),
        "u2z_residual": counted(LAYERS, OWN, start=200), "z2z": counted(LAYERS, OWN, OWN, start=300),
        "e2u": counted(LAYERS, CROSS, OWN, MEMORY, start=400),
        "u2z_cross": counted(LAYERS, CROSS, OWN, start=600),
        "z2z_cross": counted(LAYERS, OWN, MEMORY, start=700),
        "z2u.floor": counted(LAYERS, HEADS, start=800), "e2u.floor": counted(LAYERS, CROSS, start=810),
        **cells("z2u", LAYERS, HEADS, OWN, start=1000), **cells("e2u", LAYERS, CROSS, OWN, start=2000),
        **cells("u2z", LAYERS, OWN, start=3000), **cells("z2z", LAYERS, OWN, start=4000),
    }  # fmt: skip
    meta = {
        "memory": list("vwxyz"), "memory_special": [False] * 4 + [True], "notes": ["first"], "model": "tiny",
        "words": [0] * OWN, "word_labels": ["abcd"], "word_places": [0],
    }  # fmt: skip
    return FlowData(list("abcd"), (0, 3), (0, 1, 2, 3), (True, False, False, False), tensors, meta)


def test_the_encoders_tokens_follow_the_layers_own(flow: FlowData) -> None:
    joint = over_both(flow)
    assert joint.tokens == [*"abcd", "e:v", "e:w", "e:x", "e:y", "e:z"]
    assert joint.special == (True, *[False] * 7, True)
    assert (joint.layers, joint.targets, joint.memory) == ((0, 3), (0, 1, 2, 3), [])
    assert joint.routes == ("z2u", "u2z", "z2z")
    assert joint.heads == HEADS + CROSS


def test_each_head_sees_one_of_the_two_sets(flow: FlowData) -> None:
    z2u = over_both(flow).z2u
    assert z2u[:, :HEADS, :, :OWN].equal(flow.z2u)
    assert z2u[:, HEADS:, :, OWN:].equal(flow.e2u)
    assert not z2u[:, :HEADS, :, OWN:].any()
    assert not z2u[:, HEADS:, :, :OWN].any()


def test_maps_totals_and_floors_stand_side_by_side(flow: FlowData) -> None:
    joint = over_both(flow)
    assert joint.z2z.equal(torch.cat([flow.z2z, flow.z2z_cross], dim=-1))
    assert joint.u2z.equal(torch.cat([flow.u2z, flow.u2z_cross], dim=1))
    assert joint.u2z_residual.equal(flow.u2z_residual)
    assert joint.total("z2u").equal(torch.cat([flow.total("z2u"), flow.total("e2u")], dim=1))
    floors = [flow.tensors["z2u.floor"], flow.tensors["e2u.floor"]]
    assert joint.tensors["z2u.floor"].equal(torch.cat(floors, dim=1))
    assert joint.nodes("z2u").equal(flow.nodes("e2u"))  # the larger of both
    assert joint.total("z2z").equal(flow.total("z2z"))


def test_the_composed_map_is_that_of_both_sets(flow: FlowData) -> None:
    joint = over_both(flow)
    for rule in ("conserving", "product"):
        both = torch.cat([flow.composed(rule), flow.composed_cross(rule)], dim=-1)
        torch.testing.assert_close(joint.composed(rule), both, rtol=1e-6, atol=0)


def test_notes_say_what_the_marks_and_the_last_heads_are(flow: FlowData) -> None:
    assert over_both(flow).meta == {
        "model": "tiny",
        "notes": [
            "first",
            "tokens with e: are the encoder's: sources, which no row is about",
            "heads 2 to 4 are those of the second attention, to the encoder",
        ],
    }


def test_a_flow_without_an_encoder_is_returned_as_it_is(flow: FlowData) -> None:
    alone = replace(flow, meta={})
    assert over_both(alone) is alone
