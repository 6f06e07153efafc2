"""Many sentences or prompts: corpora, runs that survive interruption, and reports on them.

Needs `pip install 'ligflow[corpus]'`. Nothing is imported before a name is asked for.
"""

from typing import TYPE_CHECKING, Any

from ligflow.extras import need
from ligflow.lazy_names import lazy_names

if TYPE_CHECKING:
    from ligflow.corpus.analysis.component_shares import ComponentShare as ComponentShare
    from ligflow.corpus.analysis.component_shares import component_draws as component_draws
    from ligflow.corpus.analysis.component_shares import component_shares as component_shares
    from ligflow.corpus.analysis.controls import Control as Control
    from ligflow.corpus.analysis.controls import controls as controls
    from ligflow.corpus.analysis.estimates import Estimates as Estimates
    from ligflow.corpus.analysis.estimates import estimate as estimate
    from ligflow.corpus.analysis.faithfulness_ranking import Standing as Standing
    from ligflow.corpus.analysis.faithfulness_ranking import standings as standings
    from ligflow.corpus.analysis.finding import Verdict as Verdict
    from ligflow.corpus.analysis.finding import verdicts as verdicts
    from ligflow.corpus.analysis.group_differences import GroupDifference as GroupDifference
    from ligflow.corpus.analysis.group_differences import group_differences as group_differences
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
    from ligflow.corpus.sources.prompt import Prompt as Prompt
    from ligflow.corpus.sources.readers import read as read
    from ligflow.corpus.sources.readers import read_prompts as read_prompts
    from ligflow.corpus.sources.sentence import BadLine as BadLine
    from ligflow.corpus.sources.sentence import Sentence as Sentence
    from ligflow.corpus.tables.experiment import Experiment as Experiment
    from ligflow.corpus.tables.faithfulness_rows import Trial as Trial
    from ligflow.corpus.tables.prompt_settings import PromptSettings as PromptSettings

_named, __dir__ = lazy_names(
    __name__,
    {
        "BadLine": "ligflow.corpus.sources.sentence",
        "ComponentShare": "ligflow.corpus.analysis.component_shares",
        "Control": "ligflow.corpus.analysis.controls",
        "Corpus": "ligflow.corpus.sources.corpus",
        "Difference": "ligflow.corpus.analysis.model_differences",
        "Estimates": "ligflow.corpus.analysis.estimates",
        "Experiment": "ligflow.corpus.tables.experiment",
        "GroupDifference": "ligflow.corpus.analysis.group_differences",
        "Model": "ligflow.corpus.runs.worker",
        "Profile": "ligflow.corpus.analysis.head_profiles",
        "Prompt": "ligflow.corpus.sources.prompt",
        "PromptSettings": "ligflow.corpus.tables.prompt_settings",
        "Ranked": "ligflow.corpus.analysis.rankings",
        "Run": "ligflow.corpus.runs.store",
        "Sentence": "ligflow.corpus.sources.sentence",
        "Standing": "ligflow.corpus.analysis.faithfulness_ranking",
        "Trial": "ligflow.corpus.tables.faithfulness_rows",
        "Verdict": "ligflow.corpus.analysis.finding",
        "actors": "ligflow.corpus.runs.ray_engine",
        "compare": "ligflow.corpus.analysis.model_differences",
        "component_draws": "ligflow.corpus.analysis.component_shares",
        "component_shares": "ligflow.corpus.analysis.component_shares",
        "controls": "ligflow.corpus.analysis.controls",
        "estimate": "ligflow.corpus.analysis.estimates",
        "flow": "ligflow.corpus.runs.kept_maps",
        "group_differences": "ligflow.corpus.analysis.group_differences",
        "here": "ligflow.corpus.runs.engines",
        "labels": "ligflow.corpus.analysis.head_profiles",
        "open_run": "ligflow.corpus.runs.store",
        "processes": "ligflow.corpus.runs.engines",
        "profiles": "ligflow.corpus.analysis.head_profiles",
        "rank": "ligflow.corpus.analysis.rankings",
        "ranking": "ligflow.corpus.analysis.rankings",
        "read": "ligflow.corpus.sources.readers",
        "read_prompts": "ligflow.corpus.sources.readers",
        "report": "ligflow.corpus.reports.report",
        "run": "ligflow.corpus.runs.runner",
        "standings": "ligflow.corpus.analysis.faithfulness_ranking",
        "try_methods": "ligflow.corpus.runs.faithfulness_trial",
        "verdicts": "ligflow.corpus.analysis.finding",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _named(name)
    except ModuleNotFoundError:
        need("corpus", f"{__name__}.{name}")
        raise
