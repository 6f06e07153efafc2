"""What a layer writes into its arguments for layers above: keys and values that these share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.prediction.two_runs import Path, argument_at
from ligflow.recording.call import Call, by_name


class Written:
    """The arguments of a layer's last call, into which it writes."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}

    def at(self, paths: Mapping[Path, str]) -> dict[str, Tensor]:
        """What it wrote, by the names of the path variables."""
        return {name: argument_at(self.arguments, path) for path, name in paths.items()}


@contextmanager
def noting_written(module: nn.Module) -> Iterator[Written]:
    """What a layer writes meanwhile, also where its call is ended at its attention."""
    written = Written()

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        written.arguments = by_name(Call("", module, args, kwargs))[1]

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield written
    finally:
        handle.remove()


def is_written_before_attention(layer: Layer, paths: Mapping[Path, str]) -> bool:
    """Whether a layer has written all of it when it calls its attention."""
    with prepared(layer.module, layer.implementation), noting_written(layer.module) as written:
        layer.capture(layer.hidden[None])
    try:
        written.at(paths)
    except (KeyError, IndexError, TypeError):
        return False
    return True
