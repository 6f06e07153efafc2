"""What the JSON of a run and of a trial says, field by field. Files of other versions may say more."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ligflow.corpus.tables.kinds import CONSISTENCY, PREDICTIONS
from ligflow.errors import LigflowError
from ligflow.results.flow_header import Finite, Meta, Part, Place, Text, wrong_field

Count = Annotated[int, Field(ge=1)]


class Settings(Part):
    """What is asked of each sentence (see `experiment.Experiment`)."""

    layers: list[int] | None
    units: Annotated[list[Text], Field(min_length=1)]
    hide_special: bool
    top_k: Count
    seed: int
    maps: bool
    scalarization: Text
    quadrature: Text
    tol: Finite
    max_nodes: Count
    precision: Text


class PromptSettings(Part):
    """What is asked of each prompt (see `prompt_settings.PromptSettings`)."""

    reference: Text
    score: Text
    attention: Text
    experts: Text
    tol: Finite
    max_points: Count
    truncate: bool


class Corpus(Part):
    """What the sentences are; `file` is its size and time of the last change. Where from stands beside."""

    fingerprint: Text
    bad_lines: Place
    left_out_lines: list[Text]
    file: Annotated[list[int], Field(min_length=2, max_length=2)] | None


class Model(Part):
    """The model and its weights; `class`, which is no name in Python, stands beside."""

    name: Text
    revision: Text | None
    dtype: Text
    weights: Text
    layers: Count
    fingerprint: Text


class Plan(Part):
    """What a run is, but for its settings; written once. `sentences` counts them, or the prompts."""

    format: Count
    ligflow: Text
    corpus: Corpus
    shard_size: Count
    sentences: Count
    shards: Count
    versions: dict[Text, Text]
    model: Model


class Manifest(Plan):
    """What a run of the consistency experiment is, whole."""

    settings: Settings


class PredictionsManifest(Plan):
    """What a run on prompts is, whole."""

    kind: Text
    settings: PromptSettings


MANIFESTS: dict[str, type[Part]] = {CONSISTENCY: Manifest, PREDICTIONS: PredictionsManifest}


class Sealed(Part):
    """The SHA-256 of a shard's files, by name."""

    files: dict[Text, Text]


class KeptMaps(Part):
    """The labels of a sentence's flows, and where each comes from, by route and baseline (`z2u itb`)."""

    tokens: list[Text]
    layers: list[Place]
    targets: list[Place]
    special: list[bool]
    meta: dict[Text, Meta]


class TrialFile(Part):
    """What is tried in a folder (see `faithfulness_rows.Trial`), and the SHA-256 of its texts."""

    model: Text
    texts: Text
    layers: list[int] | None
    steps: int
    top_k: int
    seed: int
    shuffled: int
    pairs: int


def read_json(path: Path, what: str) -> dict[str, Any]:
    """What a file holds. Raises LigflowError if it is not JSON, or no object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LigflowError(f"{str(path)!r} is no {what}: {error}.") from error
    if not isinstance(data, dict):
        raise LigflowError(f"{str(path)!r} is no {what}: it holds {data!r:.40}, not named fields.")
    return data


def check_fields(path: Path, schema: type[Part], data: dict[str, Any], instead: str) -> None:
    """Raises LigflowError that names the first wrong field of a file, and what to do `instead`."""
    if wrong := wrong_field(schema, data):
        raise LigflowError(f"{str(path)!r} is damaged: {wrong}. {instead}")
