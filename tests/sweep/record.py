"""The recorded verdicts: read, written, counted, and compared with new ones."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

Verdict = dict[str, Any]
Stacks = dict[str, Verdict]  # by the name of the stack; "" where a model has one, or none

VERDICTS = ("passes", "partly", "z2z", "refused", "uncertified", "failed", "not run", "unbuilt")  # more first
_WORTH_KEEPING = VERDICTS[:3]


def read(path: Path) -> dict[str, Stacks]:
    """The verdicts by model type; none where there is no record yet."""
    return json.loads(path.read_text(encoding="utf-8"))["types"] if path.exists() else {}


def version(path: Path) -> str:
    """The version of transformers that the verdicts are of."""
    found: str = json.loads(path.read_text(encoding="utf-8"))["transformers"]
    return found


def write(path: Path, types: Mapping[str, Stacks]) -> None:
    """One line a type, sorted, so that a change of one verdict is a change of one line."""
    lines = (f"  {json.dumps(name)}: {json.dumps(types[name], sort_keys=True)}" for name in sorted(types))
    head = f'{{\n "transformers": {json.dumps(transformers.__version__)},\n "types": {{\n'
    path.write_text(head + ",\n".join(lines) + "\n }\n}\n", encoding="utf-8")


def counted(types: Mapping[str, Stacks]) -> dict[str, int]:
    """How many stacks have each verdict."""
    count = Counter(one["verdict"] for stacks in types.values() for one in stacks.values())
    return {verdict: count[verdict] for verdict in VERDICTS if count[verdict]}


def worth_keeping(stacks: Stacks) -> bool:
    """Whether every stack has a verdict that it could lose."""
    return all(one["verdict"] in _WORTH_KEEPING for one in stacks.values())


def lost(before: Mapping[str, Stacks], now: Mapping[str, Stacks]) -> list[str]:
    """A line for each stack that has less than before, of the types that are in both."""
    return [
        f"{name} {stack}: {old['verdict']} before, {new['verdict']} now: {new['why']}"
        for name in sorted(before.keys() & now.keys())
        for stack, old in before[name].items()
        if old["verdict"] in _WORTH_KEEPING
        and VERDICTS.index((new := _now(now[name], stack))["verdict"]) > VERDICTS.index(old["verdict"])
    ]


def _now(stacks: Stacks, name: str) -> Verdict:
    """The stack's verdict; a model that did not get that far has one for all."""
    gone = {"verdict": "unbuilt", "why": "there is no such stack any more"}
    return stacks.get(name) or (next(iter(stacks.values())) if len(stacks) == 1 else gone)
