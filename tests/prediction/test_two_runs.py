"""The input's run and the reference's: scores of the model's own forward, on the ids of the input."""

import torch

from prediction.tiny import gpt2, ids, runs_of


def test_scores_are_those_of_the_model_on_either_embeddings() -> None:
    runs, model = runs_of(gpt2(), ids())
    table, tokens = model.get_input_embeddings().weight, ids()
    other = torch.cat([tokens[:, :1], torch.full_like(tokens[:, 1:], 2)], 1)  # the first is kept
    for run, inputs in ((runs.real, tokens), (runs.reference, other)):
        with torch.no_grad():
            logits = model(input_ids=inputs).logits
        torch.testing.assert_close(run.outputs.logits, logits)
        torch.testing.assert_close(run.embeddings.reshape(-1, 16), table[inputs[0]])
