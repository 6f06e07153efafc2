"""A dictionary from a mapping of tensors, by the names that they have in most files."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ligflow.dictionaries.activations import Activation, Gated, Jump, Relu, TopK
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.hook_points import HookPoint, hook_point
from ligflow.dictionaries.scaling import SCALINGS, Scaling
from ligflow.errors import LigflowError

_TURNED = {"encoder.weight": "W_enc", "decoder.weight": "W_dec"}  # matrices that others keep transposed
DECODER_BIAS = ("b_dec", "decoder.bias", "bias")  # what files call it
_CALLED = {"encoder.bias": "b_enc", "log_threshold": "threshold"} | dict.fromkeys(DECODER_BIAS, "b_dec")
_SIZES = {
    "W_enc": ("input", "feature"),
    "W_dec": ("feature", "output"),
    "b_enc": ("feature",),
    "b_dec": ("output",),
    "threshold": ("feature",),
    "b_gate": ("feature",),
    "r_mag": ("feature",),
    "b_mag": ("feature",),
    "W_skip": ("output", "input"),
}
_NEEDED = ("W_enc", "W_dec")
_GATED = ("b_gate", "r_mag", "b_mag")


def dictionary_of(
    tensors: Mapping[str, Tensor],
    hook: str | HookPoint,
    source: str | HookPoint | None = None,
    *,
    k: int | None = None,
    activation: Activation | None = None,
    centred: bool | None = None,
    scaling: Scaling | str = "none",
    name: str = "the dictionary",
    model: str = "",
) -> Dictionary:
    """A dictionary that stands at `hook`, from its tensors.

    *Main arguments*:

    - `tensors`: `W_enc` `[input, feature]` and `W_dec` `[feature, output]` (or `encoder.weight` and
      `decoder.weight`, their transposes), `b_enc`, `b_dec`; `threshold` of JumpReLU; `b_gate`, `r_mag` and
      `b_mag` of gated ones; `W_skip` `[output, input]` of a transcoder.
    - `hook`: where the vectors stand that it gives, `blocks.5.hook_resid_post` or a module of the model;
      `source`: what it encodes, where that is another vector (a transcoder).
    - `k`: of top-k, how many features are active.

    *Other arguments*:

    - `activation`: None: by `k` and the tensors, else ReLU.
    - `centred`: whether `b_dec` is taken off before the encoder; None: it is, but for transcoders.
    - `scaling`: how vectors are normalised: `none`, `norm` or `layer`.
    - `name`, `model`: what it is called, and the model that it is for.

    Raises LigflowError for tensors that are missing, of other sizes, or not finite.
    """
    called = {_name(key): _turned(key, tensor) for key, tensor in tensors.items()}
    own = {key: tensor.detach() for key, tensor in called.items() if key in _SIZES}
    _check(own, name)
    features = own["W_enc"].shape[1]
    place = hook if isinstance(hook, HookPoint) else hook_point(hook)
    taken = place if source is None else source if isinstance(source, HookPoint) else hook_point(source)
    transcodes = taken != place
    if scaling not in SCALINGS:
        raise LigflowError(f"Unknown scaling {scaling!r}; choose from {', '.join(SCALINGS)}.")
    if centred is None:
        centred = not transcodes
    if centred and own["W_enc"].shape[0] != own["W_dec"].shape[1]:
        raise LigflowError(f"{name}: b_dec cannot be taken off vectors of another width; give centred=False.")
    if k is not None and not (isinstance(k, int) and not isinstance(k, bool) and 0 < k <= features):
        raise LigflowError(f"{name}: k is {k!r}; give a whole number from 1 to its {features} features.")
    return Dictionary(
        own["W_enc"].T,
        own.get("b_enc", own["W_enc"].new_zeros(features)),
        own["W_dec"],
        own.get("b_dec", own["W_dec"].new_zeros(own["W_dec"].shape[1])),
        activation or _activation(own, k),
        place,
        taken,
        centred,
        scaling,
        scales_output=not transcodes,
        skip=own.get("W_skip"),
        name=name,
        model=model,
    )


def _activation(own: Mapping[str, Tensor], k: int | None) -> Activation:
    if k is not None:
        return TopK(k)
    if "threshold" in own:
        return Jump(own["threshold"])
    if "b_gate" in own:
        return Gated(*(own[key] for key in _GATED))
    return Relu()


def _name(key: str) -> str:
    return _TURNED.get(key, _CALLED.get(key, key))


def _turned(key: str, tensor: Tensor) -> Tensor:
    tensor = tensor.exp() if key == "log_threshold" else tensor
    return tensor.T if key in _TURNED and tensor.ndim == 2 else tensor


def _check(own: Mapping[str, Tensor], name: str) -> None:
    """Raises LigflowError unless tensors are there, fit together, and are finite."""
    if lost := [key for key in _NEEDED if key not in own]:
        raise LigflowError(
            f"{name} has no {' and no '.join(lost)}; a dictionary needs an encoder and a decoder, under the "
            "names W_enc [input, feature] and W_dec [feature, output]."
        )
    if 0 < sum(key in own for key in _GATED) < len(_GATED):
        raise LigflowError(f"{name} has some of {', '.join(_GATED)}; gated activations need all three.")
    lengths: dict[str, int] = {}
    for key, tensor in own.items():
        sizes = _SIZES[key]
        fits = tensor.ndim == len(sizes) and all(
            lengths.setdefault(size, length) == length
            for size, length in zip(sizes, tensor.shape, strict=True)
        )
        if not fits or not tensor.numel():
            known = ", ".join(f"{size} {lengths[size]}" if size in lengths else size for size in sizes)
            raise LigflowError(f"{name}: {key} has shape {list(tensor.shape)}, not ({known}).")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise LigflowError(f"{name}: {key} holds NaN, infinite or whole numbers; get its file again.")
