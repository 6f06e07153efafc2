"""All maps of a shard in one safetensors file, and back to a Flow of one sentence."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ligflow.corpus.runs.store import MAPS, Run
from ligflow.corpus.tables.experiment import VARIANTS, Variants
from ligflow.corpus.tables.schema import ATT, DIRECT, MLP
from ligflow.errors import LigflowError
from ligflow.flow import Flow
from ligflow.results.join import join

_HEADER = ("tokens", "layers", "targets", "special")


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
    shared = {name: list(getattr(first, name)) for name in _HEADER}
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
    with safe_open(run.file(shard, MAPS), framework="pt") as file:
        for number, header in json.loads(file.metadata()["ligflow"]).items():
            parts = (("z2u", att), ("u2z", mlp), ("z2z", direct))
            yield int(number), join([_flow(file, number, header, *part) for part in parts])


def _flow(file: Any, number: str, header: Mapping[str, Any], route: str, baseline: str) -> Flow:
    """What was kept of one route under one baseline."""
    tokens, layers, targets, special = (header[name] for name in _HEADER)
    start = f"{number}/{baseline}/{route}"
    tensors = {
        name.split("/", 2)[2]: file.get_tensor(name)
        for name in file.keys()  # noqa: SIM118
        if name.startswith(start)
    }
    meta = header["meta"][f"{route} {baseline}"]
    return Flow(tokens, tuple(layers), tuple(targets), tuple(special), tensors, meta)
