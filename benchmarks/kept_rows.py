"""Rows of a long measurement, kept in a file as they come: interrupted, it goes on where it was."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from measure import Row, note


class KeptRows:
    """Rows by what they are of, one a line of JSON; delete the file to measure all anew.

    `planned` are the kinds of the rows to come, each as often as it comes, from which, with the mean time of
    each kind so far, it says how long is left.
    """

    def __init__(self, path: Path, planned: Iterable[str] = ()) -> None:
        self.path = path
        self.left = Counter(planned)
        self.seconds: dict[str, list[float]] = {}
        self.rows = {_name(line["of"]): line["row"] for line in _whole_lines(path)}

    def row(self, kind: str, of: Row, measure: Callable[[], Row]) -> Row:
        """The row that is kept of this, or measured now and kept."""
        self.left[kind] -= 1
        name = _name({"kind": kind} | of)
        if name not in self.rows:
            begin = time.perf_counter()
            self.rows[name] = measure()
            self.seconds.setdefault(kind, []).append(time.perf_counter() - begin)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps({"of": json.loads(name), "row": self.rows[name]}) + "\n")
            note(f"{kind}: {' '.join(map(str, of.values()))}; about {self.minutes():.0f} minutes left")
        return self.rows[name]

    def minutes(self) -> float:
        """What is planned, at the mean time of its kind so far, or of all where none was measured."""
        every = [seconds for times in self.seconds.values() for seconds in times]
        times = {kind: self.seconds.get(kind) or every for kind in self.left}
        return sum(self.left[kind] * sum(took) / len(took) for kind, took in times.items() if took) / 60


def _name(of: Row) -> str:
    return json.dumps(of, sort_keys=True)


def _whole_lines(path: Path) -> list[Row]:
    """The lines of a file; a last one that was cut short is taken off."""
    if not path.exists():
        return []
    whole, end, _ = path.read_text().rpartition("\n")
    path.write_text(whole + end)
    return [json.loads(line) for line in whole.splitlines()]
