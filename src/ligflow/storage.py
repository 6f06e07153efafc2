"""Flows on disk: one safetensors file with JSON metadata. Data, never code."""

import json
import os
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ligflow.errors import LigflowError
from ligflow.flow import CELL_DIMS, CELL_PARTS, DIMS, Flow
from ligflow.flow_header import Header, wrong_field

FORMAT = 1


def save(flow: Flow, path: str | Path) -> Path:
    """Writes the flow under a temporary name in the same folder, then renames it."""
    tensors = {name: tensor.contiguous() for name, tensor in flow.tensors.items()}
    return atomically(path, lambda scratch: save_file(tensors, scratch, metadata=header(flow)))


def header(flow: Flow) -> dict[str, str]:
    """What a flow file says beside its tensors: labels and how it was computed, as JSON."""
    labels = {
        "format": FORMAT,
        "tokens": flow.tokens,
        "layers": list(flow.layers),
        "targets": list(flow.targets),
        "special": list(flow.special),
        "meta": dict(flow.meta),
    }
    return {"ligflow": json.dumps(labels, ensure_ascii=False)}


def load(path: str | Path) -> Flow:
    """Reads a flow and checks that its parts fit together.

    Raises LigflowError if the file is missing, truncated, foreign, or from a newer format; it names the
    field or tensor that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise LigflowError(f"There is no flow file {str(path)!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise LigflowError(
            f"{str(path)!r} is not a readable flow file (truncated or foreign): {error}"
        ) from error
    labels = _labels(metadata.get("ligflow"), path)
    flow = Flow(
        tokens=labels["tokens"],
        layers=tuple(labels["layers"]),
        targets=tuple(labels["targets"]),
        special=tuple(labels["special"]),
        tensors=tensors,
        meta=labels["meta"],
    )
    _check_parts(flow, path)
    return flow


def _labels(header: str | None, path: Path) -> dict[str, Any]:
    """The header, once all of its fields are of their types."""
    try:
        labels = json.loads(header or "")
    except (ValueError, RecursionError) as error:
        raise LigflowError(f"{str(path)!r} is a safetensors file, but not a ligflow flow.") from error
    if not isinstance(labels, dict) or not {"format", "tokens"} & {*labels}:
        raise LigflowError(f"{str(path)!r} is a safetensors file, but not a ligflow flow.")
    version = labels.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise LigflowError(
            f"{str(path)!r} has flow format {version}, and this version reads up to {FORMAT}; "
            "upgrade ligflow."
        )
    if wrong := wrong_field(Header, labels):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}.")
    return labels


def _check_parts(flow: Flow, path: Path) -> None:
    """All tensors that the flow's maps need are there, in the sizes of its labels."""
    maps = [name for name in DIMS if name in flow.tensors]
    routes = [name for name in CELL_DIMS if name in maps]
    needed = [f"{route}.{part}" for route in routes for part in (*CELL_PARTS, "nodes")]
    needed += ["z2u.floor"] if "z2u" in maps else []
    needed += ["u2z_residual"] if "u2z" in maps else []
    needed += _of_memory(maps) if flow.memory else []
    lost = sorted({*needed} - {*flow.tensors})
    lost += [route for route in flow.routes if route not in routes]
    if lost or not routes:
        raise LigflowError(f"{str(path)!r} is damaged: it holds no {', '.join(lost) or 'map'}.")
    sizes = {"layer": len(flow.layers), "target": len(flow.targets), "source": len(flow.tokens)}
    sizes |= {"memory": len(flow.memory), "head": _heads(flow, "z2u", "u2z")}
    sizes["cross_head"] = _heads(flow, "e2u", "u2z_cross")
    own = next(flow.tensors[name].dtype for name in maps)
    for name, tensor in flow.tensors.items():
        dims = _dims(name)
        shape, kinds = tuple(sizes[dim] for dim in dims), _types(name, own)
        if dims and (tuple(tensor.shape) != shape or not tensor.numel()):
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should have shape {shape}.")
        if dims and tensor.dtype not in kinds:
            wanted = " or ".join(str(kind).removeprefix("torch.") for kind in kinds)
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should be {wanted}.")
        if dims and not torch.isfinite(tensor).all():
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} holds NaN or infinite entries.")


