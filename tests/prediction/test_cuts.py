"""What a layer is cut into: the sources and images of its segments, and which have errors by token."""

from ligflow.prediction.graph import graph_of
from prediction.chain_of_family import runs_of_family
from prediction.oracle_families import FAMILIES
from prediction.tiny import ids, llama, runs_of


def cut_of(runs, layer: int) -> list[tuple[str, tuple[str, ...], tuple[str, ...], bool]]:
    segments = graph_of(runs).graph.segments
    return [(s.kind, s.sources, s.images, s.tokenwise) for s in segments if s.layer == layer]


def test_a_layer_with_norms_in_front_is_cut_behind_its_heads_and_before_its_mlp() -> None:
    runs, _ = runs_of(llama(), ids())
    assert cut_of(runs, 1) == [
        ("attention", ("out0",), ("u1",), False),
        ("attention's output", ("u1", "out0"), ("x1",), True),
        ("MLP", ("x1",), ("out1",), True),
    ]


def test_a_layer_whose_branches_stand_side_by_side_is_cut_at_one_level() -> None:
    family = FAMILIES["gpt_neox"]
    [attention, mlp, total] = cut_of(runs_of_family(family, family.built()), 1)
    assert attention == ("attention", ("out0",), ("u1",), False)
    assert mlp == ("MLP", ("out0",), ("a1",), True)
    assert total == ("sum", ("u1", "a1", "out0"), ("out1",), True)


def test_a_norm_behind_a_branch_has_the_branch_before_it_as_a_variable() -> None:
    family = FAMILIES["olmo2"]
    images = [images for _, _, images, _ in cut_of(runs_of_family(family, family.built()), 1)]
    assert images == [("u1",), ("x1",), ("a1",), ("out1",)]
