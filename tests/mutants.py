"""A random sample of mutants of the numerical modules, against their fast tests. Run: make mutants

    python tests/mutants.py [COUNT] [SEED] [PACKAGE]

mutmut (see `tool.mutmut` in pyproject.toml) makes the mutants. Each is run in a fork of one process that has
torch loaded: on the test file that mirrors its module, and if that passes, on all tests of its package.
Prints the share that is noticed, with its 95% interval, and what survives; `PACKAGE`, such as `method`, draws
from that package alone. docs/explanation/mutants.md says why those of the recorded sample do. It can be
interrupted and goes on; after a change of code or tests remove the folder `mutants`.
"""

import json
import os
import random
import resource
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from scipy.stats import binomtest

MUTMUT = Path(sys.executable).with_name("mutmut")
FOLDER = Path("mutants")
KEPT = FOLDER / "noticed.json"
MAKE = "import mutmut.__main__ as m; m.copy_src_dir(); m.copy_also_copy_files(); m.create_mutants(1)"
OPTIONS = [
    "-x",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "-m",
    "not slow",
]
SECONDS = 600  # of CPU: a mutant that runs longer never ends
NO_TESTS = 5  # what pytest exits with where it finds none


def names() -> list[str]:
    """All mutants, such as `ligflow.method.composition.x_product__mutmut_1`."""
    files = sorted(FOLDER.glob("src/ligflow/**/*.meta"))
    return sorted(name for file in files for name in json.loads(file.read_text())["exit_code_by_key"])


def module_of(name: str) -> str:
    """`method.composition` of such a name."""
    return ".".join(name.split(".")[1:3])


def tests_of(name: str) -> tuple[str, str]:
    """The test file that mirrors a mutant's module, and the tests of its package."""
    package, module = module_of(name).split(".")
    return f"tests/{package}/test_{module}.py", f"tests/{package}"


def passes(name: str, tests: str) -> bool:
    """Whether tests pass with a mutant (none: `""`), in a fork of this process."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        os.chdir(FOLDER)
        os.environ["MUTANT_UNDER_TEST"] = name
        sys.path[:0] = [str(Path.cwd() / "src"), str(Path.cwd() / "tests")]
        code = pytest.main([*OPTIONS, tests])
        os._exit(0 if code == NO_TESTS else int(code))
    return os.waitpid(child, 0)[1] == 0


@cache
def sound(tests: str) -> str:
    """The same tests, which pass without a mutant."""
    assert passes("", tests), f"{tests} fails as it is."
    return tests


def noticed(sample: list[str]) -> dict[str, bool]:
    """Whether a test notices each mutant; kept as it goes."""
    kept: dict[str, dict[str, bool]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for stage in (0, 1):  # all on their own file, then those that are left on their package
        for name in sample:
            passed, tests = kept.setdefault(name, {}), tests_of(name)[stage]
            if tests not in passed and all(passed.values()):
                passed[tests] = passes(name, sound(tests))
                KEPT.write_text(json.dumps(kept, indent=1))
    return {name: not all(kept[name].values()) for name in sample}


def changed(name: str) -> str:
    """The lines that a mutant changes."""
    shown = subprocess.run([MUTMUT, "show", name], capture_output=True, text=True, check=True).stdout
    lines = shown.splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def main(count: str = "200", seed: str = "0", package: str = "") -> None:
    FOLDER.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-c", MAKE], check=True, stdout=subprocess.DEVNULL)
    import transformers  # noqa: F401, before the forks

    everything = [name for name in names() if module_of(name).startswith(package)]
    sample = random.Random(int(seed)).sample(everything, min(int(count), len(everything)))
    seen = noticed(sample)
    killed = [name for name in sample if seen[name]]
    interval = binomtest(len(killed), len(sample)).proportion_ci(method="wilson")
    share = f"{len(killed) / len(sample):.1%}, 95% interval {interval.low:.1%} to {interval.high:.1%}"
    print(f"{len(everything)} mutants, {len(sample)} with seed {seed}, {len(killed)} noticed: {share}")
    modules, by_module = Counter(map(module_of, sample)), Counter(map(module_of, killed))
    for module, of in sorted(modules.items()):
        print(f"  {module}: {by_module[module]} of {of}")
    for name in sorted(name for name in sample if not seen[name]):
        print(f"{name}\n{changed(name)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
