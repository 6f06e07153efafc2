"""Replaces the strongest hidden units by what they are in the reference run, and others beside them.

Run from the repository: .venv/bin/python docs/scripts/neurons.py [smollm2 | gemma-3-270m]
It prints, for 1, 3 and 10 units at once, their relevance and by how much the score really falls: whichever
way it comes out. Beside each strongest unit one is drawn that changes what its MLP writes by as much,
`|Δa| ||w||`: among the twenty of the layer, at any token that moves, that are nearest in size.
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
COUNTS, DRAWS, NEAREST = (1, 3, 10), 5, 20
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


def written(explainer: Explainer, prediction) -> torch.Tensor:
    """By how much each unit changes what its MLP writes between the two runs, `[layer, token, unit]`."""
    sizes = []
    for layer, name in enumerate(prediction.layer_names):
        weights = explainer.whole.model.get_submodule(name).mlp.down_proj.weight
        real, reference = prediction.stored_activations[layer]
        sizes.append((real - reference).abs() * weights.detach().to(real).norm(dim=0))
    return torch.stack(sizes)


def matched(sizes: torch.Tensor, cells: list[Cell], draw: random.Random) -> list[Cell]:
    """For each unit another one of its layer of nearly the same size, none of them twice."""
    drawn: list[Cell] = []
    for layer, position, unit in cells:
        own = sizes[layer]
        apart = (own.log() - own[position, unit].log()).abs()
        for _, *place in (cell for cell in (*cells, *drawn) if cell[0] == layer):
            apart[tuple(place)] = torch.inf
        near = apart.flatten().topk(NEAREST, largest=False).indices.tolist()
        drawn.append((layer, *divmod(draw.choice(near), own.shape[1])))
    return drawn


def tried(explainer: Explainer, text: str, draw: random.Random) -> dict[tuple[str, int], tuple[float, ...]]:
    """Relevance, fall of the score and size of units: the strongest, and those drawn beside them."""
    prediction = explainer.explain_prediction(text, neurons="all", edges=())
    ids = explainer.tokenizer(text, return_tensors="pt")["input_ids"]
    before = replaced(explainer, prediction, ids, [])
    answer = int(before.argmax())
    assert abs(float(before[answer]) - prediction.value) < 1e-3
    every = torch.stack([prediction.stored_neurons[layer] for layer in range(len(prediction.layer_names))])
    sizes = written(explainer, prediction)
    order = every.abs().flatten().topk(max(COUNTS)).indices.tolist()
    strongest = [tuple(map(int, torch.unravel_index(torch.tensor(at), every.shape))) for at in order]

    def numbers_of(cells: list[Cell]) -> tuple[float, ...]:
        fall = float(before[answer]) - float(replaced(explainer, prediction, ids, cells)[answer])
        relevance = sum(float(every[cell]) for cell in cells)
        return relevance, fall, abs(fall), sum(float(sizes[cell]) for cell in cells)

    numbers = {}
    for count in COUNTS:
        cells = strongest[:count]
        numbers["strongest", count] = numbers_of(cells)
        drawn = [numbers_of(matched(sizes, cells, draw)) for _ in range(DRAWS)]
        numbers["matched", count] = tuple(map(mean, zip(*drawn, strict=True)))
    return numbers


def main(name: str) -> None:
    """One row for each number of units, over all prompts."""
    explainer, draw = Explainer.from_pretrained(f"embedded:{name}"), random.Random(0)
    every = []
    for text in PROMPTS:
        every.append(tried(explainer, text, draw))
        print(f"{name}: {len(every)} of {len(PROMPTS)}", file=sys.stderr)
    print(f"{name}, {len(every)} prompts")
    print(
        "| units | their relevance | the score falls by | in size | matched: relevance | falls by | in size |"
    )
    print("|---|---|---|---|---|---|---|")
    for count in COUNTS:
        columns = [
            spread([numbers[group, count][which] for numbers in every])
            for group in ("strongest", "matched")
            for which in range(3)
        ]
        print(f"| {count} | {' | '.join(columns)} |")
        ratio = mean(numbers["matched", count][3] / numbers["strongest", count][3] for numbers in every)
        larger = sum(n["strongest", count][2] > n["matched", count][2] for n in every)
        print(f"  matched write {ratio:.2f} of it; the strongest do more in {larger} of {len(every)}")
    pairs = torch.tensor([numbers["strongest", count][:2] for numbers in every for count in COUNTS])
    same = sum((r > 0) == (c > 0) for r, c in pairs.tolist())
    print(f"the same sign: {same} of {len(pairs)}; correlation {float(torch.corrcoef(pairs.T)[0, 1]):.2f}")
    for text, numbers in zip(PROMPTS, every, strict=True):
        cells = ", ".join(f"{r:+.2f} / {c:+.2f}" for r, c, *_ in (numbers["strongest", n] for n in COUNTS))
        print(f"  {text}: {cells}")


def spread(values: list[float]) -> str:
    """The mean and its standard error."""
    return f"{mean(values):+.3f} ± {stdev(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    for model in sys.argv[1:] or ["smollm2", "gemma-3-270m"]:
        main(model)
