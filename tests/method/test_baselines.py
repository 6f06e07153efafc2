import pytest
import torch

from ligflow import LigflowError
from ligflow.method.baselines import (
    CheckedBaseline,
    EncoderVector,
    Itb,
    Mean,
    Start,
    Vectors,
    Zero,
    own_path,
    source_paths,
)

Z = torch.arange(12, dtype=torch.float64).reshape(4, 3)
VISIBLE = torch.arange(4)


def test_starts() -> None:
    assert Zero().start(Z, VISIBLE).vectors.abs().max() == 0
    assert Mean().start(Z, torch.tensor([0, 1])).vectors.tolist() == [[1.5, 2.5, 3.5]] * 4
    assert Itb().start(Z, VISIBLE).per_target
    given = Vectors(torch.ones(2, 3)).start(Z, torch.tensor([1, 3])).vectors
    assert given.sum(-1).tolist() == [0, 3, 0, 3]


@pytest.mark.parametrize("shape", [(3, 3), (4,), (1, 4, 3)])
def test_a_baseline_of_the_wrong_shape_says_what_fits(shape: tuple[int, ...]) -> None:
    with pytest.raises(LigflowError, match=r"\(4, 3\) or \(3,\)"):
        Vectors(torch.ones(shape)).start(Z, VISIBLE)


def test_a_baseline_with_nan_is_refused() -> None:
    with pytest.raises(LigflowError, match="NaN"):
        Vectors(torch.full((3,), float("nan"))).start(Z, VISIBLE)


def test_paths_begin_at_the_start_and_end_at_z() -> None:
    nodes, targets = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), torch.tensor([2, 0])
    shared, step = source_paths(Zero().start(Z, VISIBLE), Z, nodes, targets)
    assert shared.shape == (3, 4, 3)
    assert torch.equal(shared[1], Z / 2)
    assert torch.equal(step[0], Z)
    itb, step = source_paths(Itb().start(Z, VISIBLE), Z, nodes, targets)
    assert itb.shape == (6, 4, 3)
    assert torch.equal(itb[0], Z[2].expand(4, 3))
    assert torch.equal(itb[5], Z)
    assert torch.equal(step[1], Z - Z[0])
    assert torch.equal(own_path(Itb().start(Z, VISIBLE), Z, nodes, targets)[0], Z[targets])


def test_vectors_lie_at_the_tokens_and_padding_starts_at_0() -> None:
    z, visible = torch.ones(4, 3, dtype=torch.float64), torch.tensor([1, 3])
    shared = Vectors(torch.tensor([1.0, 2.0, 3.0])).start(z, visible)
    assert shared.vectors.tolist() == [[0, 0, 0], [1, 2, 3], [0, 0, 0], [1, 2, 3]]
    own = Vectors(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).start(z, visible)
    assert own.vectors.tolist() == [[0, 0, 0], [1, 2, 3], [0, 0, 0], [4, 5, 6]]
    assert (own.vectors.dtype, own.per_target, Vectors(torch.ones(2, 3)).name) == (
        z.dtype,
        False,
        "tensor[2, 3]",
    )


def test_all_tokens_of_an_encoder_start_at_one_vector() -> None:
    z = torch.ones(2, 3, dtype=torch.float64)
    start = EncoderVector(torch.tensor([1.0, 2.0, 3.0])).start(z, torch.arange(2))
    assert start.vectors.tolist() == [[1, 2, 3], [1, 2, 3]]
    for wrong in (torch.ones(2, 3), torch.ones(2), torch.tensor([1.0, float("inf"), 0.0])):
        with pytest.raises(LigflowError, match="must be one finite vector of size 3"):
            EncoderVector(wrong).start(z, torch.arange(2))


def test_results_of_one_tensor_are_shared_and_those_of_an_equal_one_are_not() -> None:
    vector = torch.ones(3)
    assert Vectors(vector) == Vectors(vector)
    assert hash(Vectors(vector)) == hash(Vectors(vector))
    assert Vectors(vector) != Vectors(vector.clone())
    assert Vectors(vector) != EncoderVector(vector)


class Own:
    """A caller's own baseline, which gives back what it is told to."""

    name = "own"

    def __init__(self, start: object) -> None:
        self.given = start

    def start(self, vectors: torch.Tensor, visible: torch.Tensor) -> object:
        return self.given


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(4, 3), "Tensor; return"),
        (Start(torch.zeros(4, 3), per_target=True), "a start per target, which only 'itb' has"),
        (Start(torch.zeros(4, 2)), r"shape \(4, 2\); it must return finite ones of shape \(4, 3\)"),
        (Start(torch.full((4, 3), float("nan"))), "must return finite ones"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(given: object, said: str) -> None:
    with pytest.raises(LigflowError, match=f"The baseline 'own' returned.*{said}"):
        CheckedBaseline(Own(given)).start(torch.ones(4, 3), torch.arange(4))


def test_a_start_of_ones_own_is_taken_in_the_type_of_the_layer() -> None:
    given = torch.full((4, 3), 0.5, requires_grad=True)
    start = CheckedBaseline(Own(Start(given))).start(torch.ones(4, 3, dtype=torch.float64), torch.arange(4))
    assert (start.vectors.dtype, start.vectors.requires_grad) == (torch.float64, False)
    assert start.vectors.eq(0.5).all()
