"""The exceptions and warnings of ligflow, whose messages say what to do instead."""


class LigflowError(ValueError):
    """Something the caller can mend: the message names the input, the reason and the remedy."""


class UnsupportedModel(LigflowError):
    """A layer, or an argument of its attention, that ligflow does not understand."""


class LigflowWarning(UserWarning):
    """What all warnings of ligflow are, so that one line filters them: the result holds, and says less."""
