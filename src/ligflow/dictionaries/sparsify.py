"""Dictionaries in the folders of sparsify: one for each hook point, with cfg.json and sae.safetensors."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ligflow.dictionaries.activations import GroupMax, TopK
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.headers import SparsifyHeader
from ligflow.dictionaries.hook_points import hook_point
from ligflow.dictionaries.of_tensors import dictionary_of
from ligflow.errors import LigflowError

WEIGHTS = "sae.safetensors"
_SEED = re.compile(r"seed\d+", re.ASCII)


def of_sparsify(
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    folder: Path,
    hook: str | None = None,
    source: str | None = None,
) -> Dictionary:
    """A dictionary from a folder's header and weights; its place is the folder's name, or `hook`.

    What transcodes encodes what its module takes, or `source`. Raises LigflowError for tensors that do not
    fit to the header.
    """
    about, name = SparsifyHeader.model_validate(header), str(folder)
    own = dict(tensors)
    shape = list(own["encoder.weight"].shape) if "encoder.weight" in own else []
    if shape != [about.features, about.d_in]:
        raise LigflowError(
            f"{name}: its cfg.json speaks of {about.features} features of {about.d_in} numbers, and "
            f"encoder.weight has shape {shape}."
        )
    if about.k > about.features or (about.activation == "groupmax" and about.features % about.k):
        raise LigflowError(f"{name}: k is {about.k}, which does not go with {about.features} features.")
    if about.skip_connection != ("W_skip" in own):
        raise LigflowError(f"{name}: its cfg.json and its weights disagree on a skip (W_skip).")
    place = hook_point(hook or _place(folder))
    taken = hook_point(source) if source else place.taken if about.transcode else None
    if about.transcode and taken == place:
        raise LigflowError(f"{name} transcodes, and source= and hook= name the same vector.")
    if about.transcode and source is None and place.kind != "module":
        raise LigflowError(f"{name} transcodes: give source=, what it encodes, beside hook={hook!r}.")
    activation = GroupMax(about.k) if about.activation == "groupmax" else TopK(about.k, about.signed)
    return dictionary_of(
        own, place, taken, activation=activation, centred=not about.transcode, name=_place(folder),
        model=_model(folder),
    )  # fmt: skip


def _place(folder: Path) -> str:
    """The name of a hook point's folder; several of different seeds stand in it."""
    path = folder.absolute()
    return path.parent.name if _SEED.fullmatch(path.name) else path.name


def _model(folder: Path) -> str:
    """The model that the run's config.json, beside the folders of hook points, names."""

    for parent in list(folder.absolute().parents)[:2]:
        try:
            said = json.loads((parent / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(said, dict) and isinstance(said.get("model"), str):
            return str(said["model"])
    return ""
