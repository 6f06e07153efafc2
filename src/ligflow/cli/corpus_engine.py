"""Who computes a run: the options that say so, each described here once, and the engine that they name."""

from typing import TYPE_CHECKING, Annotated

from ligflow.cli.options import MACHINES, choice, option
from ligflow.cli.usage_errors import Usage
from ligflow.errors import LigflowError
from ligflow.names import ENGINES

if TYPE_CHECKING:
    from ligflow.corpus.runs.engines import Engine

EngineName = Annotated[
    str, choice("--engine", ENGINES, "Processes of this machine, or actors of Ray", MACHINES)
]
Workers = Annotated[
    int | None,
    option("How many processes or actors; default: one a device (ray: as many as fit).", MACHINES),
]
Cpus = Annotated[int | None, option("Cores of each Ray actor; default: 1.", MACHINES)]
RayAddress = Annotated[str | None, option("The Ray cluster; default: one here.", MACHINES)]
RedoDamaged = Annotated[
    bool, option("Check every finished shard, and redo damaged ones.", MACHINES, "--redo-damaged")
]


def refuse_options_of_ray(engine: str, cpus: int | None, ray_address: str | None) -> None:
    """Raises Usage for options of Ray where another engine is asked for."""
    for name, value in {"--ray-address": ray_address, "--cpus": cpus}.items():
        if value is not None and engine != "ray":
            raise Usage(f"{name} is for --engine ray.")


def engine_of(
    name: str, device: str | None, workers: int | None, cpus: int | None, ray_address: str | None
) -> "Engine":
    """The engine that the options name."""
    from ligflow.corpus.runs.engines import here, processes
    from ligflow.corpus.runs.ray_engine import actors

    if name == "ray":
        if device is not None and "," in device:
            raise LigflowError(f"--device {device!r} is for --engine local; with ray each actor takes a GPU.")
        return actors(device, workers, ray_address, 1 if cpus is None else cpus)
    devices = device.split(",") if device else [None]
    count = len(devices) if workers is None else workers
    return here(devices[0]) if count == 1 else processes(devices, count)
