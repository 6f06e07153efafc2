"""The consistency experiment: its runs, the tables that the repository keeps of them, and experiment.md.

Run: make experiment TREEBANKS=FOLDER, or python docs/scripts/experiment.py [--treebanks FOLDER] [NAME ...]

It computes the runs (all of RUNS, or those that are named) in `runs/`, makes the tables of
`benchmarks/results/experiment/NAME/` of them, and puts these into the page. An interrupted run goes on, a
finished one is only read, and a run says how long it will take. FOLDER holds the test parts of UD English EWT
and GUM, which are not in the repository; without it their runs are left out.

With --tables nothing is computed: the page is made of the tables that are there.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas
import typer
from blocks import put
from experiment_tables import RESULTS, blocks

from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.tables.schema import MATCHED
from ligflow.files import write_text

DOCS = Path(__file__).parents[1]
FOLDER = DOCS.parent / "runs"
PAIR = ["att", "mlp", "rule"]
RANKING = ["unit", "diagonal", "direct", "metric"]
BOTH = ("--unit", "token", "--unit", "word")
TWINS = ("--twin", "new", "--twin", "permuted", "--twin-seeds", "5")


@dataclass(frozen=True)
class Planned:
    """A run: its corpus (a file of the treebanks, or the shipped one), its model and its other options."""

    corpus: str
    model: str
    options: tuple[str, ...]

    @property
    def shipped(self) -> bool:
        """Whether the corpus comes with ligflow."""
        return self.corpus.startswith("embedded:")


SHIPPED, GUM, EWT = "embedded:sentences", "en_gum-ud-test.conllu", "en_ewt-ud-test.conllu"
RUNS = {
    "minilm-shipped": Planned(SHIPPED, "minilm", ("--sample", "40", "--shard-size", "10", *BOTH)),
    "minilm-gum": Planned(GUM, "minilm", ("--sample", "20", "--shard-size", "5", *BOTH)),
    "minilm-ewt": Planned(EWT, "minilm", ("--sample", "20", "--shard-size", "5", *BOTH)),
    "minilm-twins": Planned(SHIPPED, "minilm", ("--sample", "8", "--shard-size", "8", *TWINS)),
    "gemma-shipped": Planned(SHIPPED, "gemma-3-270m", ("--sample", "4", "--shard-size", "1", *BOTH)),
    "smollm2-shipped": Planned(SHIPPED, "smollm2", ("--sample", "16", "--shard-size", "1", *BOTH)),
}


def compute(name: str, planned: Planned, treebanks: Path | None) -> None:
    """The run with its twins, and the report inside it."""
    corpus = planned.corpus if treebanks is None or planned.shipped else str(treebanks / planned.corpus)
    model = f"embedded:{planned.model}"
    command("run", corpus, "--model", model, *planned.options, "--out", str(FOLDER / name))
    command("report", str(FOLDER / name))


def command(name: str, *arguments: str) -> None:
    """A subcommand of `ligflow corpus`."""
    subprocess.run([sys.executable, "-m", "ligflow", "corpus", name, *arguments], check=True)


# --- the tables that the repository keeps ---------------------------------------------------------


def keep(name: str) -> None:
    """What the page says of a run, as small tables: of all pairs the matched ones and the best."""
    run, report, place = open_run(FOLDER / name), FOLDER / name / "report", RESULTS / name
    place.mkdir(parents=True, exist_ok=True)
    pairs = pandas.read_csv(report / "pairs.csv")
    matched = is_matched(pairs)
    other = pairs[~matched].groupby(RANKING)["rank"].transform("min").reindex(pairs.index)
    chosen = pairs[matched | (pairs["rank"] == other)]
    columns = [*RANKING, *PAIR, "rank", "mean", "low", "high", "may_be_best", "rows"]
    write(place / "pairs.csv", chosen[columns])
    controls = pandas.read_csv(report / "controls.csv")
    chosen = controls[is_matched(controls) & ~controls.diagonal & (controls.metric == "pearson")]
    write(place / "controls.csv", chosen.drop(columns=["layer", *PAIR]))
    verdicts = pandas.read_csv(report / "verdicts.csv")
    write(place / "verdicts.csv", verdicts[["unit", "direct", "metric", "ranking", "outcome"]])
    completeness = pandas.read_csv(report / "completeness.csv")
    write(place / "completeness.csv", completeness[completeness.layer.isna()].drop(columns="layer"))
    write(place / "genres.csv", genres(run))
    write(place / "sentences.csv", sentences(run))
    manifest = dict(run.manifest)
    manifest["corpus"] = manifest["corpus"] | {
        "source": Path(manifest["corpus"]["source"]).name,
        "file": None,
    }
    write_text(place / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    logs = sorted(run.folder.rglob("run.log"), key=lambda path: (len(path.parts), path))
    write_text(place / "run.log", "".join(map(log_of, logs)))


def log_of(path: Path) -> str:
    """A log, each line with the twin that it is of."""
    twin = f"{path.parent.name}: " if path.parent.parent.name == "twins" else ""
    return "".join(f"{twin}{line}\n" for line in path.read_text(encoding="utf-8").splitlines())


def is_matched(rows: pandas.DataFrame) -> pandas.Series:
    """Whether a row is of the pair whose paths have the ends of the direct map's, conserving."""
    names = rows.direct.map(lambda direct: (*MATCHED[direct], "conserving"))
    return names == pandas.Series(list(zip(*(rows[name] for name in PAIR), strict=True)), index=rows.index)


def genres(run: Run) -> pandas.DataFrame:
    """Pearson of the matched pairs without the target among the sources, by genre; means over rows."""
    about = [(one.number, one.genre) for shard in run.done for one in run.sentences(shard)]
    frame = pandas.concat([run.table(shard, "metrics").to_pandas() for shard in run.done])
    frame = frame[(frame["map"] == "composed") & (frame.unit == "token") & ~frame.diagonal]
    frame = frame[is_matched(frame.astype(dict.fromkeys(["direct", *PAIR], str)))]
    frame = frame.assign(genre=frame.sentence.map(dict(about))).dropna(subset="genre")
    grouped = frame.groupby(["genre", "direct"], observed=True)
    return grouped.agg(sentences=("sentence", "nunique"), pearson=("pearson", "mean")).reset_index()


def sentences(run: Run) -> pandas.DataFrame:
    """The sentences of a run, without their texts."""
    rows = pandas.concat([run.table(shard, "sentences").to_pandas() for shard in run.done])
    return rows[["sentence", "tokens", "left_out"]]


def write(path: Path, rows: pandas.DataFrame) -> None:
    write_text(path, rows.to_csv(index=False, float_format="%.4g"))


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    treebanks: Path | None = None,
    tables: bool = False,
) -> None:
    for name in [] if tables else names or RUNS:
        if treebanks is None and not RUNS[name].shipped:
            print(f"{name} is left out: give the folder of {RUNS[name].corpus} as --treebanks.")
            continue
        compute(name, RUNS[name], treebanks)
        keep(name)
    put(DOCS / "explanation" / "experiment.md", blocks([name for name in RUNS if (RESULTS / name).is_dir()]))


if __name__ == "__main__":
    typer.run(main)
