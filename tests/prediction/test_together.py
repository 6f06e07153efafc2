"""Several examples as one graph: the numbers of each alone."""

import torch

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.graph import graph_of
from ligflow.prediction.together import fit_together, graph_of_all, graph_of_row
from prediction.tiny import ids, llama, runs_of

MODEL = PreparedModel(llama())


def test_rows_of_one_chain_are_the_chains_of_each() -> None:
    other = torch.tensor([[5, 9, 13, 8, 3]])
    both = [runs_of(MODEL, tokens) for tokens in (ids(), other)]
    built, own = [graph_of(runs) for runs, _ in both], both[0][1]
    assert fit_together(*built)
    change = torch.cat([one.scores[0] - one.scores[1] for one in built]).double()
    graph = graph_of_all(built)
    together = chain(graph, change, Accuracy(points=15), own)
    for row, one in enumerate(built):
        alone = chain(one.graph, change[row : row + 1], Accuracy(points=15), own)
        torch.testing.assert_close(together.by_depth[row], alone.by_depth[0], atol=1e-10, rtol=1e-9)
        torch.testing.assert_close(
            graph_of_row(graph, row).variables["x1"].real, one.graph.variables["x1"].real
        )


def test_examples_of_other_lengths_do_not_fit() -> None:
    built = [graph_of(runs_of(MODEL, ids(count))[0]) for count in (5, 6)]
    assert not fit_together(*built)
