"""Is it right, and is it good? Checks of a model, other methods, faithfulness, statistics."""

from typing import TYPE_CHECKING

from ligflow.lazy_names import lazy_names

if TYPE_CHECKING:
    from ligflow.evaluation.conformance import Check as Check
    from ligflow.evaluation.conformance import check as check
    from ligflow.evaluation.consistency import agreement as agreement
    from ligflow.evaluation.consistency import shuffled_rows as shuffled_rows
    from ligflow.evaluation.faithfulness import leave_one_out as leave_one_out
    from ligflow.evaluation.faithfulness import measured as measured
    from ligflow.evaluation.norm_based_attention import norm_based as norm_based
    from ligflow.evaluation.norm_based_attention import with_residual_and_norm as with_residual_and_norm
    from ligflow.evaluation.other_methods import lig as lig
    from ligflow.evaluation.other_methods import rivals as rivals
    from ligflow.evaluation.other_methods import value_zeroing as value_zeroing
    from ligflow.evaluation.removal import Ablation as Ablation
    from ligflow.evaluation.removal import ablation as ablation
    from ligflow.evaluation.shuffled_weights import with_shuffled_weights as with_shuffled_weights
    from ligflow.evaluation.significance import holm as holm
    from ligflow.evaluation.significance import sign_test as sign_test
    from ligflow.evaluation.simultaneous import WithBest as WithBest
    from ligflow.evaluation.simultaneous import simultaneous_interval as simultaneous_interval
    from ligflow.evaluation.simultaneous import with_best as with_best
    from ligflow.evaluation.verdicts import Beside as Beside
    from ligflow.evaluation.verdicts import beside as beside
    from ligflow.evaluation.verdicts import best_is_named as best_is_named

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Ablation": "ligflow.evaluation.removal",
        "Check": "ligflow.evaluation.conformance",
        "Beside": "ligflow.evaluation.verdicts",
        "WithBest": "ligflow.evaluation.simultaneous",
        "ablation": "ligflow.evaluation.removal",
        "agreement": "ligflow.evaluation.consistency",
        "beside": "ligflow.evaluation.verdicts",
        "best_is_named": "ligflow.evaluation.verdicts",
        "check": "ligflow.evaluation.conformance",
        "holm": "ligflow.evaluation.significance",
        "leave_one_out": "ligflow.evaluation.faithfulness",
        "lig": "ligflow.evaluation.other_methods",
        "measured": "ligflow.evaluation.faithfulness",
        "norm_based": "ligflow.evaluation.norm_based_attention",
        "rivals": "ligflow.evaluation.other_methods",
        "shuffled_rows": "ligflow.evaluation.consistency",
        "sign_test": "ligflow.evaluation.significance",
        "simultaneous_interval": "ligflow.evaluation.simultaneous",
        "value_zeroing": "ligflow.evaluation.other_methods",
        "with_best": "ligflow.evaluation.simultaneous",
        "with_residual_and_norm": "ligflow.evaluation.norm_based_attention",
        "with_shuffled_weights": "ligflow.evaluation.shuffled_weights",
    },
)
