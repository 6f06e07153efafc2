"""Quantised weights are explained by what they mean, or refused by name; hooks may make weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from transformers import LlamaModel, PreTrainedModel
from transformers.integrations.finegrained_fp8 import FP8Experts, FP8Linear

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError, UnsupportedModel, attribute_layer
from ligflow.devices.weights import Copies

pytestmark = pytest.mark.usefixtures("no_shape_checks")
TEXT = example(ARCHITECTURES["llama"], 5)
FLOAT8 = torch.float8_e4m3fn
ROUTES = ("z2u", "u2z", "z2z")


def llama(dtype: torch.dtype = torch.float32) -> LlamaModel:
    """Tiny, with weights large enough for their numbers to matter."""
    model = build(ARCHITECTURES["llama"])
    with torch.no_grad():
        for layer in model.layers:
            for part in layer.modules():
                if isinstance(part, nn.Linear):
                    part.weight.mul_(3)
    return model.to(dtype)


def linears(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]


def assert_maps(flow: Flow, right: Flow, note: str | None) -> None:
    assert flow.routes == right.routes == ROUTES
    for route in right.routes:
        limit = 1e-5 * float(right.tensors[route].abs().max())
        torch.testing.assert_close(flow.tensors[route], right.tensors[route], rtol=0, atol=limit)
    assert any(note in one for one in flow.meta["notes"]) if note else not flow.meta["notes"]


def in_blocks(weight: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of 8 bits and a scale for each block, and what both mean, block by block."""
    height, width = weight.shape
    scales = torch.ones(-(-height // rows), -(-width // columns))
    numbers, meant = torch.empty(weight.shape, dtype=FLOAT8), torch.empty(weight.shape)
    for i in range(len(scales)):
        for j in range(scales.shape[1]):
            block = np.s_[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            scales[i, j] = 2.0 ** torch.ceil(torch.log2(weight[block].abs().max() / 448))
            numbers[block] = (weight[block] / scales[i, j]).to(FLOAT8)
            meant[block] = numbers[block].float() * scales[i, j]
    return numbers, scales, meant


def as_fp8(linear: nn.Linear, rows: int, columns: int, form: str = "float") -> tuple[FP8Linear, Tensor]:
    """A linear map as it is loaded from a checkpoint in FP8, and its matrix."""
    numbers, scales, meant = in_blocks(linear.weight.detach(), rows, columns)
    made = FP8Linear(linear.in_features, linear.out_features, block_size=(rows, columns), scale_fmt=form)
    made.weight = nn.Parameter(numbers, requires_grad=False)
    made.weight_scale_inv = nn.Parameter(scales.to(made.weight_scale_inv.dtype), requires_grad=False)
    return made, meant


# --- FP8 of transformers --------------------------------------------------------------------------

FORMS = [(8, 8, "float"), (16, 24, "float"), (128, 128, "float")]
FORMS += [(8, 8, "ue8m0")] if hasattr(torch, "float8_e8m0fnu") else []


@pytest.mark.parametrize(("rows", "columns", "form"), FORMS)
@pytest.mark.parametrize("rest", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_fp8_means_its_numbers_times_their_scales(
    rows: int, columns: int, form: str, rest: torch.dtype
) -> None:
    model, right = llama(rest), llama(rest).float()
    for (name, linear), (_, own) in zip(linears(llama()), linears(right), strict=True):
        made, own.weight.data = as_fp8(linear, rows, columns, form)
        model.set_submodule(name, made)
    flow = Explainer(model).explain(TEXT)
    assert_maps(flow, Explainer(right).explain(TEXT), "float8_e4m3fn with scales, dequantised to float32")
    others = [note for note in flow.meta["notes"] if "integrated in" in note]
    short = ["weights in bfloat16, integrated in a float32 copy"]
    assert others == (short if rest == torch.bfloat16 else [])


def test_fp8_rows_are_those_of_plain_autograd_in_float64() -> None:
    model, right = llama(), llama().double()
    for (name, linear), (_, own) in zip(linears(llama()), linears(right), strict=True):
        made, meant = as_fp8(linear, 8, 8)
        own.weight.data = meant.double()
        model.set_submodule(name, made)
    flow = Explainer(model).explain(TEXT, "z2z", layers=[0], tol=1e-5)
    kept: list[Any] = []
    hook = right.layers[0].register_forward_pre_hook(
        lambda _, args, more: kept.append((args, more)), with_kwargs=True
    )
    with torch.no_grad():
        right(**TEXT, use_cache=False)
    hook.remove()
    ((given, *_), more) = kept[0]
    nodes, weights = np.polynomial.legendre.leggauss(60)
    for target in range(len(flow.tokens)):
        row = row_by_autograd(lambda x: right.layers[0](x[None], **more), given[0], target, nodes, weights)
        torch.testing.assert_close(
            flow.z2z[0, target].double(), row, rtol=1e-3, atol=1e-4 * float(row.abs().max())
        )


def row_by_autograd(
    layer: Callable[[Tensor], Any], z: Tensor, target: int, nodes: np.ndarray, weights: np.ndarray
) -> Tensor:
    """The row of one target, from its own vector at every place, as it is defined."""

    def image(hidden: Tensor) -> Tensor:
        output = layer(hidden)
        return (output if isinstance(output, Tensor) else output[0])[0, target]

    start = z[target].expand_as(z)
    first = image(start).detach()
    row = torch.zeros(len(z), dtype=torch.float64)
    for node, weight in zip(nodes, weights, strict=True):
        hidden = (start + (1 + node) / 2 * (z - start)).requires_grad_()
        (slope,) = torch.autograd.grad((image(hidden) - first).norm(), hidden)
        row += weight / 2 * (slope * (z - start)).sum(-1).detach()
    return row


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_fp8_experts_mean_their_numbers_times_their_scales(implementation: str) -> None:
    model, right = build(ARCHITECTURES["qwen3_moe"]), build(ARCHITECTURES["qwen3_moe"])
    for layer, own in zip(model.layers, right.layers, strict=True):
        plain = layer.mlp.experts
        layer.mlp.experts = made = FP8Experts(model.config, block_size=(8, 8))
        for name in ("gate_up_proj", "down_proj"):
            parts = [in_blocks(expert, 8, 8) for expert in getattr(plain, name).detach()]
            numbers, scales, meant = (torch.stack(one) for one in zip(*parts, strict=True))
            setattr(made, name, nn.Parameter(numbers, requires_grad=False))
            setattr(made, f"{name}_scale_inv", nn.Parameter(scales, requires_grad=False))
            getattr(own.mlp.experts, name).data = meant
    model.config._experts_implementation = implementation
    flow, theirs = (Explainer(one).explain(TEXT, experts="frozen") for one in (model, right))
    assert_maps(flow, theirs, "float8_e4m3fn with scales")
    assert model.config._experts_implementation == implementation


# --- other libraries ------------------------------------------------------------------------------


class Scaled(torch.Tensor):
    """Whole numbers that stand for others, as quantisation libraries keep them."""

    @staticmethod
    def __new__(cls, numbers: Tensor, scale: Tensor) -> "Scaled":
        return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=scale.dtype)

    def __init__(self, numbers: Tensor, scale: Tensor) -> None:
        self.numbers, self.scale = numbers, scale

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].numbers, args[0].scale)
        plain = [one.numbers * one.scale if isinstance(one, Scaled) else one for one in args]
        return func(*plain, **(kwargs or {}))


class Explained(Scaled):
    def dequantize(self) -> Tensor:
        return self.numbers * self.scale


def whole_numbers(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.detach().abs().max() / 127
    return (weight.detach() / scale).round().to(torch.int8), scale


@pytest.mark.parametrize("rest", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_tensor_that_can_dequantise_itself_is_what_it_says(rest: torch.dtype) -> None:
    model, right = llama(rest), llama(rest).float()
    for (_, linear), (_, own) in zip(linears(model), linears(right), strict=True):
        numbers, scale = whole_numbers(linear.weight)
        linear.weight = nn.Parameter(Explained(numbers, scale), requires_grad=False)
        own.weight.data = (numbers * scale).float()
    flow = Explainer(model).explain(TEXT)
    assert_maps(flow, Explainer(right).explain(TEXT), "weights in Explained, dequantised to float32")


def test_a_tensor_of_its_own_rules_that_cannot_is_refused_by_name() -> None:
    model = llama()
    model.layers[1].mlp.up_proj.weight = nn.Parameter(
        Scaled(*whole_numbers(model.layers[1].mlp.up_proj.weight)), requires_grad=False
    )
    with pytest.raises(
        LigflowError, match=r"'layers.1.mlp.up_proj.weight' \(Linear\) are Scaled.*dequantize\(\)"
    ):
        Explainer(model)


def test_a_parameter_with_a_name_of_its_own_alone_is_a_plain_one() -> None:
    class Labelled(nn.Parameter):
        pass

    model, right = llama(torch.bfloat16), llama(torch.bfloat16)
    model.layers[0].mlp.up_proj.weight = Labelled(model.layers[0].mlp.up_proj.weight.data)
    theirs = Explainer(right).explain(TEXT)
    assert_maps(Explainer(model).explain(TEXT), theirs, "weights in bfloat16, integrated in a float32 copy")


def test_numbers_of_8_bits_without_a_known_scale_are_refused_by_name() -> None:
    model = llama()
    weight = model.layers[0].self_attn.q_proj.weight
    model.layers[0].self_attn.q_proj.weight = nn.Parameter(weight.detach().to(FLOAT8), requires_grad=False)
    with pytest.raises(
        LigflowError, match=r"'layers.0.self_attn.q_proj.weight' \(Linear\) are float8_e4m3fn"
    ):
        Explainer(model)


class Packed(nn.Module):
    """A matrix of whole numbers with a scale for each row, unpacked on use."""

    def __init__(self, linear: nn.Linear, gradient: bool = True) -> None:
        super().__init__()
        self.register_buffer("qweight", whole_numbers(linear.weight)[0])
        self.register_buffer("scales", whole_numbers(linear.weight)[1].repeat(linear.out_features, 1))
        self.gradient = gradient

    def forward(self, given: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.gradient and torch.is_grad_enabled()):
            return functional.linear(given, self.qweight * self.scales.to(given))


def test_packed_weights_run_as_they_are_where_nothing_is_copied() -> None:
    model, right = llama(), llama()
    for layer, own in zip(model.layers, right.layers, strict=True):
        layer.mlp.up_proj = made = Packed(layer.mlp.up_proj)
        own.mlp.up_proj.weight.data = made.qweight * made.scales
    flow, theirs = Explainer(model).explain(TEXT), Explainer(right).explain(TEXT)
    for route in ROUTES:
        torch.testing.assert_close(flow.tensors[route], theirs.tensors[route])
    assert not flow.meta["notes"]
    with pytest.raises(LigflowError, match=r"'layers.0.mlp.up_proj.qweight' are packed.*too short"):
        Explainer(model.bfloat16())


@pytest.mark.parametrize("place", ["mlp.up_proj", "self_attn.k_proj"])
@pytest.mark.parametrize("routes", [ROUTES, ("z2z",)], ids=["all", "z2z"])
def test_a_part_without_gradient_is_a_reason_and_no_zeros(place: str, routes: tuple[str, ...]) -> None:
    model = llama()
    model.layers[1].set_submodule(place, Packed(model.layers[1].get_submodule(place), gradient=False))
    with pytest.raises(
        UnsupportedModel, match=rf"Layer 1 .* no gradient comes back through {place} \(Packed\)"
    ):
        Explainer(model).explain(TEXT, routes=routes)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_linear_maps_that_torch_quantised_are_what_they_say() -> None:
    plain = llama()
    model = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, torch.qint8)
    for name, linear in linears(plain):
        whole = model.get_submodule(name).weight()
        linear.weight.data = (whole.int_repr().float() - whole.q_zero_point()) * whole.q_scale()
    flow = Explainer(model).explain(TEXT)
    assert_maps(flow, Explainer(plain).explain(TEXT), "packed qint8, dequantised to float32; activations")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_hooks_of_a_quantised_map_stay() -> None:
    plain = llama()
    model = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, torch.qint8)
    before = Explainer(model).explain(TEXT)
    model.layers[0].mlp.down_proj.register_forward_hook(lambda _module, _given, made: 0 * made)
    without = Explainer(model).explain(TEXT)
    assert not torch.allclose(before.u2z[0], without.u2z[0])


@pytest.mark.parametrize("rest", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig", "IntxWeightOnlyConfig"])
def test_torchao(config: str, rest: torch.dtype) -> None:
    """8 bits by row, and 4 bits by groups of 16."""
    torchao = pytest.importorskip("torchao.quantization")
    model, right = llama(rest), llama(rest).float()
    of_4_bits = {"weight_dtype": torch.int4, "granularity": torchao.PerGroup(16)}
    torchao.quantize_(model, getattr(torchao, config)(**(of_4_bits if "Intx" in config else {})))
    for (_, linear), (_, own) in zip(linears(model), linears(right), strict=True):
        numbers, scale = linear.weight.qdata.float(), linear.weight.scale.float()
        meant = numbers * scale.repeat_interleave(numbers.shape[1] // scale.shape[1], 1)
        own.weight.data = meant.to(rest).float() if "Intx" in config else meant  # it rounds to its own type
    assert_maps(Explainer(model).explain(TEXT), Explainer(right).explain(TEXT), "dequantised to float32")


@pytest.mark.parametrize("rest", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_quanto(rest: torch.dtype) -> None:
    quanto = pytest.importorskip("optimum.quanto")
    model, right = llama(rest), llama(rest).float()
    quanto.quantize(model, weights=quanto.qint8)
    quanto.freeze(model)
    for (_, linear), (_, own) in zip(linears(model), linears(right), strict=True):
        own.weight.data = (linear.weight._data * linear.weight._scale).float()
    assert_maps(Explainer(model).explain(TEXT), Explainer(right).explain(TEXT), "dequantised to float32")


def quantised() -> PreTrainedModel:
    model = llama()
    linear = model.layers[0].mlp.up_proj
    linear.weight = nn.Parameter(Explained(*whole_numbers(linear.weight)), requires_grad=False)
    return model


def in_fp8() -> PreTrainedModel:
    model = llama()
    for name, linear in linears(llama()):
        model.set_submodule(name, as_fp8(linear, 8, 8)[0])
    return model


@pytest.mark.parametrize("make", [quantised, in_fp8])
def test_layers_are_dequantised_as_they_come_to_a_device(
    make: Callable[[], PreTrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time, or from files; to the last bit what the whole model dequantised gives."""
    right = Explainer(make()).explain(TEXT)
    alive, most = set[int](), [0]
    put_in, put_back = Copies.put_in, Copies.put_back

    def counted(copies: Copies) -> None:
        alive.add(id(copies))
        most[0] = max(most[0], len(alive))
        put_in(copies)

    def gone(copies: Copies) -> None:
        alive.discard(id(copies))
        put_back(copies)

    monkeypatch.setattr(Copies, "put_in", counted)
    monkeypatch.setattr(Copies, "put_back", gone)
    model = make()
    for more in ({}, {"offload_folder": tmp_path}):
        flow = Explainer(model, device="cpu", streamed=True, **more).explain(TEXT)
        for route in ROUTES:
            assert torch.equal(flow.tensors[route], right.tensors[route])
        assert flow.meta["notes"] == right.meta["notes"]
    assert most[0] <= 2  # a layer, and what stands outside the layers


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_modules_that_another_stands_for_and_experts_are_not_streamed() -> None:
    packed = torch.ao.quantization.quantize_dynamic(llama(), {nn.Linear}, torch.qint8)
    mixture = build(ARCHITECTURES["qwen3_moe"])
    for layer in mixture.layers:
        layer.mlp.experts = FP8Experts(mixture.config, block_size=(8, 8))
        for name in ("gate_up_proj", "down_proj", "gate_up_proj_scale_inv", "down_proj_scale_inv"):
            getattr(layer.mlp.experts, name).data.fill_(1)
    for model, kind in ((packed, "packed qint8"), (mixture, "float8_e4m3fn with scales")):
        with pytest.raises(
            LigflowError, match=f"weights in {kind} cannot be streamed; load the model unquantised"
        ):
            Explainer(model, device="cpu", streamed=True)


def test_a_quantised_layer_alone_has_the_maps_of_its_model() -> None:
    model = quantised()
    layer = Explainer(model).prepared.record(TEXT)[0]
    flow = attribute_layer(model.layers[0], layer.hidden, **layer.arguments)
    torch.testing.assert_close(flow.z2z, Explainer(model).explain(TEXT, layers=[0]).z2z, rtol=1e-4, atol=1e-6)
    assert "weights in Explained, dequantised" in flow.meta["notes"][0]


# --- weights that hooks make ----------------------------------------------------------------------


def pruned(linear: nn.Linear) -> Tensor:
    prune.l1_unstructured(linear, "weight", amount=0.3)
    return linear.weight_orig.float() * linear.weight_mask.float()


def normed(linear: nn.Linear) -> Tensor:
    size, direction = parametrizations.weight_norm(linear).parametrizations.weight.parameters()
    return size.float() * direction.float() / direction.float().norm(dim=1, keepdim=True)


@pytest.mark.parametrize("change", [pruned, normed])
@pytest.mark.parametrize("rest", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_weights_that_hooks_make_are_made_in_a_copy_too(
    change: Callable[[nn.Linear], Tensor], rest: torch.dtype
) -> None:
    model, right = llama(rest), llama(rest).float()
    for place in ("layers.0.mlp.up_proj", "layers.1.self_attn.k_proj"):
        right.get_submodule(place).weight.data = change(model.get_submodule(place)).detach()
    flow = Explainer(model, device="cpu").explain(TEXT)
    note = "weights in bfloat16, integrated in a float32 copy" if rest == torch.bfloat16 else None
    assert_maps(flow, Explainer(right).explain(TEXT), note)
