"""All that a report on a run says, as data."""

from dataclasses import dataclass

from ligflow.corpus.analysis import completeness
from ligflow.corpus.analysis.completeness import Completeness, LeftOut
from ligflow.corpus.analysis.estimates import Estimates, estimate
from ligflow.corpus.analysis.rankings import Ranked, rank
from ligflow.corpus.runs.store import Run
from ligflow.errors import LigflowError

_SHARED = ("settings", "shard_size", "sentences")  # what a twin must share with its run, beside the corpus


@dataclass(frozen=True)
class Findings:
    """All that a report says, as data."""

    run: Run
    twin_run: Run | None
    estimates: Estimates
    twin: Estimates | None
    ranked: list[Ranked]
    by_product: list[Ranked]
    certified: list[Completeness]
    left_out: LeftOut
    draws: int


def fitting_twin(run: Run, twin: Run | None) -> Run | None:
    """The twin. Raises LigflowError if it is not of the same corpus and settings."""
    if twin is None:
        return None
    same = all(run.manifest[name] == twin.manifest[name] for name in _SHARED)
    if not same or run.manifest["corpus"]["fingerprint"] != twin.manifest["corpus"]["fingerprint"]:
        raise LigflowError(
            f"{str(twin.folder)!r} is no twin of {str(run.folder)!r}: its corpus or settings are different."
        )
    return twin


def findings_of(run: Run, twin: Run | None, draws: int, seed: int) -> Findings:
    """What a run says, beside its twin: estimates, rankings, certificates, and what was left out."""
    estimates = estimate(run, draws, seed)
    other = None if twin is None or not twin.done else estimate(twin, draws, seed)
    return Findings(
        run, twin, estimates, other, rank(estimates, other), rank(estimates, other, rules=("product",)),
        completeness.certify(run), completeness.left_out(run), draws,
    )  # fmt: skip
