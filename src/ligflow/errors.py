"""The exceptions and warnings of ligflow, whose messages say what to do instead."""

import sys
import warnings
from types import FrameType

_OURS = __name__.partition(".")[0]


class LigflowError(ValueError):
    """Something the caller can mend: the message names the input, the reason and the remedy."""


class UnsupportedModel(LigflowError):
    """A layer, or an argument of its attention, that ligflow does not understand."""


class LigflowWarning(UserWarning):
    """What all warnings of ligflow are, so that one line filters them: the result holds, and says less."""


def warn(message: str, kind: type[LigflowWarning]) -> None:
    """Warns at the line that called ligflow, however deep inside it the warning comes up."""
    warnings.warn(message, kind, stacklevel=1 + _depth())


def _depth() -> int:
    """Frames from `warn` to the caller of ligflow: past all of ours, and those of others between them.

    Files cannot be skipped by their names instead: contexts and decorators of other packages lie between.
    """
    frame: FrameType | None = sys._getframe(1)
    depth = outermost = 0
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == _OURS:
            outermost = depth
        frame, depth = frame.f_back, depth + 1
    return outermost + 1


class TextWarning(LigflowWarning):
    """One of several texts cannot be explained, and is left out."""


class RunWarning(LigflowWarning):
    """A run is continued under other versions than it was begun with."""


class CompletenessWarning(LigflowWarning):
    """Some cells miss the tolerance; `flow.unmet` names them."""


class MemoryWarning(LigflowWarning):
    """A block did not fit in memory and was halved; the result is the same."""
