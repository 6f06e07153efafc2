"""Head profiles as files: a page that labels heads, tables, and a figure."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas
from matplotlib.figure import Figure

from ligflow.corpus.analysis.clusters import clusters_of
from ligflow.corpus.analysis.head_profiles import (
    MIXED,
    OTHER,
    ByHead,
    Profile,
    by_head,
    labels,
    maps_of,
    profiles,
)
from ligflow.corpus.analysis.head_relations import DEFAULT, Choice, Found, answer, found, questions_of
from ligflow.corpus.reports.files import write_figure, write_table
from ligflow.corpus.reports.head_relations_page import EXPLAINED, NONE, in_lines, of_questions
from ligflow.corpus.reports.markdown import in_words, plain, table
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.tables.kinds import CONSISTENCY
from ligflow.errors import LigflowError
from ligflow.evaluation.head_profile import KINDS
from ligflow.files import write_text

_LOOK = {"font.size": 7, "svg.hashsalt": "ligflow"}  # many heads: small letters, and a full frame
_NAMED = 12  # heads that a line names; the table has all
_EXPLAINED = (
    "Shares of each row's magnitude, means over rows, with half the width of their 95% intervals over "
    "sentences, or documents where there are several. A star: surely more than the same values in random "
    "order. A head is named after a kind of place if more than half of its mass goes there, and surely more "
    "than chance."
)


def write(
    folder: str | Path,
    out: str | Path | None = None,
    att: str = "itb",
    draws: int = 1000,
    seed: int = 0,
    choice: Choice = DEFAULT,
) -> Path:
    """heads.md, heads and relations (CSV, Parquet) and a figure (SVG, PNG) in `out`; the page's path."""
    return profiled(folder, out, att, draws, seed, choice)[0]


def profiled(
    folder: str | Path, out: str | Path | None, att: str, draws: int, seed: int, choice: Choice
) -> tuple[Path, list[str]]:
    """`write`, and in words which heads route mainly to one kind of place, and which find a relation."""
    run = open_run(folder)
    run.check_kind(CONSISTENCY)
    measures = profiles(run, att, draws, seed)
    answers = _relations(run, att, draws, seed, choice)
    place = Path(out) if out is not None else run.folder / "heads"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LigflowError(f"Cannot make the folder {str(place)!r}: {error.strerror or error}.") from error
    frame = pandas.DataFrame([asdict(profile) for profile in measures])
    write_table(frame, place / "heads")
    write_table(_table(answers), place / "relations")
    write_figure(place / "heads", _LOOK, _drawn, frame)
    path = write_text(place / "heads.md", page(run, measures, answers, att))
    return path, in_words([_about(run, att), *verdict(measures), *(in_lines(answers) if answers else [NONE])])


def _relations(run: Run, att: str, draws: int, seed: int, choice: Choice) -> list[Found]:
    """How well every head answers every question that the corpus can be questions."""
    every = (sentence for shard in run.done for sentence in run.sentences(shard))
    questions = questions_of(every, punctuation=choice.punctuation)
    read = ((sentence, flow, flow.z2u) for sentence, flow in maps_of(run, att))
    clusters = clusters_of(run)
    return found(answer(read, questions, choice, draws, seed, clusters)) if questions else []


def _table(answers: Sequence[Found]) -> pandas.DataFrame:
    """All answers; without any a table of no rows."""
    return pandas.DataFrame(map(asdict, answers), columns=[field.name for field in fields(Found)])


def verdict(measures: Sequence[Profile]) -> list[str]:
    """How many heads route mainly to one kind of place, and which: a line for each kind that has any."""
    mainly = labels(measures)
    by_kind = {
        kind: [f"layer {layer} head {head}" for (layer, head), label in mainly.items() if label == kind]
        for kind in KINDS
    }
    count = sum(map(len, by_kind.values()))
    if not count:
        return [f"None of {len(mainly)} heads routes mainly to one kind of place."]
    lines = [f"**{count} of {len(mainly)} heads route mainly to one kind of place**:"]
    for kind, heads in by_kind.items():
        if heads:
            more = f", and {len(heads) - _NAMED} more (`heads.csv`)" if len(heads) > _NAMED else ""
            lines.append(f"- {kind}: {len(heads)} ({', '.join(heads[:_NAMED])}{more})")
    return lines


def page(run: Run, measures: Sequence[Profile], answers: Sequence[Found], att: str) -> str:
    """The profiles in Markdown: the labelled heads first, then every head."""
    heads, mainly = by_head(measures), labels(measures)
    labelled = [
        f"- layer {layer}, head {head}: mainly {label}"
        for (layer, head), label in mainly.items()
        if label != MIXED
    ]
    body = [
        [str(layer), str(head), mainly[layer, head], *(_cell(of_head[m]) for m in (*KINDS, *OTHER))]
        for (layer, head), of_head in heads.items()
    ]
    return "\n\n".join([
        f"# Head profiles: {plain(run.manifest['model']['name'])}",
        f"{_about(run, att)} {_EXPLAINED}",
        "\n".join(labelled) or "No head routes mainly to one kind of place.",
        "## Syntactic relations",
        "\n".join([EXPLAINED, "", *in_lines(answers), "", of_questions(answers)]) if answers else NONE,
        "## All heads",
        table(["layer", "head", "mainly", *KINDS, *OTHER], _starred(body, heads)),
        "![Shares by head](heads.png)",
    ]) + "\n"  # fmt: skip


def _about(run: Run, att: str) -> str:
    sentences = sum(run.size(shard) - run.left_out(shard) for shard in run.done)
    return f"{sentences} sentences, `z2u` under `{att}`."


def _starred(body: list[list[str]], heads: ByHead) -> list[list[str]]:
    for line, measures in zip(body, heads.values(), strict=True):
        for place, kind in enumerate(KINDS, start=3):
            if measures[f"{kind} over chance"].low > 0:
                line[place] += " \\*"
    return body


def _cell(profile: Profile) -> str:
    if np.isnan(profile.mean):
        return "–"
    half = (profile.high - profile.low) / 2
    return f"{profile.mean:.2f}" + ("" if np.isnan(half) else f" ± {half:.2f}")


def _drawn(frame: pandas.DataFrame) -> Figure:
    kinds = frame[frame.measure.isin(KINDS)]
    wide = kinds.pivot_table(index=["layer", "head"], columns="measure", values="mean", dropna=False)[
        list(KINDS)
    ]
    figure = Figure(figsize=(4.5, 0.8 + 0.13 * len(wide)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(wide.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.set_xticks(range(len(KINDS)), list(KINDS), rotation=40, ha="right")
    axes.set_yticks(range(len(wide)), [f"{layer}.{head}" for layer, head in wide.index], fontsize=5)
    axes.set_ylabel("layer.head")
    figure.colorbar(image, label="share of the row's magnitude", shrink=0.5)
    return figure
