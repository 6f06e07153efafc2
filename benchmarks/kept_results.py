"""What the repository keeps of the whole-model benchmark's runs, so that another machine goes on with them.

    MODEL-questions.jsonl.gz     what is asked
    MODEL-relevances.csv.gz      method, question, CPU seconds, MiB, and the relevance of each token
    MODEL-removals.csv.gz        question, replacement, set of removed tokens, score
    MODEL-scores.csv.gz          question, kind, method, and a column for each measure

The first three are a run's folder in small, of the digits that tables need; scores and all tables are
computed from them, without a model. `MODEL-methods.csv` says what each method is.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas

from question_file import RUNS, Question, append, read_lines, read_questions, write_questions

FOLDER = Path(__file__).parent / "results" / "prediction-faithfulness"
ABOUT = ("method", "package", "version", "settings", "source")
DIGITS = 7  # those of float32


def keep(model: str, runs: Path = RUNS, folder: Path = FOLDER) -> bool:
    """Writes what a run holds, if anything, in place of what was kept, which `lay` has to add to it first."""
    run = runs / model
    judged = {file.stem: json.loads(file.read_text()) for file in sorted((run / "judged").glob("*.json"))}
    relevances = pandas.DataFrame([
        {
            "method": file.stem, "question": line["name"], "seconds": f"{line['seconds']:.3g}",
            "peak_mb": f"{line['peak_mb']:.3g}",
            "relevance": " ".join(f"{value:.{DIGITS}g}" for value in line["relevance"]),
        }
        for file in sorted((run / "relevances").glob("*.jsonl"))
        for line in read_lines(file)
    ])  # fmt: skip
    if not len(relevances):
        return False
    removals = pandas.DataFrame(
        [
            (question, replacement, removed, f"{score:.{DIGITS}g}")
            for question, by in judged.items()
            for replacement, scores in by.items()
            for removed, score in sorted(scores.items(), key=lambda item: int(item[0]))
        ],
        columns=["question", "replacement", "removed", "score"],
    )
    write(folder / f"{model}-relevances.csv.gz", relevances.to_csv(index=False))
    write(folder / f"{model}-removals.csv.gz", removals.to_csv(index=False))
    lines = [json.dumps(asdict(each)) + "\n" for each in read_questions(run / "questions.jsonl")]
    write(folder / f"{model}-questions.jsonl.gz", "".join(lines))
    about_methods(run).to_csv(folder / f"{model}-methods.csv", index=False)
    return True


def lay(model: str, runs: Path = RUNS, folder: Path = FOLDER) -> list[str]:
    """Lays into a run what it lacks of what is kept, and says what could not be.

    Questions that the run asks in other words under the same name, and methods that it has at another
    version or other settings, are its own.
    """
    run = runs / model
    if not (folder / f"{model}-relevances.csv.gz").exists():
        return []
    other = _questions(run / "questions.jsonl", _kept_questions(folder / f"{model}-questions.jsonl.gz"))
    relevances = _frame(folder / f"{model}-relevances.csv.gz")
    about = _frame(folder / f"{model}-methods.csv").set_index("method", drop=False)
    elsewhere = []
    for method, rows in relevances.groupby("method"):
        own = {str(name): value for name, value in about.loc[str(method)].items()}
        if not _method(run / "relevances" / f"{method}.json", own):
            elsewhere.append(str(method))
            continue
        file = run / "relevances" / f"{method}.jsonl"
        there = {line["name"] for line in read_lines(file)} | other
        for row in rows[~rows.question.isin(there)].itertuples():
            append(file, _line(row))
    removals = _frame(folder / f"{model}-removals.csv.gz")
    for question, rows in removals[~removals.question.isin(other)].groupby("question"):
        _removals(run / "judged" / f"{question}.json", rows)
    return [*sorted(other), *elsewhere]


def scores_of(model: str, folder: Path = FOLDER) -> pandas.DataFrame:
    """The kept scores as `prediction_scores.scores` gives them, a row for each measure."""
    wide = pandas.read_csv(folder / f"{model}-scores.csv.gz")
    return wide.melt(["question", "kind", "method"], var_name="measure").dropna(ignore_index=True)


def keep_scores(model: str, rows: pandas.DataFrame, folder: Path = FOLDER) -> None:
    """Writes scores, a column for each measure."""
    wide = rows.pivot(index=["question", "kind", "method"], columns="measure", values="value")
    wide = wide[list(rows.measure.unique())].reset_index()
    write(folder / f"{model}-scores.csv.gz", wide.to_csv(index=False, float_format="%.5g"))


def about_methods(run: Path) -> pandas.DataFrame:
    """What each method of a run is: its package, version, settings and source."""
    files = sorted((run / "relevances").glob("*.json"))
    about = [json.loads(file.read_text()) for file in files]
    return pandas.DataFrame([{name: each[name] for name in ABOUT} for each in about])


def write(path: Path, text: str) -> None:
    """A packed file, of the same bytes for the same text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(gzip.compress(text.encode(), mtime=0))
    part.replace(path)


def _frame(path: Path) -> pandas.DataFrame:
    return pandas.read_csv(path, dtype=str, keep_default_na=False)


def _kept_questions(path: Path) -> list[Question]:
    return [Question(**json.loads(line)) for line in gzip.decompress(path.read_bytes()).splitlines()]


def _questions(path: Path, kept: list[Question]) -> set[str]:
    """Names of kept questions that the run asks otherwise, or not; a run without questions gets these."""
    if not path.exists():
        write_questions(path, kept)
    own = {question.name: question for question in read_questions(path)}
    return {question.name for question in kept if own.get(question.name) != question}


def _method(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether the run's method is the kept one; a run that lacks it gets it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(about), indent=1) + "\n")
    return bool(json.loads(path.read_text()) == about)


def _line(row: Any) -> dict[str, Any]:
    """A line of a method's file."""
    return {
        "name": row.question, "relevance": [float(value) for value in row.relevance.split()],
        "seconds": float(row.seconds), "peak_mb": float(row.peak_mb),
    }  # fmt: skip


def _removals(path: Path, rows: pandas.DataFrame) -> None:
    """Adds the sets that a question's file lacks."""
    values: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    for replacement, some in rows.groupby("replacement", sort=False):
        kept = dict(zip(some.removed, some.score.astype(float), strict=True))
        values[str(replacement)] = kept | values.get(str(replacement), {})
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values))
    part.replace(path)
