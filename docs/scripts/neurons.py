"""Replaces the strongest hidden units by what they are in the reference run, and as many random ones.

Run from the repository: .venv/bin/python docs/scripts/neurons.py [smollm2 | gemma-3-270m]
It prints, for 1, 3 and 10 units at once, their relevance and by how much the score really falls: whichever
way it comes out.
"""

import random
import sys
from contextlib import ExitStack
from statistics import mean, stdev

import torch

from ligflow import Explainer

PROMPTS = (
    "The capital of France is", "The Eiffel Tower is in the city of", "Water freezes at zero degrees",
    "The opposite of hot is", "Two plus two equals", "The first president of the United States was George",
    "A baby dog is called a", "The sun rises in the", "Shakespeare wrote Romeo and", "The color of grass is",
    "The largest planet in the solar system is", "She opened the door with her",
)  # fmt: skip
COUNTS, DRAWS = (1, 3, 10), 5
Cell = tuple[int, int, int]  # layer, position, unit


def replaced(explainer: Explainer, prediction, ids: torch.Tensor, cells: list[Cell]) -> torch.Tensor:
    """The log-probabilities of the next token where these units have what they have in the reference run."""
    with ExitStack() as stack, torch.no_grad():
        for layer in {layer for layer, _, _ in cells}:
            module = explainer.whole.model.get_submodule(prediction.layer_names[layer]).mlp.down_proj
            own = [cell[1:] for cell in cells if cell[0] == layer]
            values = prediction.stored_activations[layer][1]

            def change(_module, args, own=own, values=values):
                units = args[0].clone()
                for position, unit in own:
                    units[0, position, unit] = values[position, unit]
                return (units,)

            stack.callback(module.register_forward_pre_hook(change).remove)
        return explainer.whole.model(input_ids=ids).logits[0, -1].double().log_softmax(-1)


def tried(explainer: Explainer, text: str, draw: random.Random) -> dict[tuple[str, int], tuple[float, float]]:
    """Relevance and fall of the score for the strongest units and for random ones, by how many they are."""
    prediction = explainer.explain_prediction(text, neurons="all", edges=())
    ids = explainer.tokenizer(text, return_tensors="pt")["input_ids"]
    before = replaced(explainer, prediction, ids, [])
    answer = int(before.argmax())
    assert abs(float(before[answer]) - prediction.value) < 1e-3
    every = torch.stack([prediction.stored_neurons[layer] for layer in range(len(prediction.layer_names))])
    moving = [place for place, kept in enumerate(prediction.kept) if not kept]
    order = every.abs().flatten().topk(max(COUNTS)).indices.tolist()
    strongest = [tuple(map(int, torch.unravel_index(torch.tensor(at), every.shape))) for at in order]

    def pair(cells: list[Cell]) -> tuple[float, float]:
        after = float(replaced(explainer, prediction, ids, cells)[answer])
        return sum(float(every[cell]) for cell in cells), float(before[answer]) - after

    numbers = {}
    for count in COUNTS:
        numbers["strongest", count] = pair(strongest[:count])
        drawn = [
            pair([
                (draw.randrange(len(every)), draw.choice(moving), draw.randrange(every.shape[2]))
                for _ in range(count)
            ])
            for _ in range(DRAWS)
        ]  # fmt: skip
        numbers["random", count] = (mean(r for r, _ in drawn), mean(change for _, change in drawn))
        sizes = numbers.setdefault(("random, size", count), (0.0, 0.0))
        numbers["random, size", count] = (sizes[0], mean(abs(change) for _, change in drawn))
    return numbers


def main(name: str) -> None:
    """One row for each number of units, over all prompts."""
    explainer, draw = Explainer.from_pretrained(f"embedded:{name}"), random.Random(0)
    every = []
    for text in PROMPTS:
        every.append(tried(explainer, text, draw))
        print(f"{name}: {len(every)} of {len(PROMPTS)}", file=sys.stderr)
    print(f"{name}, {len(every)} prompts")
    print("| units | their relevance | the score falls by | as many random ones | size of these |")
    print("|---|---|---|---|---|")
    for count in COUNTS:
        strong = [numbers["strongest", count] for numbers in every]
        others = [numbers["random", count][1] for numbers in every]
        sizes = mean(numbers["random, size", count][1] for numbers in every)
        print(
            f"| {count} | {spread([r for r, _ in strong])} | {spread([c for _, c in strong])} | "
            f"{spread(others)} | {sizes:.4f} |"
        )
    pairs = torch.tensor([numbers["strongest", count] for numbers in every for count in COUNTS])
    same = sum((r > 0) == (c > 0) for r, c in pairs.tolist())
    print(f"the same sign: {same} of {len(pairs)}; correlation {float(torch.corrcoef(pairs.T)[0, 1]):.2f}")
    for text, numbers in zip(PROMPTS, every, strict=True):
        cells = ", ".join(f"{r:+.2f} / {c:+.2f}" for r, c in (numbers["strongest", n] for n in COUNTS))
        print(f"  {text}: {cells}")


def spread(values: list[float]) -> str:
    """The mean and its standard error."""
    return f"{mean(values):+.3f} ± {stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    for model in sys.argv[1:] or ["smollm2", "gemma-3-270m"]:
        main(model)
