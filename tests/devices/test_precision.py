"""Float32 products are exact inside, whatever the process has set, and it gets its settings back."""

import pytest
import torch

from ligflow.devices.precision import check_precision, exact_mode, products_in
from ligflow.errors import LigflowError

CPU = torch.device("cpu")


def test_products_are_exact_in_a_process_that_rounds() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(64, 64, generator=generator) for _ in range(2))
    exact, before = a.double() @ b.double(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with products_in("float32"):
            assert torch.get_float32_matmul_precision() == "highest"
            error = float((a @ b - exact).abs().max())
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert error < 1e-4  # with 10 bits it is 2e-2


def test_the_strictest_of_several_holds_until_it_ends() -> None:
    before = torch.get_float32_matmul_precision()
    with products_in("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
        with products_in("float32"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def test_inference_mode_and_autocast_of_the_caller_end_inside() -> None:
    x = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with exact_mode(CPU):
            assert (x @ x).dtype == torch.float32
    with torch.inference_mode(), exact_mode(CPU), torch.enable_grad():
        assert torch.autograd.grad((x @ x).sum(), x)[0].tolist() == [[4, 4], [4, 4]]


def test_a_precision_is_one_that_all_devices_have() -> None:
    check_precision("float32", [CPU])
    check_precision("tf32", [torch.device("cuda:0")])
    for devices in ([CPU], [CPU, torch.device("cuda:0")]):
        with pytest.raises(LigflowError, match="'tf32' is not available on cpu"):
            check_precision("tf32", devices)
