"""The oracle of hidden units: by hand, at the model's own modules, with the directions of the chain's oracle.

`m` of what an MLP gives comes from the oracle's own chain, through the whole model's forward. What a unit
contributes is `(m . W_i) Δa_i`: of dense MLPs with a as their last module takes it, of experts with gates and
activations computed here from the experts' parameters, expert by expert.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from ligflow.layer.float64 import keep_double
from prediction.oracle import OracleResult, Place, forward, held
from prediction.oracle_families import Family, deepseek_weights, gpt_oss_weights, mixtral_weights

Units = Float[Tensor, "token unit"]
Given = tuple[Units, Float[Tensor, "run token unit"]]  # relevance, and activations in both runs


def runs_at(family: Family, model: Any, place: Place) -> tuple[Tensor, Tensor]:
    """What stands at a place in the real run and in the reference run, by token."""
    program, inputs, score = family.cuts(model), family.inputs(), family.score()
    starts = zip(program.embeddings, family.references(model), strict=True)
    entries = {program.variables[name].entry: start[None].detach() for name, start in starts}
    with keep_double(), held(model, program, inputs), torch.no_grad():
        ends = [forward(model, inputs, score, put, [place])[1][place] for put in ({}, entries)]
    return ends[0].flatten(0, -2), ends[1].flatten(0, -2)


def dense(
    family: Family, model: Any, result: OracleResult, variable: str, module: str, call: int = 0
) -> Given:
    """The units of an MLP whose last module is named, whose output is a variable of the oracle."""
    ends = runs_at(family, model, Place(module, "in", call=call))
    weight = model.get_submodule(module).weight
    rows = weight if type(model.get_submodule(module)).__name__ == "Conv1D" else weight.T
    return contributed(result.directions[variable], rows, *ends)


def contributed(direction: Tensor, weight: Float[Tensor, "unit dim"], real: Units, other: Units) -> Given:
    """`(m . W_i) Δa_i`."""
    return (direction.flatten(0, -2) @ weight.T) * (real - other), torch.stack([real, other])


def experts(family: Family, model: Any, result: OracleResult, variable: str, mlp: str, kind: str) -> Given:
    """The units of all experts, then those of shared ones, then their output biases."""
    ends = runs_at(family, model, Place(mlp, "in"))
    module = model.get_submodule(mlp)
    router = module.router if kind == "gpt_oss" else module.gate
    with keep_double(), torch.no_grad():
        choice = router(ends[0])[2]  # held as in the real run
        every = [_KINDS[kind](module, router, end, choice) for end in ends]
    return contributed(result.directions[variable], every[0][0], every[0][1], every[1][1])


def _all_gates(router: Any, weigh: Callable[..., Tensor], end: Tensor, choice: Tensor) -> Tensor:
    """The gates of all experts, 0 of those that are not chosen."""
    logits = end @ router.weight.T + getattr(router, "bias", torch.zeros(()))
    return torch.zeros_like(logits).scatter(1, choice, weigh(router, logits, choice))


def _swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return silu(gate) * up


def _mixtral(module: Any, router: Any, end: Tensor, choice: Tensor, weigh: Any = mixtral_weights) -> Any:
    gates, own = _all_gates(router, weigh, end, choice), module.experts
    columns = [gates[:, [e]] * _swiglu(end @ own.gate_up_proj[e].T) for e in range(gates.shape[1])]
    return own.down_proj.transpose(1, 2).flatten(0, 1), torch.cat(columns, 1)


def _deepseek(module: Any, router: Any, end: Tensor, choice: Tensor) -> Any:
    rows, columns = _mixtral(module, router, end, choice, deepseek_weights)
    shared = module.shared_experts
    own = silu(end @ shared.gate_proj.weight.T) * (end @ shared.up_proj.weight.T)
    return torch.cat([rows, shared.down_proj.weight.T]), torch.cat([columns, own], 1)


def _gpt_oss(module: Any, router: Any, end: Tensor, choice: Tensor) -> Any:
    gates, own = _all_gates(router, gpt_oss_weights, end, choice), module.experts
    columns = []
    for e in range(gates.shape[1]):
        both = end @ own.gate_up_proj[e] + own.gate_up_proj_bias[e]
        gate, up = both[:, ::2].clamp(max=own.limit), both[:, 1::2].clamp(-own.limit, own.limit)
        columns.append(gates[:, [e]] * (up + 1) * gate * torch.sigmoid(own.alpha * gate))
    rows = torch.cat([own.down_proj.flatten(0, 1), own.down_proj_bias])
    return rows, torch.cat([*columns, gates], 1)


def llama4(family: Family, model: Any, result: OracleResult, variable: str, mlp: str) -> Given:
    """Units of experts, which take their input times a gate, then those of the shared one."""
    ends, module = runs_at(family, model, Place(mlp, "in")), model.get_submodule(mlp)
    shared, own = module.shared_expert, module.experts
    columns = []
    for end in ends:
        logits = end @ module.router.weight.T
        gates = torch.where(logits == logits.amax(-1, keepdim=True), logits.sigmoid(), 0)
        parts = [(gates[:, [e]] * end) @ own.gate_up_proj[e] for e in range(gates.shape[1])]
        parts += [torch.cat([end @ shared.gate_proj.weight.T, end @ shared.up_proj.weight.T], 1)]
        columns.append(torch.cat([_swiglu(part) for part in parts], 1))
    rows = torch.cat([own.down_proj.flatten(0, 1), shared.down_proj.weight.T])
    return contributed(result.directions[variable], rows, *columns)


_KINDS: dict[str, Callable[..., Any]] = {"mixtral": _mixtral, "deepseek_v3": _deepseek, "gpt_oss": _gpt_oss}
