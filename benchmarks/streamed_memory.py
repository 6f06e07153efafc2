"""Peak memory of a bfloat16 model, streamed and not: its own size, and what an explanation adds.

    python benchmarks/streamed_memory.py

A random Llama of 12 layers on 8 tokens, each of four explanations in a process of its own; Linux.
"""

import subprocess
import sys

WORKER = """
import sys, warnings
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from ligflow import Explainer
from ligflow.devices.peak_memory import peak_memory
warnings.simplefilter("ignore")
IDS = {"input_ids": torch.tensor([[3, 9, 4, 17, 5, 8, 11, 2]])}
what, options = sys.argv[1], {"device": "cpu", "streamed": True} if sys.argv[2] == "streamed" else {}

def model(width, layers, vocabulary):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=16, vocab_size=vocabulary,
        num_key_value_heads=16, intermediate_size=width * 11 // 4, max_position_embeddings=64,
    )
    torch.set_default_dtype(torch.bfloat16)
    made = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    return made

def ask(explainer):
    if what == "explain":
        explainer.explain(IDS, quadrature="gauss-legendre:4")
    else:
        explainer.explain_prediction(IDS, answer=5, edges=(), reference="mean", points=3)

cpu = torch.device("cpu")
ask(Explainer(model(64, 2, 64), **options))  # what is loaded and compiled once
with peak_memory(cpu) as before:
    pass
with peak_memory(cpu) as peak:
    large = model(1024, 12, 1000)
    own = sum(weight.nbytes for weight in large.parameters())
    ask(Explainer(large, **options))
added = peak.process - before.process
print(f"{what}, {sys.argv[2]}: {added / 1e6:.0f} MB, the model {own / 1e6:.0f} MB of it")
"""


def main() -> None:
    """Print a line for each."""
    for what in ("explain", "explain_prediction"):
        for how in ("whole", "streamed"):
            subprocess.run([sys.executable, "-c", WORKER, what, how], check=True)


if __name__ == "__main__":
    main()
