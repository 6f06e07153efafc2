"""Tokens of a recording: at what time each one begins."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ligflow.inputs.tokens import Tokens

RATE = 16_000  # samples a second
HOP = 0.01  # seconds from one column of mel features to the next
_FEATURES = ("num_mel_bins", "n_mels", "input_feat_per_channel", "feature_projection_input_dim", "input_dim")


def seconds_of(config: Any, inputs: Mapping[str, Tensor]) -> float | None:
    """How long the recording is; None for inputs that are no sound.

    Waveforms (`input_values`) are taken to have 16,000 samples a second, mel features (`input_features`) one
    column every 10 ms, as the speech models of transformers have. Of their two axes that is time which does
    not have the size that the config gives to features; where that does not tell, the longer one.
    """
    wave, mel = inputs.get("input_values"), inputs.get("input_features")
    if wave is not None and wave.ndim == 2:
        return wave.shape[1] / RATE
    return _columns(config, mel) * HOP if mel is not None and mel.ndim == 3 else None


def _columns(config: Any, mel: Tensor) -> int:
    parts = (config, *(getattr(config, name, None) for name in ("encoder_config", "audio_config")))
    features = {getattr(part, name, None) for part in parts for name in _FEATURES}
    others = [size for size in mel.shape[1:] if size not in features]
    return others[0] if len(others) == 1 else max(mel.shape[1:])


def name_frames(seconds: float, count: int) -> Tokens:
    """Each frame by the time at which it begins: `0.02s`."""
    step = seconds / count
    digits = 2 if step >= 0.01 else 3
    note = (
        f"tokens are frames of {1000 * step:.0f} ms, if the sound has {RATE:,} samples a second (or mel "
        f"features every {1000 * HOP:.0f} ms)"
    )
    labels = tuple(f"{number * step:.{digits}f}s" for number in range(count))
    return Tokens(labels, (False,) * count, notes=(note,), layout={"frames": {"seconds": step}})
