"""Blocks and budgets: cuts leave results alone, too little is refused with what would do."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError, MemoryWarning
from ligflow.devices.blocks import default_budget, in_blocks
from ligflow.devices.free_memory import free_on_cpu, left_in_groups

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
    explainer, inputs = Explainer(build(ARCHITECTURES[name])), example(ARCHITECTURES[name], 9)
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


# --- what is free ---------------------------------------------------------------------------------


def group(folder: Path, names: tuple[str, str], limit: str, use: int, cache: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache} 30\n")


def test_each_control_group_above_leaves_less_its_cache_can_be_had(tmp_path: Path) -> None:
    names = "memory.max", "memory.current"
    group(tmp_path / "jobs", names, "1000", 400, "inactive_file")
    group(tmp_path / "jobs" / "mine", names, "max", 300, "inactive_file")
    group(tmp_path / "jobs" / "mine" / "step", names, "500", 100, "inactive_file")
    (tmp_path / "own").write_text("0::/jobs/mine/step\n")
    assert [*left_in_groups(tmp_path, tmp_path / "own")] == [430, 630]


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    names = "memory.limit_in_bytes", "memory.usage_in_bytes"
    group(tmp_path / "memory", names, "800", 100, "total_inactive_file")
    (tmp_path / "own").write_text("5:cpu,cpuacct:/\n4:memory:/docker/not-seen-from-inside\n0::/\n")
    assert [*left_in_groups(tmp_path, tmp_path / "own")] == [730]


def test_without_control_groups_nothing_is_known(tmp_path: Path) -> None:
    assert [*left_in_groups(tmp_path, tmp_path / "own")] == []


def test_the_least_that_is_left_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr("ligflow.devices.free_memory.left_in_groups", lambda *_: iter([500 * 2**20]))
    assert free_on_cpu() == 500 * 2**20
    assert default_budget(torch.device("cpu")) == 125 * 2**20
    if sys.platform == "linux":
        limit = psutil.Process().memory_info().data + 200 * 2**20
        monkeypatch.setattr("psutil.Process.rlimit", lambda *_: (limit, limit))
        assert 64 * 2**20 <= free_on_cpu() <= 220 * 2**20
    monkeypatch.setattr("ligflow.devices.free_memory.left_in_groups", lambda *_: iter([-5]))
    assert free_on_cpu() == 64 * 2**20
