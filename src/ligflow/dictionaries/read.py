"""Dictionaries on disk, in the formats that people have: data, never code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ligflow.dictionaries import sae_lens, sparsify
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.feature_names import read_feature_names
from ligflow.dictionaries.headers import SaeLensHeader, SparsifyHeader
from ligflow.dictionaries.of_tensors import DECODER_BIAS, dictionary_of
from ligflow.dictionaries.tensor_files import READERS, read_tensors
from ligflow.errors import LigflowError
from ligflow.results.flow_header import wrong_field

_HEADER = "cfg.json"
_FORMATS = (
    f"a folder of SAELens ({_HEADER} and {sae_lens.WEIGHTS}), one of sparsify ({_HEADER} and "
    f"{sparsify.WEIGHTS}), or a {' or '.join(READERS)} file of tensors with hook="
)
_SHOWN = 8  # folders that a message names


def read_dictionary(
    path: str | Path,
    hook: str | None = None,
    source: str | None = None,
    *,
    names: str | Path | None = None,
    k: int | None = None,
    centred: bool | None = None,
) -> Dictionary:
    """A sparse autoencoder or transcoder from its files.

    *Main arguments*:

    - `path`: a folder of SAELens or sparsify, or a `.safetensors` or `.npz` file of tensors (see
      `dictionary_of` for their names).
    - `hook`: where it stands, `blocks.5.hook_resid_post` or a module of the model; None: as its files say.

    *Other arguments*:

    - `source`: what it encodes, of a transcoder; None: as its files say.
    - `names`: a table of names and links of features, CSV or JSON (see `read_feature_names`).
    - `k`: of top-k, for a file of tensors.
    - `centred`: for a file of tensors, whether `b_dec` is taken off before the encoder; JumpReLU has both
      kinds (Gemma Scope: it is not), and must say it.

    Raises LigflowError for what is missing, damaged, not known, or would run code.
    """
    path = Path(path)
    if path.is_file():
        dictionary = _of_file(path, hook, source, k, centred)
    elif path.is_dir():
        if k is not None:
            raise LigflowError(f"{str(path)!r} says itself how many features are active; leave k out.")
        if centred is not None:
            raise LigflowError(f"{str(path)!r} says itself whether b_dec is taken off; leave centred out.")
        dictionary = _of_folder(path, hook, source)
    else:
        raise LigflowError(f"There is no dictionary {str(path)!r}; give {_FORMATS}.")
    return dictionary if names is None else dictionary.named(read_feature_names(names))


def _of_file(
    path: Path, hook: str | None, source: str | None, k: int | None, centred: bool | None
) -> Dictionary:
    if path.suffix not in READERS:
        raise LigflowError(
            f"{str(path)!r} is not read: files of other kinds, such as .pt, may run code. Give {_FORMATS}."
        )
    if hook is None:
        raise LigflowError(
            f"{str(path)!r} holds tensors alone; say where they stand: hook='blocks.5.hook_resid_post', or a "
            "module of the model."
        )
    tensors = read_tensors(path)
    if centred is None and source is None and _may_be_centred(tensors):
        raise LigflowError(
            f"{str(path)!r} holds a JumpReLU with a b_dec, and does not say whether that is taken off before "
            "the encoder: give centred=False (Gemma Scope) or centred=True (SAELens' default)."
        )
    return dictionary_of(tensors, hook, source, k=k, centred=centred, name=path.stem)


def _may_be_centred(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors are of a kind that is used in both ways: JumpReLU with a bias of the decoder."""
    jumps = "threshold" in tensors or "log_threshold" in tensors
    return jumps and any(bool(tensors[name].any()) for name in DECODER_BIAS if name in tensors)


def _of_folder(path: Path, hook: str | None, source: str | None) -> Dictionary:
    if (path / sae_lens.WEIGHTS).is_file():
        header = _header(path, SaeLensHeader)
        return sae_lens.of_sae_lens(header, read_tensors(path / sae_lens.WEIGHTS), path, hook, source)
    if (path / sparsify.WEIGHTS).is_file():
        header = _header(path, SparsifyHeader)
        return sparsify.of_sparsify(header, read_tensors(path / sparsify.WEIGHTS), path, hook, source)
    inside = sorted(part.name for part in path.iterdir() if (part / _HEADER).is_file())
    if inside:
        named = ", ".join(inside[:_SHOWN]) + (f" and {len(inside) - _SHOWN} more" if inside[_SHOWN:] else "")
        raise LigflowError(f"{str(path)!r} holds several dictionaries: {named}. Give the folder of one.")
    raise LigflowError(f"{str(path)!r} holds no dictionary of a known format; give {_FORMATS}.")


def _header(folder: Path, schema: Any) -> Any:
    """What cfg.json says. Raises LigflowError with the field that is wrong."""
    path = folder / _HEADER
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LigflowError(f"{str(path)!r} cannot be read: {error}.") from error
    if wrong := wrong_field(schema, said):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}.")
    return said
