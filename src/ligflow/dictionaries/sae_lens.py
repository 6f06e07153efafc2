"""Dictionaries in the folders of SAELens: cfg.json and sae_weights.safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ligflow.dictionaries.activations import Activation, TopK
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.headers import SaeLensHeader
from ligflow.dictionaries.hook_points import HookPoint, hook_point
from ligflow.dictionaries.of_tensors import dictionary_of
from ligflow.dictionaries.scaling import Scaling
from ligflow.errors import LigflowError

WEIGHTS = "sae_weights.safetensors"
_ARCHITECTURES: Mapping[str, tuple[str, ...]] = {  # and the tensors that each has of its own
    "standard": (),
    "topk": (),
    "abstopk": (),
    "jumprelu": ("threshold",),
    "gated": ("b_gate", "r_mag", "b_mag"),
    "transcoder": (),
    "skip_transcoder": ("W_skip",),
    "jumprelu_transcoder": ("threshold",),
    "jumprelu_skip_transcoder": ("threshold", "W_skip"),
}
_SCALINGS: Mapping[str, Scaling] = {
    "none": "none",
    "expected_average_only_in": "none",  # folded into the weights when training ends
    "covariance_whitening": "none",
    "constant_norm_rescale": "norm",
    "layer_norm": "layer",
}
_OF_ALL = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold", "b_gate", "r_mag", "b_mag", "W_skip")


def of_sae_lens(
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    folder: Path,
    hook: str | None = None,
    source: str | None = None,
) -> Dictionary:
    """A dictionary from a folder's header and weights; `hook` and `source` for what the header says.

    Raises LigflowError for an architecture, a normalisation or a place that is not known.
    """
    about, name = SaeLensHeader.model_validate(header), str(folder)
    kind = about.architecture
    if kind not in _ARCHITECTURES:
        raise LigflowError(
            f"{name}: dictionaries of architecture {kind!r} are not read; those of "
            f"{', '.join(_ARCHITECTURES)} are."
        )
    if lost := [key for key in _ARCHITECTURES[kind] if key not in tensors]:
        raise LigflowError(f"{name}: architecture {kind!r} needs {', '.join(lost)}, which {WEIGHTS} lacks.")
    if about.activation_fn not in ("relu", "topk"):
        raise LigflowError(f"{name}: its activation is {about.activation_fn!r}; relu and topk are read.")
    own = {key: tensor for key, tensor in tensors.items() if key in _OF_ALL}
    _check_widths(about, own, name)
    _check_scaling_factor(tensors, name)
    if about.rescale_acts_by_decoder_norm:
        own = _with_unit_directions(own)
    if kind == "jumprelu" and about.rescale_acts_by_decoder_norm:
        raise LigflowError(f"{name}: jumprelu that is rescaled by decoder norms is not read.")
    transcodes = "transcoder" in kind
    place, taken = _places(about, transcodes, name, hook, source)
    return dictionary_of(
        own, place, taken, activation=_activation(about, name), scaling=_scaling(about, name),
        centred=about.apply_b_dec_to_input and not transcodes, name=folder.name,
        model=about.metadata.model_name or "",
    )  # fmt: skip


def _activation(about: SaeLensHeader, name: str) -> Activation | None:
    if about.architecture not in ("topk", "abstopk"):
        return None
    if about.k is None or about.k > about.d_sae:
        raise LigflowError(
            f"{name}: k is {about.k}; its cfg.json should say how many of {about.d_sae} features."
        )
    return TopK(about.k, by_size=about.architecture == "abstopk")


def _scaling(about: SaeLensHeader, name: str) -> Scaling:
    said = about.normalize_activations
    said = "none" if said is None or isinstance(said, bool) else said
    if said not in _SCALINGS:
        raise LigflowError(
            f"{name}: activations are normalised by {said!r}; known are {', '.join(_SCALINGS)}."
        )
    return _SCALINGS[said]


def _with_unit_directions(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with directions of length 1, and scores that are as much larger: what features compete by."""
    lengths = own["W_dec"].norm(dim=-1)
    scaled = {"W_enc": own["W_enc"] * lengths, "W_dec": own["W_dec"] / lengths[:, None]}
    return {**own, **scaled} | ({"b_enc": own["b_enc"] * lengths} if "b_enc" in own else {})


def _check_widths(about: SaeLensHeader, own: Mapping[str, Tensor], name: str) -> None:
    """Raises LigflowError where the header speaks of other sizes than the weights have."""
    wanted = [about.d_in, about.d_sae]
    shape = list(own["W_enc"].shape) if "W_enc" in own else wanted
    if shape != wanted:
        raise LigflowError(
            f"{name}: its cfg.json speaks of {about.d_in} numbers and {about.d_sae} features, and W_enc has "
            f"shape {shape}; the two files belong to different dictionaries."
        )


def _check_scaling_factor(tensors: Mapping[str, Tensor], name: str) -> None:
    factors = [tensors[key] for key in ("scaling_factor", "finetuning_scaling_factor") if key in tensors]
    if any(not torch.allclose(factor, torch.ones_like(factor)) for factor in factors):
        raise LigflowError(
            f"{name} was fine-tuned with a scaling factor of its own for each feature, which is not read; "
            "multiply the rows of W_dec by it, and save it without."
        )


def _places(
    about: SaeLensHeader, transcodes: bool, name: str, hook: str | None, source: str | None
) -> tuple[HookPoint, HookPoint | None]:
    """Where it stands, and what it encodes where that is something else."""
    said = about.metadata
    if said.hook_head_index is not None:
        raise LigflowError(
            f"{name} is of head {said.hook_head_index} alone; dictionaries of all heads joined are read "
            "(hook_z)."
        )
    taken = source or (_either(said.hook_name, said.hf_hook_name) if transcodes else None)
    given = (said.hook_name_out, said.hf_hook_name_out) if transcodes else (said.hook_name, said.hf_hook_name)
    place = hook or _either(*given)
    if place is None or (transcodes and taken is None):
        more = " and source=, what it encodes" if transcodes else ""
        raise LigflowError(
            f"{name}: its cfg.json does not say where it stands; give hook='blocks.5.hook_resid_post' (or a "
            f"module of the model){more}."
        )
    return hook_point(place), None if taken is None else hook_point(taken)


def _either(name: str | None, module: str | None) -> str | None:
    """A name that is known: that of a place in a layer, or else that of a module."""
    for each in (name, module):
        if each is not None and _known(each):
            return each
    return name or module


def _known(name: str) -> bool:
    try:
        return bool(hook_point(name))
    except LigflowError:
        return False
