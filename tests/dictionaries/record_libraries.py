"""Small dictionaries as SAELens and sparsify save them, with what their own encoders and decoders give.

    pip install sae-lens==6.54.12 eai-sparsify==1.3.3
    python tests/dictionaries/record_libraries.py

It writes the folders beside this file that `test_read.py` reads.
"""

import json
from pathlib import Path
from typing import Any

import torch
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from sae_lens.saes.abstopk_sae import AbsTopKSAE, AbsTopKSAEConfig
from sae_lens.saes.sae import SAE, SAEMetadata
from sae_lens.saes.transcoder import (
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    JumpReLUTranscoder,
    JumpReLUTranscoderConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    Transcoder,
    TranscoderConfig,
)
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig
from torch import nn

HERE = Path(__file__).parent / "recorded"
WIDTH, OUT, FEATURES, TOKENS = 12, 10, 24, 5
PLACE = {"model_name": "gpt2-small", "hook_name": "blocks.1.hook_resid_post"}
PLACES = {**PLACE, "hook_name": "blocks.1.ln2.hook_normalized", "hook_name_out": "blocks.1.hook_mlp_out"}
CODERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "standard": (StandardSAE, StandardSAEConfig, {}),
    "standard_uncentred": (StandardSAE, StandardSAEConfig, {"apply_b_dec_to_input": False}),
    "standard_norm": (StandardSAE, StandardSAEConfig, {"normalize_activations": "constant_norm_rescale"}),
    "standard_layer": (StandardSAE, StandardSAEConfig, {"normalize_activations": "layer_norm"}),
    "gated": (GatedSAE, GatedSAEConfig, {}),
    "jump": (JumpReLUSAE, JumpReLUSAEConfig, {}),
    "top_k": (TopKSAE, TopKSAEConfig, {"k": 4}),
    "top_k_rescaled": (TopKSAE, TopKSAEConfig, {"k": 4, "rescale_acts_by_decoder_norm": True}),
    "top_k_by_size": (AbsTopKSAE, AbsTopKSAEConfig, {"k": 4}),
    "transcoder": (Transcoder, TranscoderConfig, {"d_out": OUT}),
    "transcoder_norm": (
        Transcoder, TranscoderConfig, {"d_out": OUT, "normalize_activations": "constant_norm_rescale"},
    ),
    "skip": (SkipTranscoder, SkipTranscoderConfig, {"d_out": OUT}),
    "jump_transcoder": (JumpReLUTranscoder, JumpReLUTranscoderConfig, {"d_out": OUT}),
    "jump_skip": (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig, {"d_out": OUT}),
}  # fmt: skip
SPARSE: dict[str, SparseCoderConfig] = {
    "layers.1": SparseCoderConfig(num_latents=FEATURES, k=4),
    "layers.2": SparseCoderConfig(num_latents=FEATURES, k=4, activation="groupmax"),
    "layers.1.mlp": SparseCoderConfig(num_latents=FEATURES, k=4, transcode=True, skip_connection=True),
}


def with_noise(module: nn.Module) -> None:
    """Every parameter random, thresholds above 0."""
    for name, parameter in module.named_parameters():
        noise = torch.randn_like(parameter) * 0.4
        parameter.data = noise.abs() if name == "threshold" else noise


def saved(name: str, coder: SAE, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Saves one of SAELens; what it gives."""
    coder.save_model(HERE / name)
    forget_device(HERE / name)
    return outputs(name, coder.encode(vectors), coder(vectors))


def outputs(name: str, activations: torch.Tensor, given: torch.Tensor) -> dict[str, torch.Tensor]:
    """Activations and what the decoder gives, by name."""
    return {f"{name}/activations": activations.detach().clone(), f"{name}/given": given.detach().clone()}


def batch_top_k(vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Batch-top-k as it is saved once it is trained: with a threshold."""
    config = BatchTopKTrainingSAEConfig(d_in=WIDTH, d_sae=FEATURES, k=4, metadata=SAEMetadata(**PLACE))
    trained = BatchTopKTrainingSAE(config)
    with_noise(trained)
    trained.topk_threshold.fill_(0.3)
    trained.save_inference_model(HERE / "batch_top_k")
    forget_device(HERE / "batch_top_k")
    coder = SAE.load_from_disk(HERE / "batch_top_k")
    return outputs("batch_top_k", coder.encode(vectors), coder(vectors))


def of_version_5(vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    """The folder of top-k as SAELens wrote it before its version 6."""
    coder = SAE.load_from_disk(HERE / "top_k")
    folder = HERE / "version_5"
    coder.save_model(folder)
    header = {
        "architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4},
        "d_in": WIDTH, "d_sae": FEATURES, "dtype": "torch.float32", "model_name": "gpt2-small",
        "hook_name": "blocks.1.hook_resid_post", "hook_layer": 1, "hook_head_index": None,
        "apply_b_dec_to_input": True, "finetuning_scaling_factor": False, "normalize_activations": "none",
        "sae_lens_training_version": "4.1.0",
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(header))
    again = SAE.load_from_disk(folder)
    return outputs("version_5", again.encode(vectors), again(vectors))


def sparse(name: str, config: SparseCoderConfig, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Saves one of sparsify; what it gives."""
    coder = SparseCoder(WIDTH, config)
    with_noise(coder)
    coder.save_to_disk(HERE / "sparsify" / name)
    encoded = coder.encode(vectors)
    activations = torch.zeros(TOKENS, FEATURES).scatter(-1, encoded.top_indices, encoded.top_acts)
    return outputs(f"sparsify/{name}", activations, coder(vectors).sae_out)


def forget_device(folder: Path) -> None:
    """Leaves out of a header what says nothing of the dictionary."""
    header = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({k: v for k, v in header.items() if k != "device"}) + "\n")


def main() -> None:
    """Writes all folders, and their numbers."""
    torch.manual_seed(0)
    vectors = torch.randn(TOKENS, WIDTH)
    numbers = {"vectors": vectors}
    for name, (kind, config, settings) in CODERS.items():
        about = SAEMetadata(**(PLACES if "d_out" in settings else PLACE))
        more = {"apply_b_dec_to_input": False} if "d_out" in settings else {}
        coder = kind(config(d_in=WIDTH, d_sae=FEATURES, metadata=about, **settings, **more))
        with_noise(coder)
        numbers |= saved(name, coder, vectors)
    numbers |= batch_top_k(vectors) | of_version_5(vectors)
    for name, config in SPARSE.items():
        numbers |= sparse(name, config, vectors)
    (HERE / "sparsify" / "config.json").write_text(json.dumps({"model": "HuggingFaceTB/SmolLM2-135M"}))
    save_file(numbers, HERE / "numbers.safetensors")
    assert load_file(HERE / "numbers.safetensors").keys() == numbers.keys()


if __name__ == "__main__":
    main()
