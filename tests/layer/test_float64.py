"""Float64 stays float64 where model code rounds to float32, and it is known which models compute in it."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES, build, example
from ligflow.layer.arguments import snapshot
from ligflow.layer.float64 import keep_double, keeping, real_type, real_type_of, to_double

THIRD = torch.tensor([1 / 3], dtype=torch.float64)


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x.float(),
        lambda x: x.to(torch.float32),
        lambda x: x.type(torch.float32),
        lambda x: x.to(dtype=torch.float32),
        lambda x: x.to(device="cpu", dtype=torch.float32),
    ],
)
def test_casts_to_float32_leave_float64_alone(cast: object) -> None:
    assert callable(cast)
    assert cast(THIRD).dtype == torch.float32
    with keep_double():
        assert torch.equal(cast(THIRD), THIRD)
        assert cast(THIRD.to(torch.float16)).dtype == torch.float32  # half precision is widened as ever


def test_a_softmax_in_float32_is_one_in_float64() -> None:
    scores = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    with keep_double():
        found = nn.functional.softmax(scores, dim=-1, dtype=torch.float32)
    torch.testing.assert_close(found, scores.softmax(-1), rtol=0, atol=1e-16)


def test_a_product_with_float32_factors_is_one_of_float64() -> None:
    with keep_double():
        product = torch.tensor([[1.0, 2.0]]) @ torch.full((2, 1), 1 / 3, dtype=torch.float64)
    assert product.item() == pytest.approx(1, abs=1e-15)


def test_real_numbers_of_nested_arguments_are_cast() -> None:
    arguments = {"mask": torch.ones(2), "positions": (torch.arange(2), torch.zeros(1)), "flag": True}
    cast = snapshot(arguments, to_double)
    assert (cast["mask"].dtype, cast["positions"][1].dtype) == (torch.float64, torch.float64)
    assert (cast["positions"][0].dtype, cast["flag"]) == (torch.int64, True)
    assert arguments["mask"].dtype == torch.float32


def test_a_model_computes_in_the_type_of_its_first_weights() -> None:
    kinds = torch.float64, torch.float32, torch.bfloat16, torch.float16
    assert [real_type(kind) for kind in kinds] == [torch.float64, *[torch.float32] * 3]
    assert real_type_of(nn.Linear(2, 2).double()) == torch.float64
    assert real_type_of(nn.Linear(2, 2).half()) == torch.float32
    assert real_type_of(nn.Identity()) == torch.float32
    assert isinstance(keeping(torch.float64), keep_double)
    assert isinstance(keeping(torch.float32), nullcontext)


def test_a_model_rounds_by_itself_and_not_inside() -> None:
    model, inputs = build(ARCHITECTURES["llama"], torch.float64), example(ARCHITECTURES["llama"], 4)
    with torch.no_grad():
        rounded = model(**inputs).last_hidden_state
        with keep_double():
            exact = model(**inputs).last_hidden_state
    assert 1e-10 < float((rounded - exact).abs().max()) < 1e-4