def _heads(flow: Flow, *names: str) -> int:
    """The size of the axis of heads that some tensors share, by the first of them."""
    first = next((flow.tensors[name] for name in names if name in flow.tensors), None)
    return first.shape[1] if first is not None and first.ndim > 1 else 0


def _types(name: str, own: torch.dtype) -> tuple[torch.dtype, ...]:
    """The types in which a tensor may be stored, among maps of type `own`."""
    _, _, part = name.partition(".")
    single = (own,) if own in (torch.float32, torch.float64) else (torch.float32, torch.float64)
    return {"met": (torch.bool,), "nodes": (torch.int64,)}.get(part, single)


def _of_memory(maps: list[str]) -> list[str]:
    """What a flow whose layers attend to an encoder has beside its maps."""
    pairs = {"z2u": ("e2u", "e2u.floor"), "u2z": ("u2z_cross",), "z2z": ("z2z_cross",)}
    return [name for route, names in pairs.items() if route in maps for name in names]


def _dims(name: str) -> tuple[str, ...]:
    route, _, part = name.partition(".")
    if name in DIMS:
        return DIMS[name]
    if route == "composed":
        return DIMS["z2z"]
    if part == "nodes":
        return ("layer", "target")
    if part == "floor":
        return ("layer", "cross_head" if route == "e2u" else "head")
    return CELL_DIMS.get(route, ())


def write_text(path: str | Path, text: str) -> Path:
    """Text under a temporary name, then renamed."""
    return atomically(path, lambda scratch: Path(scratch).write_text(text, encoding="utf-8"))


def write_made(path: str | Path, make: Callable[[BinaryIO], object]) -> Path:
    """What another library writes, made in memory first: on a full disk it may raise whatever it likes."""
    made = BytesIO()
    make(made)
    return atomically(path, lambda scratch: Path(scratch).write_bytes(made.getvalue()))


def ensure_writable(path: str | Path) -> None:
    """Raises LigflowError now if `path` could not be written later; tries a file beside it."""
    try:
        Path(_scratch(path)).unlink()
    except LigflowError:
        raise
    except (OSError, ValueError) as error:
        raise LigflowError(f"Cannot write {str(path)!r}: {error}") from error


def _scratch(path: str | Path) -> str:
    """A new empty file in the folder of `path`."""
    path = Path(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise LigflowError(f"Cannot write {str(path)!r}: there is no folder {str(folder)!r}.")
    if path.is_dir():
        raise LigflowError(f"Cannot write {str(path)!r}: it is a folder.")
    if path.exists() and not path.is_file():
        raise LigflowError(f"Cannot write {str(path)!r}: it is no regular file.")
    if not os.access(folder, os.W_OK):
        raise LigflowError(f"Cannot write {str(path)!r}: its folder is not writable.")
    handle, scratch = tempfile.mkstemp(dir=folder, prefix=".ligflow.", suffix=".part")
    os.close(handle)
    return scratch


def atomically(path: str | Path, write: Any) -> Path:
    """Calls `write` with a temporary name in the same folder, then renames the file."""
    ensure_writable(path)
    path = Path(path)
    scratch = _scratch(path)
    try:
        write(scratch)
        to_disk(Path(scratch))  # or a power cut could leave the new name with an empty file
        Path(scratch).chmod(0o666 & ~_umask())
        Path(scratch).replace(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise LigflowError(f"Could not write {str(path)!r}: {error}") from error
    finally:
        Path(scratch).unlink(missing_ok=True)
    return path


def to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes what can be written
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
