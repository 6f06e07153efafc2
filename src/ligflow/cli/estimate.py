"""`--estimate`: how long a command would take and how much memory, in place of doing it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from rich.text import Text

from ligflow.cli.options import OUTPUT, option
from ligflow.cli.streams import console

if TYPE_CHECKING:
    from ligflow.explainer.estimate import Estimate
    from ligflow.explainer.explainer import Explainer

EstimateOnly = Annotated[
    bool,
    option(
        "Say how long this would take and how much memory, from a part of it; write nothing.",
        OUTPUT,
        "--estimate",
    ),
]


def tell(load: Callable[[], Explainer], estimated: Callable[[Explainer], Estimate], times: int = 1) -> None:
    """Prints what loading takes, what is done once for a model, and what is asked, `times` over."""
    from ligflow.progress import duration_in_words, size_in_words

    before = perf_counter()
    explainer = load()
    loading = perf_counter() - before
    estimate = estimated(explainer)
    asked = times * estimate.seconds
    parts = {"loading": loading, "checking the model": estimate.preparing, "the explanation": asked}
    shares = ", ".join(f"{name} {duration_in_words(seconds)}" for name, seconds in parts.items())
    lines = (
        f"about {duration_in_words(sum(parts.values()))}: {shares}",
        f"memory: {size_in_words(estimate.peak_bytes)} at the most",
        f"measured on {estimate.measured} of {estimate.total} {estimate.units}; others may need more points, "
        "or fewer, and a machine that does other work takes longer",
    )
    for line in lines:
        console().print(Text(line))
