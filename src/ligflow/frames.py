"""Tokens of a recording: at what time each one begins."""

from collections.abc import Mapping

from torch import Tensor

from ligflow.tokens import Tokens

RATE = 16_000  # samples a second
HOP = 0.01  # seconds from one column of mel features to the next


def seconds_of(inputs: Mapping[str, Tensor]) -> float | None:
    """How long the recording is; None for inputs that are no sound.

    Waveforms (`input_values`) are taken to have 16,000 samples a second, mel features (`input_features`) one
    column every 10 ms, as the speech models of transformers have; of their two axes the longer is time.
    """
    wave, mel = inputs.get("input_values"), inputs.get("input_features")
    if wave is not None and wave.ndim == 2:
        return wave.shape[1] / RATE
    return max(mel.shape[1:]) * HOP if mel is not None and mel.ndim == 3 else None


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
