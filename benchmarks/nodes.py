"""What heads and MLPs are worth: relevance and gradients beside patching them between two runs.

    python benchmarks/nodes.py [smollm2] [--prompts 8]

On questions with a contrast and a counterfactual of as many tokens (agreement, who gets what), each head and
MLP is patched at all tokens: from the counterfactual run into the real one (how much the score falls), from
the real run into the counterfactual one (how much it rises), and the mean of both. The score is the
difference of the two answers' logits. Beside relevance stand attribution patching [nanda2022], gradient x
difference in the real run and in the other, and EAP-IG [hanna2024], gradients at 5 interpolated inputs x
difference. Rows are kept beside `--out` as they come, so that an interrupted run goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from scipy.stats import bootstrap, spearmanr
from torch import Tensor, nn

import measure
from kept_rows import KeptRows
from ligflow import Explainer
from measure import Row, number, text
from question_file import MODELS, RUNS, Question, read_questions

STEPS = 5
KINDS = ("agreement", "giving")
EFFECTS = ("out of the real run", "into the other run", "mean of both")
METHODS = ("relevance", "gradient, real run", "gradient, other run", "EAP-IG inputs")
LESS = f"{METHODS[-1]} less {METHODS[0]}"
COLUMNS: measure.Columns = {
    "nodes": text("nodes"),
    "method": text("method"),
    **{effect: text(effect) for effect in EFFECTS},
    "prompts": number("prompts", "d"),
}


@dataclass
class States:
    """What heads (side by side, before the output projection) and MLPs gave in a run, by layer."""

    heads: list[Tensor] = field(default_factory=list)
    mlps: list[Tensor] = field(default_factory=list)

    def less(self, other: "States") -> "States":
        return States(
            [a - b for a, b in zip(self.heads, other.heads, strict=True)],
            [a - b for a, b in zip(self.mlps, other.mlps, strict=True)],
        )


def main(
    model: Annotated[str, typer.Argument(help="smollm2 or gemma.")] = "smollm2",
    prompts: Annotated[int, typer.Option(help="So many of the test questions, kinds in turn.")] = 8,
    runs: Annotated[Path, typer.Option(help="The folder of the run.")] = RUNS,
    out: measure.Out = None,
) -> None:
    """Correlate scores of heads and MLPs with patching."""
    place = measure.place("cpu", 1)
    out = out or measure.HERE / "results" / "prediction-faithfulness" / f"nodes-{model}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    every = read_questions(runs / model / "questions.jsonl")
    chosen = [each for each in every if each.kind in KINDS and each.counterfactual and not each.tuning][
        :prompts
    ]
    explainer = Explainer.from_pretrained(MODELS[model])
    kept = KeptRows(out.with_suffix(".rows.jsonl"), ["prompt"] * len(chosen))
    answers = []
    for each in chosen:
        of = {"model": model, "name": each.name}
        answers.append(kept.row("prompt", of, partial(correlations, explainer, each)))
    caption = (
        "Spearman's rank correlation over the nodes of a prompt: its mean over prompts, and in brackets the "
        "95% interval of the bootstrap over prompts (BCa); the last row of each kind is the difference of "
        "two methods on the same prompts."
    )
    settings = {"model": model, "prompts": [each.name for each in chosen], "steps": STEPS}
    measure.report("nodes", out, measure.machine(place), settings, table(answers), COLUMNS, caption)


def table(answers: Sequence[Mapping[str, float]]) -> list[Row]:
    """A row for each kind of node and method: means over prompts, and a row of paired differences."""
    rows = []
    for kind in ("heads", "MLPs"):
        for method in (*METHODS, LESS):
            row: Row = {"nodes": kind, "method": method, "prompts": len(answers)}
            for effect in EFFECTS:
                row[effect] = _mean([_correlation(answer, kind, method, effect) for answer in answers])
            rows.append(row)
    return rows


def _correlation(answer: Mapping[str, float], kind: str, method: str, effect: str) -> float:
    """A prompt's correlation, or the difference of two."""
    if method == LESS:
        more, less = (answer[f"{kind}/{name}/{effect}"] for name in (METHODS[-1], METHODS[0]))
        return more - less
    return answer[f"{kind}/{method}/{effect}"]


