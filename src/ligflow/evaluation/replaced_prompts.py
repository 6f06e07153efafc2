"""Scores of a prompt with some of its tokens replaced: the whole, unmodified model, run again.

What stands in for a token is another vector at the model's input embeddings, of several that it can be chosen
from. `runs[i, k]` says what token k is in run i: 0 the real one, r the r-th replacement. Runs that are alike
are run once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.evaluation.prefix_tree import PrefixTree, prefix_trees, tree_mask

Scores = Callable[[Int[np.ndarray, "run token"]], Float[np.ndarray, " run"]]
_BATCH = 64  # runs of an encoder at a time


def next_token_scores(model: Any, vectors: Float[Tensor, "choice token width"], target: int) -> Scores:
    """`log p(target | tokens)` of a causal language model, where `vectors[r, k]` stand in for token k.

    The model is one of `transformers` that takes a mask of four dimensions and `logits_to_keep`, in `eval()`,
    and its window of attention, if any, is longer than the prompt. Runs share what their first tokens share.
    """

    def score(tree: PrefixTree) -> np.ndarray:
        depth, choice = (torch.from_numpy(each).to(vectors.device) for each in (tree.depth, tree.choice))
        logits = model(
            inputs_embeds=vectors[choice, depth][None],
            attention_mask=tree_mask(tree, vectors.device),
            position_ids=depth[None],
            logits_to_keep=torch.from_numpy(tree.leaf).to(vectors.device),
            use_cache=False,
        ).logits[0]
        return np.asarray(logits.double().log_softmax(-1)[:, target].cpu())

    @torch.no_grad()
    def scores(runs: Int[np.ndarray, "run token"]) -> Float[np.ndarray, " run"]:
        each, place = np.unique(runs, axis=0, return_inverse=True)
        return np.concatenate([score(tree) for tree in prefix_trees(each)])[place.reshape(-1)]

    return scores


def similarity_scores(
    model: Any, vectors: Float[Tensor, "choice token width"], fixed: Float[Tensor, " dim"]
) -> Scores:
    """The cosine of a text's mean last hidden state with a fixed vector, as `next_token_scores`."""

    @torch.no_grad()
    def scores(runs: Int[np.ndarray, "run token"]) -> Float[np.ndarray, " run"]:
        each, place = np.unique(runs, axis=0, return_inverse=True)
        tokens = torch.arange(vectors.shape[1])
        cosines = [
            torch.cosine_similarity(
                model(inputs_embeds=vectors[choice, tokens]).last_hidden_state.mean(1).double(),
                fixed.double(),
                dim=-1,
            )
            for choice in torch.from_numpy(each).to(vectors.device).split(_BATCH)
        ]
        return np.asarray(torch.cat(cosines).cpu())[place.reshape(-1)]

    return scores
