"""Inputs that a tiny model of any kind runs on: a few shapes for every name, tried in turn."""

import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

TOKENS, FRAMES, SAMPLES = 6, 3, 4000
GIVEN = json.loads(Path(__file__).with_name("inputs.json").read_text(encoding="utf-8"))


def candidates(model: PreTrainedModel) -> Iterator[dict[str, Tensor]]:
    """Inputs by name: the main one and what `forward` requires; then with what it may take besides.

    A class of models in `inputs.json` has those, and no others.
    """
    if (own := given(model)) is not None:
        yield own
        return
    parameters = inspect.signature(model.forward).parameters
    main = getattr(model, "main_input_name", "input_ids")
    main = main if isinstance(main, str) and main in parameters else next(iter(parameters))
    needed = [name for name, one in parameters.items() if one.default is one.empty and one.kind in (0, 1)]
    first = [("decoder_input_ids",)] if model.config.is_encoder_decoder else []
    for more in (*first, (), *_MORE):
        if set(more) <= set(parameters):
            yield from _combinations(model, [main, *needed, *more])
    if "inputs_embeds" in parameters:
        yield from _combinations(model, ["inputs_embeds", *(name for name in needed if name != main)])


def given(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """The inputs that `inputs.json` has for a class of models."""
    said = GIVEN.get(type(model).__name__)
    return None if said is None else {name: _made(one) for name, one in said.items()}


_MORE: tuple[tuple[str, ...], ...] = (
    ("decoder_input_ids",),
    ("bbox",),
    ("encoder_hidden_states",),
    ("grid_thw",),
    ("image_grid_thw",),
    ("input_features_mask",),
    ("feature_lens",),
    ("attention_mask",),
    ("pixel_values",),
    ("visual_feats", "visual_pos"),
    ("bbox", "decoder_input_ids"),
    ("pixel_values", "image_attention_mask"),
    ("mask",),
    ("merge_sizes",),
    ("target_sizes",),
    ("tgt_sizes",),
    ("past_time_features", "past_observed_mask", "future_values", "future_time_features"),
    ("actions", "rewards", "returns_to_go", "timesteps", "attention_mask"),
)


def _combinations(model: PreTrainedModel, names: list[str]) -> Iterator[dict[str, Tensor]]:
    values = {name: _values(name, model) for name in dict.fromkeys(names)}
    if all(values.values()):
        for chosen in itertools.product(*values.values()):
            yield dict(zip(values, chosen, strict=True))


def _values(name: str, model: PreTrainedModel) -> list[Tensor]:
    """Values to try for an input."""
    config: Any = model.config
    makers = {
        "input_ids": lambda: [_ids(config)],
        "decoder_input_ids": lambda: [_ids(config)],
        "inputs_embeds": lambda: [_normal(1, TOKENS, _size(config))],
        "encoder_hidden_states": lambda: [_normal(1, TOKENS, _size(config))],
        "hidden_states": lambda: [_normal(1, TOKENS, _size(config)), *_patches(config), _normal(1, 64, 80)],
        "query_embeds": lambda: [_normal(1, TOKENS, _size(config))],
        "pixel_values": lambda: _images(config),
        "image": lambda: _images(config)[:1],
        "image_mask": lambda: [torch.ones(1, TOKENS, dtype=torch.long)],
        "pixel_values_videos": lambda: _images(config)[1:],
        "input_features": lambda: _spectra(config),
        "input_values": lambda: [_normal(1, SAMPLES), _normal(1, 1, SAMPLES), *_spectra(config)],
        "bbox": lambda: [torch.zeros(1, TOKENS, 4, dtype=torch.long), torch.rand(1, TOKENS, 4)],
        "visual_feats": lambda: [_normal(1, 4, config.visual_feat_dim)],
        "visual_pos": lambda: [_normal(1, 4, 4)],
        "image_attention_mask": lambda: [torch.ones(1, TOKENS, 1, dtype=torch.long)],
        "context": lambda: [_normal(1, TOKENS, _size(config))],
        "mask": lambda: [torch.ones(1, 64, dtype=torch.bool)],
        "audio_mel": lambda: _spectra(config),
        "audio_mel_mask": lambda: [torch.zeros(1, 64, dtype=torch.bool)],
        "pixel_position_ids": lambda: [_corners()],
        "aspect_ratio_ids": lambda: [torch.ones(1, 1, dtype=torch.long)],
        "aspect_ratio_mask": lambda: [torch.ones(1, 1, 4, dtype=torch.long)],
        "merge_sizes": lambda: [torch.tensor([1])],
        "target_sizes": lambda: [torch.tensor([[4, 2]])],
        "tgt_sizes": lambda: [torch.tensor([[4, 2]])],
        "flattened_patches": lambda: [
            _normal(1, 8, getattr(config, "vision_config", config).patch_embed_hidden_size + 2).abs()
        ],
        "past_values": lambda: [_normal(1, 10), _normal(1, getattr(config, "context_length", 16), 2)],
        "past_time_features": lambda: [_normal(1, 10, 1)],
        "past_observed_mask": lambda: [torch.ones(1, 10)],
        "future_values": lambda: [_normal(1, 4)],
        "future_time_features": lambda: [_normal(1, 4, 1)],
        "states": lambda: [_normal(1, TOKENS, config.state_dim)],
        "actions": lambda: [_normal(1, TOKENS, config.act_dim)],
        "rewards": lambda: [_normal(1, TOKENS, 1)],
        "returns_to_go": lambda: [_normal(1, TOKENS, 1)],
        "timesteps": lambda: [torch.arange(TOKENS)[None]],
        "grid_thw": lambda: [torch.tensor([[1, 4, 2]])],
        "image_grid_thw": lambda: [torch.tensor([[1, 4, 2]])],
        "spatial_shapes": lambda: [torch.tensor([[4, 2]])],
        "pixel_attention_mask": lambda: [torch.ones(1, 8, dtype=torch.long)],
        "input_features_mask": lambda: [
            torch.ones(1, 64, dtype=torch.long),
            torch.ones(1, 64, dtype=torch.bool),
        ],
        "feature_lens": lambda: [torch.tensor([64])],
        "is_longer": lambda: [torch.zeros(1, 1, dtype=torch.bool)],
        "attention_mask": lambda: [torch.ones(1, TOKENS, dtype=torch.long)],
        "position_ids": lambda: [torch.arange(TOKENS)[None]],
    }
    try:
        return makers[name]() if name in makers else []
    except (AttributeError, TypeError):  # a config without the sizes that such a value has
        return []


def _made(said: Mapping[str, Any]) -> Tensor:
    """A value of inputs.json: `normal`, `ids` or `ones` of a shape, or the numbers (`values`) themselves."""
    ((kind, value),) = said.items()
    if kind == "ids":
        return torch.randint(3, 40, value, generator=torch.Generator().manual_seed(0))
    makers = {"normal": lambda: _normal(*value), "ones": lambda: torch.ones(value, dtype=torch.long)}
    return makers.get(kind, lambda: torch.tensor(value))()


def _corners() -> Tensor:
    """The places of eight patches, four wide."""
    places = torch.arange(8)
    return torch.stack([places % 4, places // 4], dim=-1)[None]


def _ids(config: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, 40, (1, TOKENS), generator=generator)


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _size(config: Any) -> int:
    names = ("hidden_size", "d_model", "n_embd", "embed_dim", "dim")
    return next((getattr(config, name) for name in names if isinstance(getattr(config, name, None), int)), 32)


def _images(config: Any) -> list[Tensor]:
    """One image as an image, as a video, and as a row of flat patches."""
    parts = ("vision_config", "encoder", "backbone_config")
    vision = next((found for name in parts if (found := getattr(config, name, None)) is not None), config)
    size = getattr(vision, "image_size", 16) or 16
    high, wide = size if isinstance(size, list | tuple) else (size, size)
    channels = getattr(vision, "num_channels", 3) or 3
    frames = getattr(vision, "num_frames", FRAMES) or FRAMES
    return [
        _normal(1, channels, high, wide),
        _normal(1, frames, channels, high, wide),
        _normal(1, 1, channels, high, wide),
        _normal(1, 1, 4, channels, high, wide),
        _normal(frames, channels, high, wide),
        *_patches(vision),
    ]


def _patches(config: Any) -> list[Tensor]:
    """Eight patches, flat, as small images, or side by side."""
    patch, frames = getattr(config, "patch_size", 4), getattr(config, "temporal_patch_size", 1) or 1
    patch = patch if isinstance(patch, int) else patch[-1]
    channels = getattr(config, "in_channels", None) or getattr(config, "num_channels", 3) or 3
    width = channels * patch * patch
    return [
        _normal(8, width * frames),
        _normal(1, 8, width * frames),
        _normal(1, 8, channels, patch, patch),
        _normal(1, channels, patch, patch * 8),
    ]


def _spectra(config: Any) -> list[Tensor]:
    """Mel features, bins first and frames first; a model with learned positions fixes the frames."""
    names = (
        "num_mel_bins",
        "n_mels",
        "mel_bins",
        "input_feat_per_channel",
        "feature_size",
        "num_mel_channels",
        "input_feat_size",
        "input_channels",
        "input_dim",
        "feature_projection_input_dim",
        "input_size",
    )
    audio = getattr(config, "audio_config", None) or getattr(config, "encoder_config", None) or config
    audio = audio if not isinstance(audio, dict) else config
    bins = next((getattr(audio, name) for name in names if isinstance(getattr(audio, name, None), int)), 80)
    frames = 2 * (getattr(audio, "max_source_positions", None) or 32)
    return [
        _normal(1, bins, frames), _normal(1, frames, bins),
        _normal(1, getattr(audio, "max_length", frames), bins),
        _normal(1, bins, 64), _normal(1, 64, bins), _normal(1, 1, 64, bins), _normal(bins, 64),
        _normal(1, 64, 128),
    ]  # fmt: skip


def runs(model: PreTrainedModel) -> tuple[dict[str, Tensor] | None, str]:
    """The first inputs that the model runs on, or None and the last reason why not."""
    reason = ""
    for inputs in candidates(model):
        try:
            with torch.no_grad():
                model(**inputs)
            return inputs, ""
        except Exception as error:  # any model's own code
            reason = reason or f"{type(error).__name__}: {error}"
    needed = ", ".join(list(inspect.signature(model.forward).parameters)[:3])
    return None, reason or f"no inputs are known for its forward({needed}, ...)"
