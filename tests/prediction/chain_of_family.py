"""The chain of `ligflow.prediction` on a family of the oracle."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor
from transformers import PreTrainedModel

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.chain import Accuracy, Chain, chain
from ligflow.prediction.graph import Built, Runs, both_runs, graph_of
from ligflow.prediction.held import Held
from ligflow.prediction.nodes import Nodes, nodes_of
from ligflow.prediction.recorded import recorded_layers
from prediction.oracle_families import Family


@dataclass(frozen=True)
class Explained:
    """What the chain gives for the family's only score."""

    change: float
    cuts: list[str]
    by_depth: Tensor
    error: Tensor
    nodes: Nodes
    kinds: list[str]
    built: Built
    result: Chain
    held: Held


def chained(
    family: Family, model: PreTrainedModel, accuracy: Accuracy, cut: str = "modules", **held: bool
) -> Explained:
    """The chain through a model of the family, to its reference; `held` are experts or attention."""
    runs = runs_of_family(family, model, **held)
    built = graph_of(runs, cut)
    change = (built.scores[0] - built.scores[1]).double()
    result = chain(built.graph, change, accuracy, runs.model)
    nodes = nodes_of(built.graph, built.calls, result, 0)
    cuts = [name for name, _ in built.graph.cuts]
    kinds = [call.form.kind for call in built.calls]
    return Explained(
        float(change), cuts, result.by_depth[0], result.error[0], nodes, kinds, built, result, runs.held
    )


def runs_of_family(family: Family, model: PreTrainedModel, **held: bool) -> Runs:
    """The two runs of a model of the family."""
    two_stacks = model.config.is_encoder_decoder
    copy = PreparedModel(model, stack="decoder" if two_stacks else None).now()
    whole, inputs, score = cast(PreTrainedModel, copy.placement.model), family.inputs(), family.score()
    recorded, start = recorded_layers(copy, inputs, None), family.references(model)[0][None]
    return both_runs(
        whole, inputs, recorded.layers, start, None, lambda o: score(o)[:, None], recorded.decoder, **held
    )
