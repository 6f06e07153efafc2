"""Runs what the command line names, each under its name and what it says of itself."""

import warnings
from collections.abc import Callable, Sequence

from ligflow import CompletenessWarning


def run_named(known: Sequence[Callable[[], None]], names: Sequence[str], usage: str | None) -> None:
    """Runs the functions that are named. Raises SystemExit with the usage for no or an unknown name."""
    by_name = {function.__name__: function for function in known}
    warnings.simplefilter("ignore", CompletenessWarning)
    if not names or not set(names) <= set(by_name):
        raise SystemExit(usage)
    for name in names:
        print(f"# {name}: {by_name[name].__doc__}")
        by_name[name]()