def _mean(values: Sequence[float]) -> str:
    if len(set(values)) < 3:
        return f"{np.mean(values):.2f}"
    ends = bootstrap((values,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return f"{np.mean(values):.2f} [{ends.low:.2f}, {ends.high:.2f}]"


def correlations(explainer: Explainer, question: Question) -> dict[str, float]:
    """Spearman's correlation of each method with each effect of patching, for heads and for MLPs."""
    effects, methods = patched(explainer, question), scores(explainer, question)
    return {
        f"{kind}/{method}/{effect}": float(spearmanr(values[place], truth[place]).statistic)
        for place, kind in enumerate(("heads", "MLPs"))
        for method, values in methods.items()
        for effect, truth in effects.items()
    }


Nodes = tuple[np.ndarray, np.ndarray]  # of heads, layer by layer, and of MLPs


def scores(explainer: Explainer, question: Question) -> dict[str, Nodes]:
    """What each method gives to heads and MLPs, summed over tokens."""
    model = explainer.whole.model
    assert question.counterfactual is not None
    prediction = explainer.explain_prediction(
        {"input_ids": torch.tensor([question.ids])},
        answer=question.target,
        contrast=question.contrast,
        reference=torch.tensor(question.counterfactual),
        edges=(),
    )
    layers = range(len(prediction.heads))
    relevance = (
        torch.cat([prediction.heads[layer].sum(-1) for layer in layers]).numpy(),
        torch.stack([prediction.mlps[layer].sum() for layer in layers]).numpy(),
    )
    own, other = (embedded(model, ids) for ids in (question.ids, question.counterfactual))
    difference = states(model, own).less(states(model, other))
    shares = [(step + 1) / STEPS for step in range(STEPS)]
    between = [gradients(model, question, other + share * (own - other)) for share in shares]
    return {
        "relevance": relevance,
        "gradient, real run": _products([between[-1]], difference, model),
        "gradient, other run": _products([gradients(model, question, other)], difference, model),
        "EAP-IG inputs": _products(between, difference, model),
    }


def embedded(model: Any, ids: Sequence[int]) -> Tensor:
    with torch.no_grad():
        return model.get_input_embeddings()(torch.tensor([ids]))


def score(model: Any, question: Question, inputs: Tensor) -> Tensor:
    """The difference of the answers' logits, for each of a batch of input embeddings."""
    logits = model(inputs_embeds=inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits[:, question.target] - logits[:, question.contrast]


def states(model: Any, inputs: Tensor) -> States:
    """What heads and MLPs give on input embeddings."""
    seen = States()
    with torch.no_grad(), reading(model, seen):
        model(inputs_embeds=inputs, use_cache=False, logits_to_keep=1)
    return seen


def gradients(model: Any, question: Question, inputs: Tensor) -> States:
    """The score's gradients to what heads and MLPs give, on input embeddings."""
    seen = States()
    with reading(model, seen):
        total = score(model, question, inputs.clone().requires_grad_()).sum()
    found = torch.autograd.grad(total, [*seen.heads, *seen.mlps])
    return States(list(found[: len(seen.heads)]), list(found[len(seen.heads) :]))


def patched(explainer: Explainer, question: Question) -> dict[str, Nodes]:
    """What patching each head and MLP changes, for real: a layer's nodes are a batch."""
    model = explainer.whole.model
    assert question.counterfactual is not None
    own, other = (embedded(model, ids) for ids in (question.ids, question.counterfactual))
    real, instead = states(model, own), states(model, other)
    with torch.no_grad():
        out_of = _patches(model, question, own, instead, sign=-1)
        into = _patches(model, question, other, real, sign=1)
    both = tuple((a + b) / 2 for a, b in zip(out_of, into, strict=True))
    return dict(zip(EFFECTS, (out_of, into, both), strict=True))  # type: ignore[arg-type]


def _patches(model: Any, question: Question, inputs: Tensor, source: States, sign: int) -> Nodes:
    base = float(score(model, question, inputs))
    heads, mlps = [], []
    for index, (projection, mlp) in enumerate(parts(model)):
        count, dim = _heads(model), source.heads[index].shape[-1] // _heads(model)
        batch = inputs.expand(count + 1, -1, -1)

        def put_heads(_: nn.Module, args: tuple[Tensor], index: int = index, dim: int = dim) -> tuple[Tensor]:
            put = args[0].clone()
            for head in range(len(put) - 1):
                place = slice(head * dim, (head + 1) * dim)
                put[head, :, place] = source.heads[index][0, :, place]
            return (put,)

        def put_mlp(_: nn.Module, __: Any, output: Tensor, index: int = index) -> Tensor:
            put = output.clone()
            put[-1] = source.mlps[index][0]
            return put

        with hooked(projection.register_forward_pre_hook(put_heads), mlp.register_forward_hook(put_mlp)):
            values = sign * (score(model, question, batch) - base)
        heads += values[:-1].tolist()
        mlps.append(float(values[-1]))
    return np.array(heads), np.array(mlps)


def _products(of_points: Sequence[States], difference: States, model: Any) -> Nodes:
    """The mean gradient times the difference, by node."""
    points = len(of_points)
    heads, mlps = [], []
    for index, change in enumerate(difference.heads):
        mean = sum(each.heads[index] for each in of_points) / points
        heads.append((mean * change)[0].unflatten(-1, (_heads(model), -1)).sum((0, 2)))
        mean = sum(each.mlps[index] for each in of_points) / points
        mlps.append((mean * difference.mlps[index]).sum())
    return torch.cat(heads).numpy(), torch.stack(mlps).numpy()


def _heads(model: Any) -> int:
    return model.config.num_attention_heads


def parts(model: Any) -> list[tuple[nn.Module, nn.Module]]:
    """The output projection and the MLP of each layer."""
    return [(layer.self_attn.o_proj, layer.mlp) for layer in model.model.layers]


@contextmanager
def hooked(*handles: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def reading(model: Any, seen: States) -> Iterator[None]:
    """Notes what heads and MLPs give in a run."""

    def note_heads(_: nn.Module, args: tuple[Tensor]) -> None:
        seen.heads.append(args[0])

    def note_mlp(_: nn.Module, __: Any, output: Tensor) -> None:
        seen.mlps.append(output)

    with hooked(
        *(projection.register_forward_pre_hook(note_heads) for projection, _ in parts(model)),
        *(mlp.register_forward_hook(note_mlp) for _, mlp in parts(model)),
    ):
        yield


if __name__ == "__main__":
    measure.run(main)
