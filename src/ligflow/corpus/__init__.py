"""Many sentences: corpora, runs that survive interruption, and reports on them.

Needs `pip install 'ligflow[corpus]'`. Nothing is imported before a name is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ligflow.extras import need

if TYPE_CHECKING:
    from ligflow.corpus.analysis.estimates import Estimates as Estimates
    from ligflow.corpus.analysis.estimates import estimate as estimate
    from ligflow.corpus.analysis.faithfulness_ranking import Standing as Standing
    from ligflow.corpus.analysis.faithfulness_ranking import standings as standings
    from ligflow.corpus.analysis.head_profiles import Profile as Profile
    from ligflow.corpus.analysis.head_profiles import labels as labels
    from ligflow.corpus.analysis.head_profiles import profiles as profiles
    from ligflow.corpus.analysis.model_differences import Difference as Difference
    from ligflow.corpus.analysis.model_differences import compare as compare
    from ligflow.corpus.analysis.rankings import Ranked as Ranked
    from ligflow.corpus.analysis.rankings import rank as rank
    from ligflow.corpus.analysis.rankings import ranking as ranking
    from ligflow.corpus.reports.report import report as report
    from ligflow.corpus.runs.engines import here as here
    from ligflow.corpus.runs.engines import processes as processes
    from ligflow.corpus.runs.faithfulness_trial import try_methods as try_methods
    from ligflow.corpus.runs.kept_maps import flow as flow
    from ligflow.corpus.runs.ray_engine import actors as actors
    from ligflow.corpus.runs.runner import run as run
    from ligflow.corpus.runs.store import Run as Run
    from ligflow.corpus.runs.store import open_run as open_run
    from ligflow.corpus.runs.worker import Model as Model
    from ligflow.corpus.sources.corpus import Corpus as Corpus
    from ligflow.corpus.sources.readers import read as read
    from ligflow.corpus.sources.sentence import BadLine as BadLine
    from ligflow.corpus.sources.sentence import Sentence as Sentence
    from ligflow.corpus.tables.experiment import Experiment as Experiment
    from ligflow.corpus.tables.faithfulness_rows import Trial as Trial

_HOMES = {
    "BadLine": "sources.sentence",
    "Corpus": "sources.corpus",
    "Difference": "analysis.model_differences",
    "Estimates": "analysis.estimates",
    "Experiment": "tables.experiment",
    "Model": "runs.worker",
    "Profile": "analysis.head_profiles",
    "Ranked": "analysis.rankings",
    "Run": "runs.store",
    "Sentence": "sources.sentence",
    "Standing": "analysis.faithfulness_ranking",
    "Trial": "tables.faithfulness_rows",
    "actors": "runs.ray_engine",
    "compare": "analysis.model_differences",
    "estimate": "analysis.estimates",
    "flow": "runs.kept_maps",
    "here": "runs.engines",
    "labels": "analysis.head_profiles",
    "open_run": "runs.store",
    "processes": "runs.engines",
    "profiles": "analysis.head_profiles",
    "rank": "analysis.rankings",
    "ranking": "analysis.rankings",
    "read": "sources.readers",
    "report": "reports.report",
    "run": "runs.runner",
    "standings": "analysis.faithfulness_ranking",
    "try_methods": "runs.faithfulness_trial",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError:
        need("corpus", f"{__name__}.{name}")
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
