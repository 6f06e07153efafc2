"""SmolLM2 in torchao's int8 against float32: how much relevance moves. Needs torchao.

PYTHONPATH=.venv/torchao python docs/scripts/quantised.py     (after make torchao)
"""

from pathlib import Path

import torch
from blocks import put

from ligflow import Explainer, Prediction
from ligflow.corpus.reports.markdown import table
from ligflow.explainer.pretrained import load_whole

PAGE = Path(__file__).parents[1] / "how-to" / "devices.md"
BASE = "embedded:smollm2"
ASKED = {
    "The capital of France is": " Paris", "Two plus two is": " four", "The opposite of hot is": " cold",
}  # fmt: skip


def explained(int8: bool) -> list[Prediction]:
    """Why each answer, by the model in float32 or with the matrices of its layers in 8 bits."""
    loaded = load_whole(BASE, unembedding=True)
    if int8:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        def of_layers(module: torch.nn.Module, name: str) -> bool:
            return isinstance(module, torch.nn.Linear) and "layers" in name

        quantize_(loaded.whole, Int8WeightOnlyConfig(), filter_fn=of_layers)
    explainer = Explainer(loaded.whole, loaded.tokenizer)
    return [explainer.explain_prediction(text, answer, progress=False) for text, answer in ASKED.items()]


def row(text: str, answer: str, plain: Prediction, rounded: Prediction) -> list[str]:
    moved = (rounded.relevance - plain.relevance).abs()
    strongest = int(plain.relevance.abs().argmax())
    return [
        f"{text} → {answer.strip()}",
        f"{float(plain.value):.3f}",
        f"{float(rounded.value):.3f}",
        f"{plain.tokens[strongest].strip()} {float(plain.relevance[strongest]):+.2f}",
        f"{float(rounded.relevance[strongest]):+.2f}",
        f"{float(moved.max()):.2f}",
        f"{float(moved.sum() / plain.scale):.1%}",
    ]


def main() -> None:
    both = explained(False), explained(True)
    columns = [
        "text → answer", "log-probability, float32", "int8", "strongest word, float32", "int8",
        "largest change of a word", "of all relevance",
    ]  # fmt: skip
    rows = [row(text, answer, *each) for (text, answer), *each in zip(ASKED.items(), *both, strict=True)]
    put(PAGE, {"int8": table(columns, rows)})


if __name__ == "__main__":
    main()
