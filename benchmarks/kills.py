"""Runs that are killed (SIGKILL) at random moments and begun again: is any row lost, doubled or changed?

    python benchmarks/kills.py --engine here --kills 12
    python benchmarks/kills.py --engine processes --kills 12
    python benchmarks/kills.py --engine ray --kills 10 --worker-kills 3
    python benchmarks/kills.py --engine here --kills 5 --prompts 2000 --within 60
    python benchmarks/kills.py --engine processes --kills 3 --tiny

The whole run is killed `--kills` times, then workers of it `--worker-kills` times (Ray), and at last it is
left to finish. Its tables must equal, row for row and bit for bit, those of a run that nothing disturbed.

With `--prompts` it is a run on so many prompts of a tiny model with random weights, in the place of the
consistency experiment on MiniLM; with `--tiny` it is that experiment on a tiny model. `--within` says how
many seconds a run may work before it is killed.
"""

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
import typer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from ligflow.corpus.runs.engines import Engine, here, processes
from ligflow.corpus.runs.ray_engine import actors
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.prompt_settings import PromptSettings

SUBJECTS = ("The baker", "A tired nurse", "Her older brother", "Nobody in town")
ENDS = ("forgot the keys.", "saw the comet twice.", "wrote a long letter.", "sold the red boat.", "laughed.")
WORDS = sorted({word for part in (*SUBJECTS, *ENDS) for word in part.rstrip(".").split()} | {"and", "then"})


def sentences() -> Iterator[Sentence]:
    """Twenty short sentences."""
    for number in range(len(SUBJECTS) * len(ENDS)):
        start, end = SUBJECTS[number % len(SUBJECTS)], ENDS[number % len(ENDS)]
        yield Sentence(number, f"{start} {end}", f"made:{number}")


def prompts(count: int) -> Iterator[Prompt]:
    """So many prompts of 4 to 13 words, in groups by their subject."""
    draw = random.Random(0)
    for number in range(count):
        group = draw.choice(SUBJECTS)
        parts = [draw.choice(ENDS).rstrip(".") for _ in range(draw.randint(1, 2))]
        text = f"{group} {' and then '.join(parts)} and"
        answer = draw.choice(WORDS)
        yield Prompt(number, text, f"made:{number}", answer=answer, group=group)


def save_words(folder: Path) -> None:
    """A tokenizer of a few words, one token each."""
    made = Tokenizer(WordLevel({word: place for place, word in enumerate(["[UNK]", *WORDS])}, "[UNK]"))
    made.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]").save_pretrained(folder)


def save_encoder(folder: Path) -> None:
    """A tiny model with random weights that reads sentences."""
    save_words(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": len(WORDS) + 1,
    }
    BertModel(BertConfig(**sizes, initializer_range=0.2)).save_pretrained(folder)


def save_speaker(folder: Path) -> None:
    """A tiny model with random weights that continues texts."""
    save_words(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 64,
        "vocab_size": len(WORDS) + 1,
    }
    config = GPT2Config(**sizes, initializer_range=0.2, bos_token_id=None, eos_token_id=None)
    GPT2LMHeadModel(config).save_pretrained(folder)


def engine_of(name: str, address: str | None) -> Engine:
    """An engine by name."""
    if name == "ray":
        return actors(workers=2, address=address)
    return here() if name == "here" else processes([None], 2)


def work(folder: str, name: str, address: str | None, count: int) -> None:
    """One process's attempt at the run, on one thread, as other engines: more round otherwise."""
    torch.set_num_threads(1)
    saved = Path(folder).parent / "model"
    model = Model(str(saved) if saved.is_dir() else None)
    if count:
        run(folder, Corpus(lambda: prompts(count), {"source": "made"}), model, PromptSettings(),
            engine=engine_of(name, address))  # fmt: skip
        return
    run(folder, Corpus(sentences, {"source": "made"}), model, Experiment(layers=(0,)),
        engine=engine_of(name, address), shard_size=2)  # fmt: skip


