"""Objects by their names, by a tensor, or a caller's own; and what is none of these."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch

from ligflow import LigflowError, names
from ligflow.method import from_names
from ligflow.method.baselines import CheckedBaseline, EncoderVector, Itb, Vectors, Zero
from ligflow.method.head_baselines import CheckedHeads, HeadVectors, ZeroHeads
from ligflow.method.quadrature import Adaptive, CheckedQuadrature, Fixed
from ligflow.method.scalarization import L2, CheckedScalarization, direction

FAMILIES: list[tuple[Callable[[Any], Any], Any]] = [
    (from_names.att_baseline, names.AttBaseline), (from_names.mlp_baseline, names.MlpBaseline),
    (from_names.layer_baseline, names.LayerBaseline), (from_names.encoder_baseline, names.EncoderBaseline),
    (from_names.scalarization, names.Scalarization),
]  # fmt: skip


class Own:
    """What a caller's own needs, for every family."""

    name = "own"

    def start(self) -> None: ...

    def value(self) -> None: ...

    def cotangent(self) -> None: ...

    def integrate(self) -> None: ...


def named(name: str) -> Own:
    own = Own()
    own.name = name
    return own


@pytest.mark.parametrize(("resolve", "known"), FAMILIES)
def test_every_name_that_is_typed_has_an_object_of_that_name(
    resolve: Callable[[Any], Any], known: Any
) -> None:
    for name in get_args(known):
        assert resolve(name).name == name
    with pytest.raises(LigflowError, match=f"'no such'; choose from {', '.join(get_args(known))}"):
        resolve("no such")


def test_one_word_means_another_object_in_another_family() -> None:
    assert from_names.att_baseline("zero") == Zero()
    assert from_names.mlp_baseline("zero") == ZeroHeads()
    assert from_names.scalarization("l2") == L2()
    assert from_names.att_baseline(Itb()) == Itb()


def test_tensors_and_arrays_are_baselines() -> None:
    tensor = torch.ones(3)
    resolved = from_names.att_baseline(tensor)
    assert isinstance(resolved, Vectors)
    assert resolved.content is tensor
    assert isinstance(from_names.mlp_baseline(tensor), HeadVectors)
    assert isinstance(from_names.encoder_baseline(tensor), EncoderVector)
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]  # memory that is read backwards
    assert from_names.layer_baseline(array).content.tolist() == [[2, 1, 0], [5, 4, 3]]
    with pytest.raises(LigflowError, match="array of object"):
        from_names.att_baseline(np.array([None, 1]))


def test_a_callers_own_is_wrapped_so_that_its_answers_are_checked() -> None:
    own = Own()
    for resolve, kind in (
        (from_names.att_baseline, CheckedBaseline), (from_names.mlp_baseline, CheckedHeads),
        (from_names.scalarization, CheckedScalarization), (from_names.quadrature, CheckedQuadrature),
    ):  # fmt: skip
        wrapped = resolve(own)
        assert type(wrapped) is kind
        assert wrapped.content is own
    towards = direction([1.0, 2.0])
    assert from_names.scalarization(towards) is towards


@pytest.mark.parametrize("name", ["itb", "l2", "zero", "matched", "adaptive", "fine"])
def test_a_callers_own_may_not_be_called_like_one_of_ligflows(name: str) -> None:
    with pytest.raises(LigflowError, match=f"{name!r}, which would be read as ligflow's"):
        from_names.att_baseline(named(name))


@pytest.mark.parametrize(
    "value",
    [None, 5, Own, named("a\nb"), object(), named("")],
    ids=["none", "number", "class", "two lines", "object", "no name"],
)
def test_what_is_no_baseline_is_told_what_is_needed(value: Any) -> None:
    with pytest.raises(LigflowError, match=r"a name and start\(\)|Give your own another name"):
        from_names.att_baseline(value)


def test_rules_by_name_and_by_number() -> None:
    assert from_names.quadrature("adaptive") == Adaptive()
    assert from_names.quadrature("midpoint:7") == Fixed("midpoint:7")
    assert from_names.quadrature(Fixed("adaptive")) == Adaptive()
    for wrong in ("midpoint:0", "adaptive:3", None, 5):
        with pytest.raises(LigflowError, match="Unknown quadrature"):
            from_names.quadrature(wrong)
