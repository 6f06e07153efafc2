"""Dictionaries on disk, in the formats that people have: data, never code."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ligflow.dictionaries import sae_lens, sparsify
from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.feature_names import read_feature_names
from ligflow.dictionaries.headers import SaeLensHeader, SparsifyHeader
from ligflow.dictionaries.of_tensors import dictionary_of
from ligflow.errors import LigflowError
from ligflow.results.flow_header import wrong_field

_HEADER = "cfg.json"
_FORMATS = (
    f"a folder of SAELens ({_HEADER} and {sae_lens.WEIGHTS}), one of sparsify ({_HEADER} and "
    f"{sparsify.WEIGHTS}), or a .safetensors file of tensors with hook="
)
_SHOWN = 8  # folders that a message names


def read_dictionary(
    path: str | Path,
    hook: str | None = None,
    source: str | None = None,
    *,
    names: str | Path | None = None,
    k: int | None = None,
) -> Dictionary:
    """A sparse autoencoder or transcoder from its files.

    *Main arguments*:

    - `path`: a folder of SAELens or sparsify, or a `.safetensors` file of tensors (see `dictionary_of`).
    - `hook`: where it stands, `blocks.5.hook_resid_post` or a module of the model; None: as its files say.

    *Other arguments*:

    - `source`: what it encodes, of a transcoder; None: as its files say.
    - `names`: a table of names and links of features, CSV or JSON (see `read_feature_names`).
    - `k`: of top-k, for a file of tensors.

    Raises LigflowError for what is missing, damaged, not known, or would run code.
    """
    path = Path(path)
    if path.is_file():
        dictionary = _of_file(path, hook, source, k)
    elif path.is_dir():
        if k is not None:
            raise LigflowError(f"{str(path)!r} says itself how many features are active; leave k out.")
        dictionary = _of_folder(path, hook, source)
    else:
        raise LigflowError(f"There is no dictionary {str(path)!r}; give {_FORMATS}.")
    return dictionary if names is None else dictionary.named(read_feature_names(names))


def _of_file(path: Path, hook: str | None, source: str | None, k: int | None) -> Dictionary:
    if path.suffix != ".safetensors":
        raise LigflowError(
            f"{str(path)!r} is not read: files of other kinds, such as .pt, may run code. Give {_FORMATS}."
        )
    if hook is None:
        raise LigflowError(
            f"{str(path)!r} holds tensors alone; say where they stand: hook='blocks.5.hook_resid_post', or a "
            "module of the model."
        )
    return dictionary_of(_tensors(path), hook, source, k=k, name=path.stem)


def _of_folder(path: Path, hook: str | None, source: str | None) -> Dictionary:
    if (path / sae_lens.WEIGHTS).is_file():
        header = _header(path, SaeLensHeader)
        return sae_lens.of_sae_lens(header, _tensors(path / sae_lens.WEIGHTS), path, hook, source)
    if (path / sparsify.WEIGHTS).is_file():
        header = _header(path, SparsifyHeader)
        return sparsify.of_sparsify(header, _tensors(path / sparsify.WEIGHTS), path, hook, source)
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


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise LigflowError(f"{str(path)!r} is no readable safetensors file: {error}.") from error
    return {name: tensor.float() if tensor.dtype.itemsize < 4 else tensor for name, tensor in tensors.items()}
