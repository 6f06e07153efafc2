"""All maps of a shard in one safetensors file, and back to a Flow of one sentence."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ligflow.corpus.runs.manifest import KeptMaps
from ligflow.corpus.runs.store import MAPS, Run
from ligflow.corpus.tables.experiment import VARIANTS, Variants
from ligflow.corpus.tables.schema import ATT, DIRECT, MLP, mlp_start
from ligflow.errors import LigflowError
from ligflow.flow import Flow
from ligflow.results.flow_file import FORMAT
from ligflow.results.flow_header import Header, wrong_field
from ligflow.results.join import join

_LABELS = ("tokens", "layers", "targets", "special")


def tensors_of(kept: Mapping[int, Variants]) -> dict[str, Tensor]:
    """Every tensor of every flow, by sentence, baseline and its own name."""
    return {
        _name(number, baseline, name): tensor.contiguous()
        for number, variants in kept.items()
        for (_, baseline), flow in variants.items()
        for name, tensor in flow.tensors.items()
    }


def header_of(kept: Mapping[int, Variants]) -> str:
    """What the flows are beside tensors, as JSON."""
    return json.dumps({str(number): _describe(variants) for number, variants in kept.items()})


def _describe(variants: Variants) -> dict[str, Any]:
    first = variants[VARIANTS[0]]
    shared = {name: list(getattr(first, name)) for name in _LABELS}
    meta = {route + " " + baseline: dict(flow.meta) for (route, baseline), flow in variants.items()}
    return shared | {"meta": meta}


def _name(number: int, baseline: str, name: str) -> str:
    return f"{number}/{baseline}/{name}"


def flow(run: Run, sentence: int, att: str = "itb", mlp: str = "att_itb_a0", direct: str = "itb") -> Flow:
    """The maps of a sentence under an ATT, an MLP and a layer baseline, as the run kept them.

    Raises LigflowError if the run kept no maps, or not of this sentence, its file is damaged, or a baseline
    is unknown.
    """
    for shard in run.done:
        if sentence in run.table(shard, "sentences")["sentence"].to_pylist():
            for number, maps in flows(run, shard, att, mlp, direct):
                if number == sentence:
                    return maps
            raise LigflowError(f"Sentence {sentence} was left out of this run; its reason is in the report.")
    raise LigflowError(f"No finished shard of this run holds sentence {sentence}.")


def flows(
    run: Run, shard: int, att: str = "itb", mlp: str = "att_itb_a0", direct: str = "itb"
) -> Iterator[tuple[int, Flow]]:
    """The same of every explained sentence of a shard, with its number; the file is read and checked once."""
    for kind, name, known in (("ATT", att, ATT), ("MLP", mlp, MLP), ("layer", direct, DIRECT)):
        if name not in known:
            raise LigflowError(f"Unknown {kind} baseline {name!r}; choose from {', '.join(known)}.")
    if not run.manifest["settings"]["maps"]:
        raise LigflowError("This run kept no maps; run it with --maps.")
    path = run.file(shard, MAPS)
    with safe_open(path, framework="pt") as file:
        for number, header in _headers(path, file.metadata()).items():
            parts = (("z2u", att), ("u2z", mlp_start(att, mlp)), ("z2z", direct))
            yield int(number), join([_flow(file, path, number, header, *part) for part in parts])


def _headers(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What the flows of each sentence are beside tensors. Raises LigflowError where it does not say so."""
    try:
        headers = json.loads((metadata or {})["ligflow"])
    except (KeyError, ValueError, RecursionError) as error:
        raise _damaged(path, f"it does not say what its tensors are ({error!r})") from error
    if not isinstance(headers, dict) or not all(number.isdecimal() for number in headers):
        raise _damaged(path, "it names no sentences by their numbers")
    for number, header in headers.items():
        if problem := wrong_field(KeptMaps, header):
            raise _damaged(path, f"{number}.{problem}")
    return headers


def _flow(file: Any, path: Path, number: str, header: Mapping[str, Any], route: str, baseline: str) -> Flow:
    """What was kept of one route under one baseline."""
    name = f"{route} {baseline}"
    if name not in header["meta"]:
        raise _damaged(path, f"{number}.meta: lacks {name!r}")
    labels = {field: header[field] for field in _LABELS} | {"meta": header["meta"][name]}
    if problem := wrong_field(Header, {"format": FORMAT} | labels):
        raise _damaged(path, f"{number}.{problem}")
    start = f"{number}/{baseline}/{route}"
    tensors = {
        name.split("/", 2)[2]: file.get_tensor(name)
        for name in file.keys()  # noqa: SIM118
        if name.startswith(start)
    }
    tokens, layers, targets, special = (labels[field] for field in _LABELS)
    return Flow(tokens, tuple(layers), tuple(targets), tuple(special), tensors, labels["meta"])


def _damaged(path: Path, problem: str) -> LigflowError:
    return LigflowError(
        f"{str(path)!r} is damaged: {problem}. Compute it again: the same `ligflow corpus run` with "
        "--redo-damaged."
    )