def disturbed(
    folder: Path,
    name: str,
    address: str | None,
    count: int,
    kills: int,
    worker_kills: int,
    seed: int,
    within: float,
) -> int:
    """Kills and begins again, until the run is complete; the number of kills that hit it at work."""
    draw, hits = random.Random(seed), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ligflow.corpus.runs.runner"])
    while True:
        process = context.Process(target=work, args=(str(folder), name, address, count))
        process.start()
        if hits < kills:
            if hits % 3:  # the third at any moment, the others when shards are computed
                _wait_for_work(folder, process)
            process.join(draw.uniform(0.0, within))
            if process.is_alive():
                process.kill()
                hits += 1
        elif hits < kills + worker_kills:
            hits += _kill_worker(process)
        process.join()
        if complete(folder):
            if hits >= kills + worker_kills:
                return hits
            _undo(folder, draw)


def _wait_for_work(folder: Path, process: multiprocessing.process.BaseProcess) -> None:
    """Until the process has begun to compute shards, or has ended."""
    before = begun(folder)
    while process.is_alive() and begun(folder) == before:
        time.sleep(0.01)


def begun(folder: Path) -> int:
    """How often shards were begun to be computed."""
    log = folder / "run.log"
    return log.read_text().count("to compute") if log.is_file() else 0


def _kill_worker(process: multiprocessing.process.BaseProcess) -> int:
    """Kills one actor of this benchmark's cluster while it computes; 1 if there was one."""
    while process.is_alive():
        for one in psutil.Process().children(recursive=True):
            try:
                if "".join(one.cmdline()).startswith("ray::Worker.compute"):
                    one.kill()
                    return 1
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.01)
    return 0


def _undo(folder: Path, draw: random.Random) -> None:
    """It finished before it was killed often enough: some shards are taken away again."""
    found = open_run(folder)
    for shard in draw.sample(found.done, k=found.shards - 1):
        found.remove(shard)


def complete(folder: Path) -> bool:
    """Whether every shard is there."""
    return (folder / "manifest.json").is_file() and not open_run(folder).missing


def same(one: Run, other: Run) -> bool:
    """Whether all tables of all shards are equal, row for row."""
    return one.shards == other.shards and all(
        one.table(shard, name).equals(other.table(shard, name))
        for shard in range(one.shards)
        for name in one.kind.tables
    )


def main(
    engine: Literal["here", "processes", "ray"] = "here",
    kills: int = 10,
    worker_kills: int = 0,
    seed: int = 0,
    prompts: int = 0,
    within: float = 3.0,
    tiny: bool = False,
) -> None:
    """Prints what was done as JSON; exit code 1 if a row differs."""
    if worker_kills and engine != "ray":
        raise typer.BadParameter("--worker-kills is for --engine ray, whose actors have a name.")
    with tempfile.TemporaryDirectory() as scratch:
        whole, broken, cluster, address = Path(scratch, "whole"), Path(scratch, "broken"), None, None
        if engine == "ray":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            from ray.cluster_utils import Cluster

            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
            address = cluster.address
        if prompts or tiny:
            (save_speaker if prompts else save_encoder)(Path(scratch, "model"))
        began = time.monotonic()
        try:
            work(str(whole), "here", None, prompts)
            seconds = round(time.monotonic() - began, 1)
            hits = disturbed(broken, engine, address, prompts, kills, worker_kills, seed, within)
        finally:
            if cluster is not None:
                cluster.shutdown()  # type: ignore[no-untyped-call]
        equal, left = same(open_run(whole), open_run(broken)), list(broken.glob("shards/.*"))
        times = begun(broken)
        size = sum(path.stat().st_size for path in whole.rglob("*.parquet"))
    found: dict[str, object] = {
        "engine": engine,
        "kills": hits,
        "begun": times,
        "equal": equal,
        "left behind": len(left),
    }
    found |= {"prompts": prompts, "seconds undisturbed": seconds, "bytes": size} if prompts else {}
    print(json.dumps(found))
    sys.exit(0 if equal and not left else 1)


if __name__ == "__main__":
    typer.run(main)
