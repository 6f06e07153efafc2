"""Every model type of transformers: built tiny, run, and checked stack by stack.

python tests/sweep/run.py               all types, compared with and written to docs/reference/models.json
python tests/sweep/run.py bert llava    some of them, printed and compared; --write puts them into the record

The exit code is 1 if a stack gets less than the record says.
"""

import argparse
import difflib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs" / "scripts")]
if __name__ == "__main__":  # before torch and transformers read them
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

import torch  # noqa: E402
import transformers  # noqa: E402
from blocks import put  # noqa: E402
from transformers import CONFIG_MAPPING  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]  # noqa: E402

from sweep import record  # noqa: E402
from sweep.page import blocks  # noqa: E402
from sweep.record import Stacks  # noqa: E402
from sweep.verdicts import ByPart, verdict_of  # noqa: E402

RECORD, PAGE = ROOT / "docs" / "reference" / "models.json", ROOT / "docs" / "reference" / "models.md"
PARTIAL = RECORD.with_suffix(".json.part")  # what a run has found so far


class _Run(NamedTuple):
    """The process of one type."""

    process: multiprocessing.process.BaseProcess
    answer: Connection
    start: float


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    if unknown := [name for name in asked.types if name not in CONFIG_MAPPING_NAMES]:
        print("\n".join(map(_unknown, unknown)), file=sys.stderr)
        return 2
    if asked.types and asked.write and record.version(RECORD) != transformers.__version__:
        print(f"the record is of transformers {record.version(RECORD)}; run all types", file=sys.stderr)
        return 2
    before = record.read(RECORD)
    found = record.read(PARTIAL) if asked.resume else {}
    waiting = [name for name in asked.types or sorted(CONFIG_MAPPING_NAMES) if name not in found]
    start = time.monotonic()
    for name, stacks, took in sweep(waiting, asked.processes, asked.limit):
        found[name] = stacks
        _tell(name, stacks, took, f"{len(found)}/{len(asked.types or CONFIG_MAPPING_NAMES)}")
        if not asked.types:
            record.write(PARTIAL, found)
    print(f"{len(found)} types in {time.monotonic() - start:.0f} s: {record.counted(found)}")
    return _compared(before, found, writes=asked.write or not asked.types, accepts=asked.accept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("types", nargs="*", help="model types; all if none is given")
    parser.add_argument("--processes", type=int, default=2, help="types at a time (2)")
    parser.add_argument("--limit", type=float, default=150, help="seconds for one type (150)")
    parser.add_argument(
        "--write", action="store_true", help="put the verdicts on these types into the record"
    )
    parser.add_argument("--accept", action="store_true", help="write although stacks get less than before")
    parser.add_argument("--resume", action="store_true", help="go on where a run of all types was cut off")
    return parser


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, CONFIG_MAPPING_NAMES, n=3)
    return f"no model type {name!r}; near: {', '.join(near) or 'none'}"


def _tell(name: str, stacks: Stacks, took: float, count: str) -> None:
    for stack, one in stacks.items():
        print(f"{count} {took:5.1f} s  {name}  {stack}  {one['verdict']}  {one['why']}".rstrip(), flush=True)


def _compared(before: dict[str, Stacks], found: dict[str, Stacks], writes: bool, accepts: bool) -> int:
    """Names what is lost, and else writes the record and its page."""
    lost = record.lost(before, found)
    for line in lost:
        print(f"LOST {line}", file=sys.stderr)
    if lost and not accepts:
        return 1
    if writes:
        merged = {name: (before | found)[name] for name in CONFIG_MAPPING_NAMES if name in before | found}
        record.write(RECORD, merged)
        PARTIAL.unlink(missing_ok=True)
        put(PAGE, blocks(merged, record.version(RECORD)))
    return 0


def sweep(types: Iterable[str], processes: int, limit: float) -> Iterator[tuple[str, Stacks, float]]:
    """The verdicts on each type, each in a process of its own that is ended when its time is over.

    Types with parts come first: what is a part of one is not checked again where it is a type of its own.
    """
    waiting, running = sorted(types, key=_is_alone)[::-1], dict[str, _Run]()
    by_part: ByPart = {}
    while waiting or running:
        while waiting and len(running) < processes:
            name = waiting.pop()
            running[name] = _started(name, by_part)
        wait([run.answer for run in running.values()], timeout=1)
        for name, run in list(running.items()):
            took = time.monotonic() - run.start
            if run.answer.poll() or not run.process.is_alive() or took > limit:
                del running[name]
                stacks, parts = _answer(run, limit)
                by_part |= parts
                yield name, stacks, took


def _is_alone(name: str) -> bool:
    """Whether a type has no part with settings of its own."""
    return not getattr(CONFIG_MAPPING[name], "sub_configs", {})


def _started(name: str, before: ByPart) -> _Run:
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_send, args=(name, before, theirs))
    process.start()
    theirs.close()
    return _Run(process, ours, time.monotonic())


def _send(name: str, before: ByPart, pipe: Connection) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        pipe.send(verdict_of(name, before))


def _answer(run: _Run, limit: float) -> tuple[Stacks, ByPart]:
    """What the process found; it is ended."""
    try:
        found = run.answer.recv() if run.answer.poll() else _none(f"not done in {limit:.0f} seconds")
    except EOFError:
        run.process.join()
        found = _none(f"its process ended with {run.process.exitcode}")
    run.process.kill()
    run.process.join()
    return found


def _none(why: str) -> tuple[Stacks, ByPart]:
    return {"": {"verdict": "not run", "why": why}}, {}


if __name__ == "__main__":
    sys.exit(main())
