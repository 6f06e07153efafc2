"""What traces say of the input, beside the chain of a prediction and beside replacing tokens for real.

    python benchmarks/carried_trace.py [--models minilm,smollm2] [--sentences 8] [--tiny]

What is explained is by how much the state of one token after the last layer moves along its whole move,
`û·(z - z°)`, from a run in which other words stand ([MASK], or full stops). The trace with carried starts
shares out that amount, and so does the chain of path-averaged Jacobians, with vectors in place of norms.
*Removal* is the mean of putting one token of the reference into the input, and one of the input into the
reference. Traces whose starts are not carried have no such amount: their shares of it are taken. The control
gives all to the token itself. One target a sentence, its last word. Ranks are over the replaced tokens;
distances are `Σ|R - R'|` in parts of the amount. Means over sentences.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas
import torch
from torch import Tensor, nn

import measure
from ligflow import Explainer
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import Sentence
from ligflow.results.tracing import Trace, trace
from measure import Row, note, number, text

COLUMNS: measure.Columns = {
    "model": text("model"),
    "what": text("what"),
    "sentences": number("sentences", "d"),
    "rank: chain": number("rank_chain", ".2f"),
    "removal": number("rank_removal", ".2f"),
    "distance: chain": number("distance_chain", ".2f"),
    "of removal": number("distance_removal", ".2f"),
    "half way, rank: chain": number("rank_half", ".2f"),
    "half way, distance": number("distance_half", ".2f"),
    "sum": number("sum", ".4f"),
}
MODELS = {"minilm": "embedded:minilm", "smollm2": "embedded:smollm2"}
WORDS = range(6, 11)


def main(
    models: str = "minilm,smollm2", sentences: int = 8, tiny: measure.Tiny = False, out: measure.Out = None
) -> None:
    """Traces beside the chain and beside removal, on sentences of the shipped corpus."""
    rows: list[Row] = []
    for name in ["minilm"] if tiny else models.split(","):
        subject, found = Subject(name), list[list[Row]]()
        for told in islice(_texts(), 1 if tiny else sentences):
            note(f"{name}: {told}")
            found.append(subject.rows(told))
        rows += [_mean(name, [each[place] for each in found]) for place in range(len(found[0]))]
    settings = {"sentences": sentences, "tiny": tiny}
    said = "Rank correlations, and distances in parts of the amount; last the chain, beside removal."
    measure.report(
        "carried_trace", out, measure.machine(measure.place("cpu", 1)), settings, rows, COLUMNS, said
    )


def _texts() -> Iterator[str]:
    every = (one.text for one in read("embedded:sentences") if isinstance(one, Sentence))
    return (told for told in every if len(told.split()) in WORDS)


def _mean(name: str, rows: list[Row]) -> Row:
    numbers = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0] if key != "what"}
    return {"model": name, "what": rows[0]["what"], "sentences": len(rows), **numbers}


class Subject:
    """A model whose output is the state after its last layer: a final norm is taken off."""

    def __init__(self, name: str) -> None:
        whole = Explainer.from_pretrained(MODELS[name])
        model = whole.model
        if hasattr(model, "norm"):
            model.norm = nn.Identity()
        self.model, self.tokenizer = model, whole.tokenizer
        self.explainer = Explainer(model, whole.tokenizer)

    def rows(self, told: str) -> list[Row]:
        """A row for each trace, and one of the chain itself."""
        runs = Runs(self.model, self.tokenizer, told)
        chain = self.explainer.explain_prediction(
            told, score=runs.score, reference=runs.reference_embeddings()
        )
        removed, amount = runs.removal(), chain.change
        half, words = (
            chain.by_depth.shape[0] // 2,
            runs.words,
        )  # cuts are the embeddings, layers, and the head
        found: list[Row] = []
        for what, followed in self.traces(told, runs):
            amounts = followed.relevance * (amount if followed.amount is None else followed.amount)
            middle = amounts[len(followed.layers) + 1 - half]
            row = _beside(amounts[-1][words], chain.relevance[words], removed, amount)
            row |= {"rank_half": rank(middle, chain.by_depth[half])}
            row |= {"distance_half": float((middle - chain.by_depth[half]).abs().sum()) / amount}
            found.append({"what": what, **row, "sum": float(amounts[-1].sum()) / amount})
        alone = torch.zeros(len(words), dtype=torch.float64)
        alone[words.index(runs.place)] = amount
        row = _beside(alone, chain.relevance[words], removed, amount)
        itself = torch.zeros_like(chain.by_depth[half])
        itself[runs.place] = amount
        row |= {"rank_half": rank(itself, chain.by_depth[half])}
        row |= {"distance_half": float((itself - chain.by_depth[half]).abs().sum()) / amount, "sum": 1.0}
        found.append({"what": "all at the token itself (control)", **row})
        own = chain.relevance[words]
        row = _beside(own, own, removed, amount) | {"rank_half": 1.0, "distance_half": 0.0}
        return [*found, {"what": "the chain itself", **row, "sum": float(chain.relevance.sum()) / amount}]

    def traces(self, told: str, runs: "Runs") -> Iterator[tuple[str, Trace]]:
        """Traces of the target, with and without carried starts."""
        start, matched = runs.start, {"mlp_baseline": "matched"}
        kinds = {
            "carried, layer": {"layer_baseline": start, "carried": True},
            "carried, through the heads": {"att_baseline": start, "carried": True, **matched},
            "mean, layer": {"layer_baseline": "mean"},
            "mean, through the heads": {"att_baseline": "mean", **matched},
        }
        for what, options in kinds.items():
            routes, which = (("z2z",), "z2z") if "layer" in what else (("z2u", "u2z"), "composed")
            yield what, trace(self.explainer.explain(told, routes=routes, **options), runs.place, which=which)


class Runs:
    """The input, the reference of as many tokens, and runs of what is between."""

    def __init__(self, model: Any, tokenizer: Any, told: str) -> None:
        self.model, encoded = model, tokenizer(told, return_special_tokens_mask=True)
        self.ids = torch.tensor([encoded["input_ids"]])
        kept = torch.tensor(encoded["special_tokens_mask"]).bool()
        if not bool(kept.any()):
            kept[0] = True  # the sink of a decoder
        other = tokenizer.mask_token_id or tokenizer(".")["input_ids"][0]
        self.other = torch.where(kept, self.ids, other)
        self.words = (self.ids != self.other)[0].nonzero()[:, 0].tolist()
        self.place = self.words[-2]  # the last word; a full stop follows
        with torch.no_grad():
            self.start = model(input_ids=self.other, output_hidden_states=True).hidden_states[0][0]
        self.along = torch.ones(())
        move = self.state(self.ids) - self.state(self.other)
        self.along = move / move.norm()

    def state(self, ids: Tensor) -> Tensor:
        """The target's state after the last layer."""
        with torch.no_grad():
            return self.model(input_ids=ids).last_hidden_state[0, self.place].double()

    def score(self, outputs: Any) -> Tensor:
        """`û·z`."""
        return outputs.last_hidden_state[:, self.place] @ self.along.to(outputs.last_hidden_state)

    def reference_embeddings(self) -> Tensor:
        """As the input embeddings give them."""
        with torch.no_grad():
            return self.model.get_input_embeddings()(self.other)[0]

    def removal(self) -> Tensor:
        """By how much each replaced token alone moves the score, from the input and from the reference."""
        ends = [float(self.state(ids) @ self.along) for ids in (self.ids, self.other)]
        found = []
        for at in self.words:
            without, alone = self.ids.clone(), self.other.clone()
            without[0, at], alone[0, at] = self.other[0, at], self.ids[0, at]
            gone, back = (float(self.state(ids) @ self.along) for ids in (without, alone))
            found.append((ends[0] - gone + back - ends[1]) / 2)
        return torch.tensor(found, dtype=torch.float64)


def _beside(own: Tensor, chain: Tensor, removed: Tensor, amount: float) -> Row:
    return {
        "rank_chain": rank(own, chain),
        "rank_removal": rank(own, removed),
        "distance_chain": float((own - chain).abs().sum()) / amount,
        "distance_removal": float((own - removed).abs().sum()) / amount,
    }


def rank(own: Tensor, other: Tensor) -> float:
    """Spearman's correlation."""
    return float(pandas.Series(own.numpy()).rank().corr(pandas.Series(other.numpy()).rank()))


if __name__ == "__main__":
    measure.run(main)
