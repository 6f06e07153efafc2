"""Flows on disk: one safetensors file with JSON metadata. Data, never code."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.flow import CELL_DIMS, CELL_PARTS, DIMS, Flow

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

    Raises LigflowError if the file is missing, truncated, foreign, or from a newer format.
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
    try:
        flow = _flow(json.loads(metadata["ligflow"]), tensors, path)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise LigflowError(f"{str(path)!r} is a safetensors file, but not a ligflow flow.") from error
    _check_parts(flow, path)
    return flow


def _flow(header: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> Flow:
    if header["format"] > FORMAT:
        raise LigflowError(
            f"{str(path)!r} has flow format {header['format']}, and this version reads up to {FORMAT}; "
            "upgrade ligflow."
        )
    if not isinstance(header["meta"], dict) or not all(isinstance(token, str) for token in header["tokens"]):
        raise TypeError("header")
    return Flow(
        tokens=list(header["tokens"]),
        layers=tuple(header["layers"]),
        targets=tuple(header["targets"]),
        special=tuple(header["special"]),
        tensors=tensors,
        meta=header["meta"],
    )


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
    if len(flow.special) != len(flow.tokens) or not {*flow.targets} <= {*range(len(flow.tokens))}:
        raise LigflowError(f"{str(path)!r} is damaged: its targets or marks do not fit its tokens.")
    heads = next((flow.tensors[name].shape[1:2] for name in ("z2u", "u2z") if name in maps), (0,))
    sizes = {"layer": len(flow.layers), "target": len(flow.targets), "source": len(flow.tokens)}
    sizes |= {"memory": len(flow.memory), "cross_head": flow.cross_heads}
    sizes["head"] = heads[0] if heads else 0
    for name, tensor in flow.tensors.items():
        dims = _dims(name)
        shape = tuple(sizes[dim] for dim in dims)
        if dims and tuple(tensor.shape) != shape:
            raise LigflowError(f"{str(path)!r} is damaged: tensor {name!r} should have shape {shape}.")


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
        Path(scratch).chmod(0o666 & ~_umask())
        Path(scratch).replace(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise LigflowError(f"Could not write {str(path)!r}: {error}") from error
    finally:
        Path(scratch).unlink(missing_ok=True)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
