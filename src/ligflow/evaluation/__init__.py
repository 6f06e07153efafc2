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
    from ligflow.evaluation.games import removal_game as removal_game
    from ligflow.evaluation.greedy_orders import greedy_removal as greedy_removal
    from ligflow.evaluation.greedy_orders import greedy_return as greedy_return
    from ligflow.evaluation.judged_maps import judged as judged
    from ligflow.evaluation.mlp_decompositions import decompx as decompx
    from ligflow.evaluation.mlp_decompositions import norm_based_with_mlp as norm_based_with_mlp
    from ligflow.evaluation.norm_based_attention import norm_based as norm_based
    from ligflow.evaluation.norm_based_attention import with_residual_and_norm as with_residual_and_norm
    from ligflow.evaluation.other_methods import lig as lig
    from ligflow.evaluation.other_methods import rivals as rivals
    from ligflow.evaluation.other_methods import value_zeroing as value_zeroing
    from ligflow.evaluation.removal import Ablation as Ablation
    from ligflow.evaluation.removal import ablation as ablation
    from ligflow.evaluation.shapley import Sampled as Sampled
    from ligflow.evaluation.shapley import shapley_values as shapley_values
    from ligflow.evaluation.shuffled_weights import with_shuffled_weights as with_shuffled_weights
    from ligflow.evaluation.significance import holm as holm
    from ligflow.evaluation.significance import sign_test as sign_test
    from ligflow.evaluation.signs_and_amounts import amounts as amounts
    from ligflow.evaluation.signs_and_amounts import signs as signs
    from ligflow.evaluation.simultaneous import WithBest as WithBest
    from ligflow.evaluation.simultaneous import simultaneous_interval as simultaneous_interval
    from ligflow.evaluation.simultaneous import with_best as with_best
    from ligflow.evaluation.vector_decompositions import alti as alti
    from ligflow.evaluation.vector_decompositions import globenc as globenc
    from ligflow.evaluation.verdicts import Beside as Beside
    from ligflow.evaluation.verdicts import beside as beside
    from ligflow.evaluation.verdicts import best_is_named as best_is_named
    from ligflow.evaluation.weight_gradients import attention_attribution as attention_attribution

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Ablation": "ligflow.evaluation.removal",
        "Beside": "ligflow.evaluation.verdicts",
        "Check": "ligflow.evaluation.conformance",
        "Sampled": "ligflow.evaluation.shapley",
        "WithBest": "ligflow.evaluation.simultaneous",
        "ablation": "ligflow.evaluation.removal",
        "agreement": "ligflow.evaluation.consistency",
        "alti": "ligflow.evaluation.vector_decompositions",
        "amounts": "ligflow.evaluation.signs_and_amounts",
        "attention_attribution": "ligflow.evaluation.weight_gradients",
        "beside": "ligflow.evaluation.verdicts",
        "best_is_named": "ligflow.evaluation.verdicts",
        "check": "ligflow.evaluation.conformance",
        "decompx": "ligflow.evaluation.mlp_decompositions",
        "globenc": "ligflow.evaluation.vector_decompositions",
        "greedy_removal": "ligflow.evaluation.greedy_orders",
        "greedy_return": "ligflow.evaluation.greedy_orders",
        "holm": "ligflow.evaluation.significance",
        "judged": "ligflow.evaluation.judged_maps",
        "leave_one_out": "ligflow.evaluation.faithfulness",
        "lig": "ligflow.evaluation.other_methods",
        "measured": "ligflow.evaluation.faithfulness",
        "norm_based": "ligflow.evaluation.norm_based_attention",
        "norm_based_with_mlp": "ligflow.evaluation.mlp_decompositions",
        "removal_game": "ligflow.evaluation.games",
        "rivals": "ligflow.evaluation.other_methods",
        "shapley_values": "ligflow.evaluation.shapley",
        "shuffled_rows": "ligflow.evaluation.consistency",
        "sign_test": "ligflow.evaluation.significance",
        "signs": "ligflow.evaluation.signs_and_amounts",
        "simultaneous_interval": "ligflow.evaluation.simultaneous",
        "value_zeroing": "ligflow.evaluation.other_methods",
        "with_best": "ligflow.evaluation.simultaneous",
        "with_residual_and_norm": "ligflow.evaluation.norm_based_attention",
        "with_shuffled_weights": "ligflow.evaluation.shuffled_weights",
    },
)
