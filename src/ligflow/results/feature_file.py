"""Features of dictionaries in a prediction's file: tensors `features.0.relevance`, and labels beside."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ligflow.results.features import ENTRIES, NODES, Features
from ligflow.results.flow_header import Part, Place, Text

PREFIX = "features."
_NUMBERS = ENTRIES[:2]


class NamedFeature(Part):
    """A feature that has a name, or a link."""

    feature: Place
    name: Text
    url: Text


class FeaturesAbout(Part):
    """Which dictionary features are of, and what they are called."""

    dictionary: Text
    hook: Text
    count: Annotated[int, Field(gt=0)]
    names: list[NamedFeature]


def tensors_of(every: Sequence[Features]) -> dict[str, Tensor]:
    """All numbers by name; those of the first dictionary as `features.0.relevance`."""
    return {
        f"{PREFIX}{number}.{name}": getattr(features, name)
        for number, features in enumerate(every)
        for name in (*ENTRIES, *NODES)
    }


def labels_of(every: Sequence[Features]) -> list[dict[str, Any]]:
    """What a file says beside the tensors, for JSON."""
    return [
        {
            "dictionary": features.dictionary, "hook": features.hook, "count": features.count,
            "names": [
                {"feature": number, "name": name, "url": url}
                for number, (name, url) in features.names.items()
            ],
        }
        for features in every
    ]  # fmt: skip


def features_of(
    labels: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor], tokens: Sequence[str]
) -> tuple[Features, ...]:
    """The features of a file that was checked."""
    return tuple(
        Features(
            label["dictionary"], label["hook"], label["count"], list(tokens),
            names={known["feature"]: (known["name"], known["url"]) for known in label["names"]},
            **{name: tensors[f"{PREFIX}{number}.{name}"] for name in (*ENTRIES, *NODES)},
        )
        for number, label in enumerate(labels)
    )  # fmt: skip


def wrong_tensor(labels: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor], tokens: int) -> str:
    """What is wrong with the tensors of features; empty if nothing is."""
    known = {f"{PREFIX}{n}.{name}" for n in range(len(labels)) for name in (*ENTRIES, *NODES)}
    own = {name for name in tensors if name.startswith(PREFIX)}
    if other := sorted(own ^ known):
        return f"tensor {other[0]!r} is {'missing' if other[0] in known else 'of no dictionary'}"
    for number, label in enumerate(labels):
        length = len(tensors[f"{PREFIX}{number}.positions"])
        for name in (*ENTRIES, *NODES):
            full, tensor = f"{PREFIX}{number}.{name}", tensors[f"{PREFIX}{number}.{name}"]
            if tuple(tensor.shape) != ((length,) if name in ENTRIES else (tokens,)):
                return f"tensor {full!r} is of another length"
            wanted = (torch.int64,) if name in _NUMBERS else (torch.float32, torch.float64)
            if tensor.dtype not in wanted or not torch.isfinite(tensor).all():
                return f"tensor {full!r} holds {tensor.dtype} or NaN entries"
            limit = {"positions": tokens, "features": label["count"]}.get(name)
            if limit is not None and not bool(((tensor >= 0) & (tensor < limit)).all()):
                return f"tensor {full!r} goes beyond {limit}"
    return ""
