"""Features of a dictionary for JSON."""

from typing import Any

from ligflow.results.features import NODES, Features


def for_json(features: Features) -> dict[str, Any]:
    """Every entry by size, and the nodes beside them by token."""
    return {
        "dictionary": features.dictionary,
        "hook": features.hook,
        "count": features.count,
        "entries": [vars(row) for row in features.rows()],
        **{name: getattr(features, name).tolist() for name in NODES},
    }
