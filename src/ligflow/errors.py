"""The two exceptions of ligflow, whose messages say what to do instead."""


class LigflowError(ValueError):
    """Something the caller can mend: the message names the input, the reason and the remedy."""


class UnsupportedModel(LigflowError):
    """A layer, or an argument of its attention, that ligflow does not understand."""
