"""Tensors of a dictionary in one file, by name: safetensors and `.npz` of NumPy, which run no code."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ligflow.errors import LigflowError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, in float32 or more. Raises LigflowError for a damaged file."""
    tensors = READERS[path.suffix](path)
    return {
        name: tensor.float() if tensor.is_floating_point() and tensor.dtype.itemsize < 4 else tensor
        for name, tensor in tensors.items()
    }


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise LigflowError(f"{str(path)!r} is no readable safetensors file: {error}.") from error


def _npz(path: Path) -> dict[str, Tensor]:
    """Arrays of numbers; those of Python objects, which are pickled, are refused."""
    if not zipfile.is_zipfile(path):
        raise LigflowError(f"{str(path)!r} is no .npz file, which is an archive of arrays.")
    try:
        with numpy.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise LigflowError(f"{str(path)!r} is no readable .npz file of numbers: {error}.") from error
    return {name: _tensor(path, name, array) for name, array in arrays.items()}


def _tensor(path: Path, name: str, array: object) -> Tensor:
    """An array in this machine's order of bytes."""
    if not isinstance(array, numpy.ndarray) or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        kind = array.dtype if isinstance(array, numpy.ndarray) else "a file that is no array"
        raise LigflowError(f"{str(path)!r}: {name} holds {kind}, not numbers of at most 64 bits.")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {".safetensors": _safetensors, ".npz": _npz}
