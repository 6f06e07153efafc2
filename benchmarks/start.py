"""How long the command and the library take to start, beside PyTorch and transformers.

    python benchmarks/start.py [--repeats 5] [--tiny]

CPU seconds of a fresh process until its work is done, and the most memory that it held (from Linux's /proc).
Each process runs once to warm the disk, then all in turns.
"""

import statistics
import subprocess
import sys

import torch

import measure
from measure import Row, note, number, text

COLUMNS: measure.Columns = {
    "what": text("what"),
    "CPU, s": number("seconds", ".2f"),
    "memory, MB": number("megabytes", ".0f"),
    "over torch and transformers": number("ratio", ".2f"),
}
PEER = "import torch, transformers"
COMMAND = "import sys\nfrom ligflow.cli.main import main\nsys.argv = ['ligflow', {}]\nmain()"
PROGRAMS = {
    PEER: PEER,
    "the same, with models": "import torch; from transformers import AutoModel, PreTrainedModel",
    "import ligflow": "import ligflow",
    "from ligflow import explain": "from ligflow import explain",
    "ligflow --help": COMMAND.format("'--help'"),
    "ligflow explain --help": COMMAND.format("'explain', '--help'"),
    "ligflow --version": COMMAND.format("'--version'"),
    "ligflow explane (a typo)": COMMAND.format("'explane', 'x'"),
}
MEASURED = """
import re, sys, time
try:
    exec(sys.argv[1])
except SystemExit:
    pass
with open("/proc/self/status") as status:
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]
sys.__stderr__.write(f"\\n{time.process_time()} {peak}")
"""


def cost(program: str) -> tuple[float, float]:
    """CPU seconds and MB of a process that runs it."""
    asked = [sys.executable, "-c", MEASURED, program]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    seconds, peak = done.stderr.splitlines()[-1].split()
    return float(seconds), float(peak) / 1000


def main(repeats: measure.Repeats = 5, tiny: measure.Tiny = False, out: measure.Out = None) -> None:
    """Measure the start of commands that need no model, and of the library."""
    programs = {"ligflow --help": PROGRAMS["ligflow --help"]} if tiny else PROGRAMS
    for program in () if tiny else programs.values():
        cost(program)
    taken: dict[str, list[tuple[float, float]]] = {what: [] for what in programs}
    for turn in range(repeats):
        note(f"turn {turn + 1} of {repeats} ...")
        for what, program in programs.items():
            taken[what].append(cost(program))
    rows = [row(what, costs, taken.get(PEER)) for what, costs in taken.items()]
    caption = "Medians, each of a process of its own. Memory is the most that it held."
    settings = {"repeats": repeats, "tiny": tiny}
    measure.report("start", out, measure.machine(torch.device("cpu")), settings, rows, COLUMNS, caption)


def row(what: str, costs: list[tuple[float, float]], peer: list[tuple[float, float]] | None) -> Row:
    seconds, megabytes = (statistics.median(values) for values in zip(*costs, strict=True))
    beside = statistics.median(cpu for cpu, _ in peer) if peer else seconds
    return {"what": what, "seconds": seconds, "megabytes": megabytes, "ratio": seconds / beside}


if __name__ == "__main__":
    measure.run(main)
