"""Relevances of heads and MLPs in the JSON of the circuit benchmark MIB.

Its graphs name nodes `input`, `a5.h3` (head 3 of layer 5), `m7` (the MLP of layer 7) and `logits`, and choose
the nodes or edges of a circuit by their scores [mueller2025].
"""

from typing import Any

from ligflow.errors import LigflowError
from ligflow.results.prediction_data import PredictionData


def circuit_scores(prediction: PredictionData, dim: int, parallel: bool = False) -> dict[str, Any]:
    """The graph of a prediction as MIB's code reads it: a score for each head and MLP [mueller2025].

    A score is a node's relevance, summed over tokens, in units of the prediction's score. `dim` is the size
    of the model's hidden states; `parallel` says that attention and MLP of a layer read the same. All nodes
    are in the graph, so that a circuit of any size can be chosen by score; `input` has none and is always
    kept. There are no scores of edges. Write it with `json.dump`.

    Raises LigflowError for a prediction that has no heads or MLPs, such as one with cut `layer`.
    """
    layers = len(prediction.heads)
    if (
        sorted(prediction.heads) != [*range(layers)]
        or sorted(prediction.mlps) != [*range(layers)]
        or not layers
    ):
        raise LigflowError(
            f"A circuit has heads and an MLP in every layer; this prediction has heads of layers "
            f"{sorted(prediction.heads)}, MLPs of {sorted(prediction.mlps)}: explain it with cut='modules'."
        )
    heads = len(prediction.heads[0])
    config = {"n_layers": layers, "n_heads": heads, "parallel_attn_mlp": parallel, "d_model": dim}
    nodes: dict[str, dict[str, Any]] = {"input": {"in_graph": True}}
    for layer in range(layers):
        scores = prediction.heads[layer].sum(-1).tolist()
        nodes |= {f"a{layer}.h{head}": _node(score) for head, score in enumerate(scores)}
        nodes[f"m{layer}"] = _node(float(prediction.mlps[layer].sum()))
    return {"cfg": config, "nodes": nodes | {"logits": {"in_graph": True}}, "edges": {}}


def _node(score: float) -> dict[str, Any]:
    return {"in_graph": True, "score": score}
