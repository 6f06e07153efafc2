"""Work cut into blocks that fit a memory budget. The cuts never change a result."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ligflow.devices.free_memory import free_on_cpu
from ligflow.errors import LigflowError, MemoryWarning, warn

_MEBI = 2**20
_MOST_ON_CPU = 1024 * _MEBI  # larger blocks are not faster there
_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory")


def default_budget(device: torch.device) -> int:
    """Bytes for blocks: half of what a GPU has free; a quarter of what the CPU has, at most 1 GiB."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    return min(free_on_cpu() // 4, _MOST_ON_CPU)


def in_blocks(
    compute: Callable[[Tensor, Tensor], Tensor],
    nodes: Float[Tensor, " node"],
    rows: Int[Tensor, " row"],
    pairs: int,
) -> Shaped[Tensor, "node row scalar last"]:
    """`compute(nodes, rows)` piece by piece, no more than `pairs` (node, row) at a time."""
    some_rows = rows.split(max(1, min(len(rows), pairs)))
    some_nodes = nodes.split(max(1, pairs // len(some_rows[0])))
    columns = [torch.cat([_piece(compute, n, r) for r in some_rows], dim=1) for n in some_nodes]
    return columns[0] if len(columns) == 1 else torch.cat(columns)


def _piece(compute: Callable[[Tensor, Tensor], Tensor], nodes: Tensor, rows: Tensor) -> Tensor:
    """One block; where it does not fit, its halves."""
    try:
        return compute(nodes, rows)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        pairs = len(nodes) * len(rows)
        if pairs == 1:
            raise LigflowError(
                "Not enough memory for one target at one point of its path; explain a shorter text, or "
                "free some memory."
            ) from error
    warn(
        f"{pairs} (point, target) pairs did not fit in memory and are computed in halves; a smaller "
        "memory_budget avoids the attempt.",
        MemoryWarning,
    )
    if len(rows) > 1:
        return torch.cat([_piece(compute, nodes, half) for half in rows.chunk(2)], dim=1)
    return torch.cat([_piece(compute, half, rows) for half in nodes.chunk(2)])


def _is_out_of_memory(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(s in said for s in _OUT_OF_MEMORY)
