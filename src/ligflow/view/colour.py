"""Signed colours: blue for positive, orange for negative, safe for colour-blind readers."""

_POSITIVE = (33, 102, 172)
_NEGATIVE = (217, 95, 14)
_PAPER = (255, 255, 255)


def shade(share: float) -> str:
    """`#rrggbb` for a signed share in [-1, 1]; small shares are lifted by a square root."""
    strength = min(1.0, abs(share)) ** 0.5
    ink = _POSITIVE if share >= 0 else _NEGATIVE
    mixed = (round(p + (i - p) * strength) for p, i in zip(_PAPER, ink, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def on(background: str) -> str:
    """Black or white, whichever can be read on the background."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
