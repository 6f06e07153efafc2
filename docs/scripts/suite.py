"""Where the time of the tests goes, from the report of a run.

python -m pytest --junitxml=FILE, then python docs/scripts/suite.py FILE
"""

import sys
from collections import Counter
from xml.etree import ElementTree

SLOWEST = (20, 100)


def main(path: str) -> None:
    """Prints the share of the slowest tests, of short ones, and of the folders that take most."""
    cases = [
        (float(case.attrib["time"]), case.attrib["classname"], case.attrib["name"])
        for case in ElementTree.parse(path).iter("testcase")
    ]
    cases.sort(reverse=True)
    total = sum(seconds for seconds, _, _ in cases)
    print(f"{len(cases)} tests, {total:.0f} s")
    for count in SLOWEST:
        print(f"{sum(seconds for seconds, _, _ in cases[:count]) / total:4.0%} in the slowest {count}")
    short = sum(seconds for seconds, _, _ in cases if seconds < 1)
    print(f"{short / total:4.0%} in those of less than a second")
    folders: Counter[str] = Counter()
    for seconds, where, _ in cases:
        folders[where.split(".")[1]] += seconds
    for folder, seconds in folders.most_common(6):
        print(f"{seconds / total:4.0%} {folder}")
    for seconds, where, name in cases[: SLOWEST[0]]:
        print(f"{seconds:6.1f} s {where.removeprefix('tests.')}::{name}")


if __name__ == "__main__":
    main(sys.argv[1])
