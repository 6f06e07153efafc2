"""What the page on dictionaries says of SmolLM2. Run: python docs/scripts/dictionaries.py replaced

The dictionary is that of `examples/train_dictionary.py`, 256 features at layer 20; three minutes on one core.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from by_name import run_named
from predictions import MODEL, PROMPTS
from torch import Tensor

from ligflow import Dictionary, Explainer, Prediction, read_dictionary
from ligflow.prediction.check import _Trial

DICTIONARY = Path(__file__).parents[2] / "tests" / "dictionaries" / "smollm2-layer-20"
LAYER, DRAWS, SIZES = 20, 5, (1, 3, 10)


def replaced() -> None:
    """The strongest features at a token replaced in both runs, and random active ones beside them."""
    explainer, dictionary = Explainer.from_pretrained(MODEL), read_dictionary(DICTIONARY)
    rows: dict[int, list[tuple[float, ...]]] = {size: [] for size in SIZES}
    for name, prompt in PROMPTS.items():
        prediction = explainer.explain_prediction(prompt, features=dictionary)
        features = prediction.features()
        print(
            f"{name:12} change {prediction.change:+.1f}, features "
            f"{float(features.by_token.sum()):+.1f}, rest {float(features.rest.sum()):+.1f}"
        )
        trial = _Trial.of(vars(prediction)["_asked"])
        with trial.running():
            for size in SIZES:
                rows[size].append(_row(trial, prediction, dictionary, size))
    print("features | relevance | mean change | removed | put in | random: relevance | mean change")
    for size, each in rows.items():
        means = torch.tensor(each).mean(0).tolist()
        print(f"{size:8} | " + " | ".join(f"{value:+.2f}" for value in means))
        both = float(torch.corrcoef(torch.tensor(each).T[:2])[0, 1])
        print(f"{'':8}   over prompts relevance and mean change correlate by {both:.2f}")


def _row(trial: _Trial, prediction: Prediction, dictionary: Dictionary, size: int) -> tuple[float, ...]:
    """Relevance and change of the strongest features, and of random ones, in the mean over draws."""
    order = prediction.features().relevance.abs().argsort(descending=True)
    relevance, removed, added = _changes(trial, prediction, dictionary, order[:size])
    generator = torch.Generator().manual_seed(0)
    some = [torch.randperm(len(order), generator=generator)[:size] for _ in range(DRAWS)]
    draws = [_changes(trial, prediction, dictionary, entries) for entries in some]
    random = torch.tensor(draws).mean(0).tolist()
    return relevance, (removed + added) / 2, removed, added, random[0], (random[1] + random[2]) / 2


def _changes(
    trial: _Trial, prediction: Prediction, dictionary: Dictionary, entries: Tensor
) -> tuple[float, float, float]:
    """Relevance of entries, what the score loses without them, and gains with them in the reference run."""
    features = prediction.features()
    places, numbers = features.positions[entries], features.features[entries]
    step = (features.activations - features.reference_activations)[entries]
    moved = torch.zeros(len(features.tokens), dictionary.decoder.shape[1], dtype=torch.float64)
    moved.index_add_(0, places, step[:, None] * dictionary.decoder[numbers].double())
    scores = []
    for embeddings, sign in zip(trial.embeddings, (-1, 1), strict=True):
        with _moved(trial.layers[LAYER].module, sign * moved.float()):
            scores.append(trial.score(embeddings))
    removed, added = prediction.value - scores[0], scores[1] - prediction.reference_value
    return float(features.relevance[entries].sum()), removed, added


@contextmanager
def _moved(module: torch.nn.Module, by: Tensor) -> Iterator[None]:
    """A layer that gives so much more at every token."""

    def add(_module: object, _args: object, output: Tensor | Sequence[Tensor]) -> object:
        return output + by if isinstance(output, Tensor) else (output[0] + by, *output[1:])

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


if __name__ == "__main__":
    run_named((replaced,), sys.argv[1:], __doc__)
