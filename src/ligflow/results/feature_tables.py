"""Features of a dictionary as a table (pandas) and as JSON."""

from typing import Any

import pandas

from ligflow.results.features import NODES, Features

COLUMNS = (
    "dictionary", "hook", "kind", "position", "token", "feature", "name", "url", "relevance", "activation",
    "reference_activation",
)  # fmt: skip
_TYPES = {
    **dict.fromkeys(("dictionary", "hook", "kind", "token", "name", "url"), "string"),
    **dict.fromkeys(("position", "feature"), "Int64"),
    **dict.fromkeys(("relevance", "activation", "reference_activation"), "float64"),
}


def to_pandas(features: Features) -> pandas.DataFrame:
    """One row an entry, by size; then `bias`, `skip`, `others` and `rest` at each token, where not 0."""
    rows: list[dict[str, Any]] = [vars(row) | {"kind": "feature"} for row in features.rows()]
    for kind in NODES:
        for place, relevance in enumerate(getattr(features, kind).tolist()):
            if relevance:
                token = features.tokens[place]
                rows.append({"kind": kind, "position": place, "token": token, "relevance": relevance})
    about = {"dictionary": features.dictionary, "hook": features.hook}
    columns = {name: [(about | row).get(name) for row in rows] for name in COLUMNS}
    return pandas.DataFrame(columns).astype(_TYPES)
