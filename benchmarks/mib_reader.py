"""Circuit scores as the circuit benchmark MIB reads them, by its own code, which is not among our packages.

    git clone https://github.com/hannamw/EAP-IG eap && git -C eap checkout 7af394a
    git clone https://github.com/hannamw/MIB-circuit-track track && git -C track checkout b759df3
    python benchmarks/mib_reader.py eap track

A question with a counterfactual is explained, its scores written by `circuit_scores`, and read by both
readers: `eap.graph.Graph.from_json`, which MIB's evaluation calls, and `load_graph_from_json` of its track.
It stops where a node has another score than it was given, or where the circuits that MIB's evaluation cuts
(`apply_topn` at its shares, by node) hold other nodes than the highest of ours. Nothing is evaluated: that
takes MIB's models and data.
"""

import importlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Annotated, Any

import torch
import typer

import measure
from ligflow import Explainer
from ligflow.evaluation.circuit_scores import circuit_scores
from question_file import MODELS, RUNS, read_questions

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)  # those of MIB's evaluation
CLOSE = 1e-6  # of a score: MIB keeps them in float32


def main(
    eap: Annotated[Path, typer.Argument(help="A checkout of EAP-IG, whose graphs MIB takes.")],
    track: Annotated[Path, typer.Argument(help="A checkout of MIB's circuit track.")],
    questions: Annotated[Path, typer.Option(help="Of its questions the first of agreement is taken.")] = RUNS
    / "smollm2"
    / "questions.jsonl",
) -> None:
    """Write the scores of one prediction and have them read."""
    sys.path[:0] = [str(eap / "src"), str(track)]
    sys.modules["transformer_lens"] = without_models()
    written = scores(questions)
    given = {name: node["score"] for name, node in written["nodes"].items() if "score" in node}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "importances.json"
        file.write_text(json.dumps(written))
        readers = {
            "Graph.from_json": importlib.import_module("eap.graph").Graph.from_json,
            "load_graph_from_json": importlib.import_module(
                "MIB_circuit_track.circuit_loading"
            ).load_graph_from_json,
        }
        for name, read in readers.items():
            check(name, read(str(file)), given)


def without_models() -> ModuleType:
    """A stand-in for a TransformerLens before 4, of which a graph asks whether it was made of a model."""
    module = ModuleType("transformer_lens")
    for name in ("HookedTransformer", "HookedTransformerConfig"):
        setattr(module, name, type(name, (), {}))
    return module


def scores(questions: Path) -> dict[str, Any]:
    """What is written of one prediction of SmolLM2, its counterfactual the reference."""
    asked = next(
        each for each in read_questions(questions) if each.kind == "agreement" and each.counterfactual
    )
    explainer = Explainer.from_pretrained(MODELS["smollm2"])
    prediction = explainer.explain_prediction(
        {"input_ids": torch.tensor([asked.ids])},
        answer=asked.target, contrast=asked.contrast, reference=torch.tensor(asked.counterfactual), edges=(),
    )  # fmt: skip
    return circuit_scores(prediction, explainer.model.config.hidden_size)


def check(name: str, graph: Any, given: dict[str, float]) -> None:
    """Stops where what was read is other than what was given."""
    read = {node: float(graph.nodes[node].score) for node in given}
    off = max(abs(read[node] - given[node]) for node in given)
    if off > CLOSE * max(map(abs, given.values())):
        raise SystemExit(f"{name}: a score is {off:.1e} off.")
    unscored = sorted(set(graph.nodes) - set(given))
    if unscored != ["input", "logits"]:
        raise SystemExit(f"{name}: without a score: {', '.join(unscored)}.")
    ranked = sorted(given, key=lambda node: -read[node])
    for share in SHARES:
        count = int(share * len(given))
        graph.apply_topn(count, absolute=False, level="node", prune=False)
        kept = {node for node in given if graph.nodes[node].in_graph}
        if kept != set(ranked[:count]):
            raise SystemExit(f"{name}: {share:.1%} of the nodes are others than our highest.")
    measure.note(f"{name}: {len(given)} nodes, largest difference {off:.1e}; {len(SHARES)} circuits as ours")


if __name__ == "__main__":
    measure.run(main)
