"""Blocks and budgets: cuts leave results alone, too little is refused with what would do."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError, MemoryWarning
from ligflow.devices.blocks import default_budget, in_blocks

NODES, ROWS = torch.linspace(0, 1, 5), torch.arange(7)


def outer(nodes: Tensor, rows: Tensor) -> Tensor:
    return (nodes[:, None] + 10 * rows)[..., None, None]


@pytest.mark.parametrize("pairs", [1, 3, 7, 14, 100])
def test_blocks_are_put_together_again(pairs: int) -> None:
    seen: list[int] = []

    def compute(nodes: Tensor, rows: Tensor) -> Tensor:
        seen.append(len(nodes) * len(rows))
        return outer(nodes, rows)

    torch.testing.assert_close(in_blocks(compute, NODES, ROWS, pairs), outer(NODES, ROWS))
    assert max(seen) <= pairs


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_block_that_does_not_fit_is_halved_and_says_so(error: Exception) -> None:
    def compute(nodes: Tensor, rows: Tensor) -> Tensor:
        if len(nodes) * len(rows) > 3:
            raise error
        return outer(nodes, rows)

    with pytest.warns(MemoryWarning, match="computed in halves"):
        found = in_blocks(compute, NODES, ROWS, 100)
    torch.testing.assert_close(found, outer(NODES, ROWS))


def test_one_pair_that_does_not_fit_is_an_error() -> None:
    def compute(nodes: Tensor, rows: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.warns(MemoryWarning), pytest.raises(LigflowError, match="one target at one point"):
        in_blocks(compute, NODES, ROWS, 100)


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    def compute(nodes: Tensor, rows: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_blocks(compute, NODES, ROWS, 100)


def test_the_default_budget_is_a_part_of_what_is_free() -> None:
    assert 2**24 <= default_budget(torch.device("cpu")) <= 2**30


def same(ours: Flow, theirs: Flow) -> None:
    for route in ours.routes:
        gap = (ours.tensors[route] - theirs.tensors[route]).abs().amax(1 if route == "u2z" else -1)
        scale = theirs.tensors[f"{route}.scale"]
        assert (gap <= 1e-5 * scale.clamp(min=float(scale.max()) / 10)).all()


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("baseline", ["itb", "zero"])
@pytest.mark.parametrize("name", ["bert", "gemma3_text"])
def test_the_budget_does_not_change_a_result(name: str, baseline: str) -> None:
    explainer, inputs = Explainer(build(ARCHITECTURES[name])), example(ARCHITECTURES[name], 5)
    settings = {"att_baseline": baseline, "layer_baseline": baseline, "mlp_baseline": "matched"}
    whole = explainer.explain(inputs, **settings)
    with pytest.raises(LigflowError, match="one target at one point of its path takes") as refused:
        explainer.explain(inputs, memory_budget=1000, **settings)
    least = int(str(refused.value).split(" takes ")[1].split()[0])
    for budget in (least, 2 * least + 7, 10**8):
        same(explainer.explain(inputs, memory_budget=budget, **settings), whole)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("budget", [0, -5, 1.5, "1 GiB", True])
def test_a_budget_is_a_number_of_bytes(budget: object) -> None:
    with pytest.raises(LigflowError, match="whole number of bytes"):
        Explainer(build(ARCHITECTURES["bert"])).explain(example(ARCHITECTURES["bert"]), memory_budget=budget)


LONG = """
import torch
from transformers import GPT2Config, GPT2Model
from ligflow import Explainer
torch.manual_seed(0)
model = GPT2Model(GPT2Config(n_layer=1, vocab_size=1000, bos_token_id=1, eos_token_id=1)).eval()
flow = Explainer(model).explain({"input_ids": torch.randint(3, 1000, (1, 1024))})
assert flow.z2u.shape == (1, 12, 1024, 1024) and not flow.unmet, flow
"""

DEMO = """
from ligflow import Explainer
flow = Explainer.from_pretrained().explain("The old lighthouse keeper counted ships while the storm grew.")
assert flow.z2z.shape[0] == 6 and not flow.unmet, flow
"""


def most_memory(script: str, limit: int) -> int:
    """MiB at the highest point of a process of its own, whose data may take `limit` GiB.

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    limited = f"import resource\nresource.setrlimit(resource.RLIMIT_DATA, ({limit} << 30, {limit} << 30))\n"
    told = "\nprint(*[line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')])"
    done = subprocess.run([sys.executable, "-c", limited + script + told], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout) // 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(("script", "gibibytes"), [(LONG, 4), (DEMO, 2)])
def test_memory_stays_below_what_is_promised(script: str, gibibytes: int) -> None:
    """A thousand tokens in GPT-2's shape, one layer, three routes; the main job on MiniLM."""
    most = most_memory(script, 4)
    print(f"at most {most} MiB for the whole process")
    assert most < gibibytes * 1024
