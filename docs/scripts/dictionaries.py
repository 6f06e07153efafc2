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
LAYER, DRAWS, NEAREST, SIZES = 20, 5, 5, (1, 3, 10)


def replaced() -> None:
    """The strongest features at a token replaced in both runs, and others beside them that write as much.

    Each of these is drawn among the five entries whose `|Δa| ||d||` is nearest to that of a strongest one.
    """
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
    print("features | relevance | mean change | removed | put in | matched: relevance | mean change | size")
    for size, each in rows.items():
        means = torch.tensor(each).mean(0).tolist()
        print(f"{size:8} | " + " | ".join(f"{value:+.2f}" for value in means))
        both = float(torch.corrcoef(torch.tensor(each).T[:2])[0, 1])
        print(f"{'':8}   over prompts relevance and mean change correlate by {both:.2f}")


def _row(trial: _Trial, prediction: Prediction, dictionary: Dictionary, size: int) -> tuple[float, ...]:
    """Relevance and change of the strongest features, and of others as large, in the mean over draws."""
    features = prediction.features()
    order = features.relevance.abs().argsort(descending=True)
    relevance, removed, added = _changes(trial, prediction, dictionary, order[:size])
    steps = (features.activations - features.reference_activations).abs()
    sizes = steps * dictionary.decoder[features.features].double().norm(dim=-1)
    generator = torch.Generator().manual_seed(0)
    some = [_matched(sizes, order[:size], generator) for _ in range(DRAWS)]
    draws = [_changes(trial, prediction, dictionary, entries) for entries in some]
    ratio = float(torch.stack([sizes[entries].sum() for entries in some]).mean() / sizes[order[:size]].sum())
    drawn = torch.tensor(draws).mean(0).tolist()
    return relevance, (removed + added) / 2, removed, added, drawn[0], (drawn[1] + drawn[2]) / 2, ratio


def _matched(sizes: Tensor, entries: Tensor, generator: torch.Generator) -> Tensor:
    """For each entry another one of nearly the same size, none of them twice."""
    apart = (sizes.log()[None] - sizes[entries].log()[:, None]).abs()
    apart[:, entries] = torch.inf
    drawn: list[int] = []
    for row in apart:
        row[drawn] = torch.inf
        near = row.topk(NEAREST, largest=False).indices
        drawn.append(int(near[torch.randint(NEAREST, (), generator=generator)]))
    return torch.tensor(drawn)


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
