"""A random sample of mutants of the numerical modules, against their fast tests. Run: make mutants

    python tests/mutants.py [COUNT] [SEED]

mutmut (see `tool.mutmut` in pyproject.toml) makes the mutants; each is run in a fork of one process that
has torch loaded, on the tests that reach its function. Prints the share that is killed, with its 95%
interval, and what survives; docs/explanation/mutants.md says why those of the recorded sample do. It can be
interrupted and goes on; after a change of code or tests remove the folder `mutants`.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from scipy.stats import binomtest

MUTMUT = Path(sys.executable).with_name("mutmut")
FIRST = "ligflow.method.composition.x_product__mutmut_1"


def results() -> dict[str, int | None]:
    """Exit codes of the tests by mutant: 1 where they failed, 0 where they passed, None where not run."""
    files = sorted(Path("mutants/src/ligflow").rglob("*.meta"))
    found = [json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"] for file in files]
    return {name: code for one in found for name, code in one.items()}


def run(*names: str) -> None:
    if names:
        subprocess.run([MUTMUT, "run", "--max-children", "1", *names], check=True, stdout=subprocess.DEVNULL)


def main(count: int = 200, seed: int = 0) -> None:
    run(FIRST)  # makes all mutants, and finds out which tests reach what
    everything = sorted(results())
    sample = sorted(random.Random(seed).sample(everything, min(count, len(everything))))
    codes = results()
    run(*[name for name in sample if codes[name] is None])
    codes = results()
    killed = [name for name in sample if codes[name] not in (0, 33, None)]  # 33: no test reaches it
    interval = binomtest(len(killed), len(sample)).proportion_ci(method="wilson")
    share = f"{len(killed) / len(sample):.1%}, 95% interval {interval.low:.1%} to {interval.high:.1%}"
    print(f"{len(everything)} mutants, {len(sample)} with seed {seed}, {len(killed)} killed: {share}")
    modules, alive = (Counter(name.split(".")[1] for name in names) for names in (sample, killed))
    for module, of in sorted(modules.items()):
        print(f"  {module}: {alive[module]} of {of}")
    for name in sorted({*sample} - {*killed}):
        print(f"{name}{' (no test reaches it)' if codes[name] == 33 else ''}")
        shown = subprocess.run([MUTMUT, "show", name], capture_output=True, text=True, check=True).stdout
        print(
            "\n".join(
                line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
            )
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
