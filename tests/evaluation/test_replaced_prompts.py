"""Scores of prompts with replaced tokens are those of the model's own runs, one at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from ligflow.evaluation import prefix_tree
from ligflow.evaluation.prefix_tree import prefix_trees
from ligflow.evaluation.replaced_prompts import next_token_scores, similarity_scores

TARGET = 7
SIZES = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2,
}  # fmt: skip
DECODERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=1)),
    "gemma 3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SIZES, num_key_value_heads=1, head_dim=8, sliding_window=16)
    ),
}


def prompts(model: Any, length: int, choices: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids by choice and place, and their input embeddings."""
    ids = torch.randint(1, 40, (choices, length), generator=torch.Generator().manual_seed(0))
    return ids, model.get_input_embeddings()(ids).detach()


def every_run(length: int, choices: int) -> np.ndarray:
    return np.array(list(np.ndindex(*(choices,) * length)))


@pytest.mark.parametrize("name", DECODERS)
def test_runs_of_a_tree_are_the_models_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(next_token_scores.__globals__, "prefix_trees", lambda runs: prefix_trees(runs, 20))
    torch.manual_seed(0)
    model = DECODERS[name]().double().eval()
    ids, vectors = prompts(model, 4, 3)
    runs = every_run(4, 3)[::2]
    runs = np.concatenate([runs[::-1], runs[:5]])  # in no order, and some of them twice
    ours = next_token_scores(model, vectors, TARGET)(runs)
    own = ids[torch.from_numpy(runs.copy()), torch.arange(4)]
    with torch.no_grad():
        theirs = model(input_ids=own).logits[:, -1].log_softmax(-1)[:, TARGET]
    assert np.abs(ours - theirs.numpy()).max() < 1e-12


def test_runs_of_an_encoder_are_its_own() -> None:
    torch.manual_seed(0)
    model: Any = BertModel(BertConfig(**SIZES)).double().eval()
    ids = torch.randint(1, 40, (2, 4))
    vectors = model.get_input_embeddings()(ids).detach()
    fixed = torch.randn(16, dtype=torch.float64)
    runs = every_run(4, 2)
    ours = similarity_scores(model, vectors, fixed)(runs)
    with torch.no_grad():
        states = model(input_ids=ids[torch.from_numpy(runs), torch.arange(4)]).last_hidden_state
    theirs = torch.cosine_similarity(states.mean(1), fixed, dim=-1)
    assert np.abs(ours - theirs.numpy()).max() < 1e-12


def test_a_tree_of_all_sets_has_a_node_for_each_prefix() -> None:
    [tree] = prefix_trees(every_run(5, 2))
    assert len(tree.depth) == 2**6 - 2
    assert len(tree.leaf) == 2**5
    assert (tree.sees.sum(axis=1) == tree.depth + 1).all()


def test_trees_are_no_larger_than_they_may_be() -> None:
    trees = [*prefix_trees(every_run(6, 2), 30)]
    assert max(len(tree.depth) for tree in trees) <= 30
    assert sum(len(tree.leaf) for tree in trees) == 2**6
    alone = [*prefix_trees(every_run(6, 2)[:3], 1)]
    assert [len(tree.depth) for tree in alone] == [6, 6, 6]
    assert prefix_tree.NODES == 512
