"""All that a report on a run says, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ligflow.corpus.analysis import completeness
from ligflow.corpus.analysis.by_genre import OfGenre, by_genre
from ligflow.corpus.analysis.completeness import Completeness, LeftOut
from ligflow.corpus.analysis.controls import Control, controls
from ligflow.corpus.analysis.estimates import Estimates, estimate
from ligflow.corpus.analysis.finding import Verdict, verdicts
from ligflow.corpus.analysis.rankings import Ranked, rank
from ligflow.corpus.analysis.twins import Twins, twins_of
from ligflow.corpus.runs.store import Run
from ligflow.errors import LigflowError

_SHARED = ("settings", "shard_size", "sentences")  # what a twin must share with its run, beside the corpus
TwinRuns = Mapping[str, Sequence[Run]]  # by the kind of their weights, a run a seed


@dataclass(frozen=True)
class Findings:
    """All that a report says, as data."""

    run: Run
    twin_runs: TwinRuns
    estimates: Estimates
    twins: Mapping[str, Twins]
    ranked: list[Ranked]
    controls: list[Control]
    verdicts: list[Verdict]
    of_genres: list[OfGenre]
    certified: list[Completeness]
    left_out: LeftOut
    draws: int


def fitting_twins(run: Run, twins: TwinRuns) -> TwinRuns:
    """The twins. Raises LigflowError if one is not of the same corpus and settings."""
    for twin in (twin for of_kind in twins.values() for twin in of_kind):
        same = all(run.manifest[name] == twin.manifest[name] for name in _SHARED)
        if not same or run.manifest["corpus"]["fingerprint"] != twin.manifest["corpus"]["fingerprint"]:
            raise LigflowError(
                f"{str(twin.folder)!r} is no twin of {str(run.folder)!r}: its corpus or settings are "
                "different."
            )
    return twins


def findings_of(run: Run, twin_runs: TwinRuns, draws: int, seed: int) -> Findings:
    """What a run says, beside its twins: estimates, rankings, verdicts, certificates, what was left out."""
    estimates, twins = estimate(run, draws, seed), twins_of(twin_runs, draws, seed)
    return Findings(
        run, twin_runs, estimates, twins, rank(estimates), controls(estimates, twins), verdicts(estimates),
        by_genre(run, draws, seed), completeness.certify(run), completeness.left_out(run), draws,
    )  # fmt: skip
