"""A small sparse autoencoder of one layer of SmolLM2, trained with SAELens, in 8 minutes on one core.

    pip install sae-lens==6.54.12
    python examples/train_dictionary.py FOLDER

What it learns from is what SmolLM2 writes itself, and Python's own documentation. It writes a folder in the
format of SAELens, which `ligflow why ... --features FOLDER` reads.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import torch
from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file
from torch import Tensor

from ligflow import Explainer

LAYER, FEATURES, ACTIVE = 20, 256, 16
LENGTH, READ, WRITTEN = 96, 320, 192  # tokens of a text, texts that are read, texts that the model writes
BATCH, STEPS = 1024, 3000
BEGINNINGS = (
    "The capital of", "In the year", "The girl and her brother", "Water is", "She said that", "My friend",
    "Dear Anna,", "1, 2, 3,", "Question: What is", "The most important city in", "Once upon a time",
    "The film was", "def ", "A man walked into", "Monday, Tuesday,", "The history of",
)  # fmt: skip


def texts(explainer: Explainer) -> Tensor:
    """Ids of texts of as many tokens: parts of Python's documentation, and what the model writes."""
    tokenizer, model = explainer.tokenizer, explainer.whole.model
    ids = torch.tensor(tokenizer("\n".join(topics.values()))["input_ids"])
    places = torch.linspace(0, len(ids) - LENGTH, READ).long().tolist()
    read = torch.stack([ids[place : place + LENGTH] for place in places])
    written = []
    for number in range(0, WRITTEN, len(BEGINNINGS) * 4):
        torch.manual_seed(number)
        begun = tokenizer([*BEGINNINGS] * 4, return_tensors="pt", padding=True, padding_side="left")
        made = model.generate(**begun, do_sample=True, top_k=50, min_new_tokens=LENGTH, max_new_tokens=LENGTH)
        written.append(made[:, -LENGTH:])
    return torch.cat([read, *written])


@torch.no_grad()
def activations(explainer: Explainer, ids: Tensor) -> Tensor:
    """What layer `LAYER` gives at all tokens but the first, which decoders rest attention on."""
    given: list[Tensor] = []
    layer = explainer.model.layers[LAYER]

    def note(_module: object, _args: object, output: Tensor | tuple[Tensor, ...]) -> None:
        given.append((output if isinstance(output, Tensor) else output[0])[:, 1:].flatten(0, 1))

    handle = layer.register_forward_hook(note)
    for part in ids.split(32):
        explainer.model(part)
    handle.remove()
    return torch.cat(given)


def batches(vectors: Tensor) -> Iterator[Tensor]:
    """Random rows, again and again."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield vectors[torch.randint(len(vectors), (BATCH,), generator=generator)]


def train(vectors: Tensor) -> TopKTrainingSAE:
    """A top-k autoencoder of these vectors."""
    about = SAEMetadata(
        model_name="SmolLM2-135M-Instruct", hook_name=f"blocks.{LAYER}.hook_resid_post",
        hf_hook_name=f"model.layers.{LAYER}",
    )  # fmt: skip
    torch.manual_seed(0)
    coder = TopKTrainingSAE(
        TopKTrainingSAEConfig(
            d_in=vectors.shape[-1],
            d_sae=FEATURES,
            k=ACTIVE,
            metadata=about,
            normalize_activations="expected_average_only_in",
        )
    )
    settings = SAETrainerConfig(
        total_training_samples=BATCH * STEPS, train_batch_size_samples=BATCH, lr=1e-3,
        lr_end=1e-4,
        lr_decay_steps=STEPS // 4, n_batches_for_norm_estimate=100, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    coder.b_dec.data = vectors.mean(0) * vectors.shape[-1] ** 0.5 / vectors.norm(dim=-1).mean()
    return SAETrainer(settings, coder, batches(vectors)).fit()


def main(folder: Path) -> None:
    """Trains, says how much is explained, and writes the folder in half precision."""
    torch.set_num_threads(1)
    explainer = Explainer.from_pretrained("embedded:smollm2")
    vectors = activations(explainer, texts(explainer))
    coder = train(vectors)
    with torch.no_grad():
        rest = vectors - coder.decode(coder.encode(vectors))
    left = float(rest.square().sum() / (vectors - vectors.mean(0)).square().sum())
    print(f"{len(vectors)} vectors; {1 - left:.0%} of their variance is explained")
    coder.cfg.metadata.fraction_explained = round(1 - left, 3)
    weights, _ = coder.save_inference_model(folder)
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
