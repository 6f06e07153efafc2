"""What heads route to, which relations they find, on LIG's maps and on attention; writes how-to/heads.md.

Run: python docs/scripts/heads.py [--tables] [NAME=CORPUS.conllu ...]

MiniLM on the sentences of the shipped corpus that have heads (half a minute of one core), and on each corpus
that is named (0.2 seconds a sentence). Tables are kept in `benchmarks/results/heads`, the page is made from
these; `--tables` computes nothing.
"""

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas
from blocks import put

from ligflow import CompletenessWarning, Explainer
from ligflow.corpus.analysis.clusters import by_document
from ligflow.corpus.analysis.head_profiles import MIXED, by_head, labels, profiles_of
from ligflow.corpus.analysis.head_relations import (
    ANY,
    TO_HEAD,
    Answers,
    Choice,
    Read,
    answer,
    best_of_each,
    found,
    held_against,
    questions_of,
)
from ligflow.corpus.reports.head_relations_page import over, share
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.evaluation.verdicts import BETTER, WORSE
from ligflow.files import write_text

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "heads", ROOT / "docs" / "how-to" / "heads.md"
SHIPPED = "shipped"
NAMES = {SHIPPED: "the shipped corpus", "ewt": "UD English EWT (test)"}
RULES = {
    "words, mean of pieces": Choice(), "words, sum of pieces": Choice(pieces="sum"),
    "words and punctuation, mean of pieces": Choice(punctuation=True),
}  # fmt: skip
MAPS = ("LIG", "attention")
WORDS, DRAWS = range(4, 41), 1000


# --- what is computed ---------------------------------------------------------------------------------


def sentences(corpus: str) -> list[Sentence]:
    """Those with syntactic heads that are neither short nor long."""
    every = (one for one in read(corpus) if not isinstance(one, BadLine))
    return [one for one in every if one.heads and len(one.heads) in WORDS]


def maps_of(corpus: list[Sentence]) -> list[dict[str, Read]]:
    """LIG's maps of what heads read, and attention, of every sentence."""
    explainer = Explainer.from_pretrained("embedded:minilm")
    flows = explainer.explain_many([one.inputs for one in corpus], routes="z2u", att_baseline="itb")
    every = []
    for flow in flows:
        sentence = corpus[flow.meta["index"]]
        attention = explainer.attention(sentence.inputs)
        every.append({"LIG": (sentence, flow, flow.z2u), "attention": (sentence, flow, attention)})
    return every


def compute(name: str, corpus: str) -> None:
    """All tables of a corpus."""
    chosen = sentences(corpus)
    every, clusters = maps_of(chosen), by_document(chosen)
    kept: list[pandas.DataFrame] = []
    for rule, choice in RULES.items():
        asked = questions_of(chosen, punctuation=choice.punctuation)
        answers = {
            kind: answer((of[kind] for of in every), asked, choice, DRAWS, clusters=clusters) for kind in MAPS
        }
        kept += [of_answers(rule, kind, answers[kind]) for kind in MAPS]
        if choice == Choice():
            keep(side_by_side(answers["LIG"], answers["attention"]), f"{name}-side-by-side")
    keep(pandas.concat(kept), f"{name}-relations")
    keep(of_profiles((of["LIG"][:2] for of in every), clusters), f"{name}-places")


def keep(frame: pandas.DataFrame, name: str) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / f"{name}.csv", frame.to_csv(index=False, float_format="%.4f"))


def of_answers(rule: str, kind: str, answers: Answers) -> pandas.DataFrame:
    """The best head of each question, and how many heads are surely better than the offset."""
    every = found(answers)
    better = pandas.Series([(row.relation, row.direction) for row in every if row.outcome == BETTER])
    count = better.value_counts()
    rows = [
        {"candidates": rule, "map": kind, "sentences": answers.sentences}
        | asdict(row) | {"heads_better": int(count.get((row.relation, row.direction), 0))}
        for row in best_of_each(every)
    ]  # fmt: skip
    return pandas.DataFrame(rows)


def side_by_side(ours: Answers, attention: Answers) -> pandas.DataFrame:
    """For each question, of how many heads LIG's map is surely better or worse than its attention."""
    beside = held_against(ours, attention)
    rows = []
    for place, (relation, direction) in enumerate(ours.questions):
        outcome = beside.outcome[place]
        both = [np.unravel_index(np.nanargmax(of.heads[0, place]), outcome.shape) for of in (ours, attention)]
        best = both[0]
        rows.append({
            "relation": relation, "direction": direction, "rows": int(ours.rows[place]),
            "heads": outcome.size, "better": int((outcome == BETTER).sum()),
            "worse": int((outcome == WORSE).sum()), "same_best_head": both[0] == both[1],
            "mean_difference": float(np.nanmean(beside.difference[place])),
            "of_best": float(beside.difference[place][best]), "of_best_low": float(beside.low[place][best]),
            "of_best_high": float(beside.high[place][best]),
        })  # fmt: skip
    return pandas.DataFrame(rows)


def of_profiles(flows: Iterable[tuple[Sentence, object]], clusters: Mapping[int, int]) -> pandas.DataFrame:
    """The heads that route mainly to one kind of place."""
    measures = profiles_of(flows, DRAWS, clusters=clusters)  # type: ignore[arg-type]
    of_heads = by_head(measures)
    rows = []
    for (layer, head), label in labels(measures).items():
        share = of_heads[layer, head].get(label)
        known = {"share": np.nan, "low": np.nan, "high": np.nan}
        if label != MIXED and share is not None:
            known = {"share": share.mean, "low": share.low, "high": share.high}
        rows.append({"layer": layer, "head": head, "mainly": label} | known)
    return pandas.DataFrame(rows)


# --- the page -----------------------------------------------------------------------------------------


def read_kept(name: str, kind: str) -> pandas.DataFrame:
    return pandas.read_csv(RESULTS / f"{name}-{kind}.csv")


def blocks() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        relations = read_kept(name, "relations")
        yield f"relations-{name}", of_relations(relations[relations.candidates == next(iter(RULES))])
        yield f"places-{name}", of_places(read_kept(name, "places"))
    yield "questions", of_counts()
    yield "candidates", of_candidates()
    yield "side-by-side", of_both()


def of_relations(rows: pandas.DataFrame) -> str:
    """The questions at which a head of either map is surely better than the best offset: the best heads."""
    body = []
    for (relation, direction), both in rows.groupby(["relation", "direction"], sort=False):
        if not both.heads_better.sum():
            continue
        first = both.iloc[0]
        cells = [
            cell
            for kind in MAPS
            for row in both[both["map"] == kind].itertuples()
            for cell in (
                f"{row.layer}, {row.head}",
                f"{share(row.share)}, {over(row)}",
                str(row.heads_better),
            )
        ]
        offset = f"{first.offset:+d}: {share(first.by_offset)}"
        body.append([str(relation), str(direction), str(first.rows), offset, *cells])
    kinds = [f"{kind}: {what}" for kind in MAPS for what in ("best head", "share, over the offset", "heads")]
    return table(["relation", "direction", "rows", "offset", *kinds], body)


def of_counts() -> str:
    """At how many questions some head is surely better than the best offset."""
    body = []
    for name, corpus in NAMES.items():
        rows = read_kept(name, "relations")
        rows = rows[rows.candidates == next(iter(RULES))]
        count = len(rows) // len(MAPS)
        cells = [f"{int((rows.heads_better > 0)[rows['map'] == kind].sum())} of {count}" for kind in MAPS]
        body.append([corpus, str(rows.sentences.iloc[0]), *cells])
    return table(["corpus", "sentences", *(f"questions, {kind}" for kind in MAPS)], body)


def of_candidates() -> str:
    """What changes with the words that may be chosen: all words to their head, whatever the relation."""
    body = []
    for name, corpus in NAMES.items():
        rows = read_kept(name, "relations")
        for rule in RULES:
            of_rule = rows[(rows.candidates == rule) & (rows.relation == ANY) & (rows.direction == TO_HEAD)]
            cells = [
                f"{row.layer}, {row.head}: {share(row.share)}, {over(row)}"
                for kind in MAPS
                for row in of_rule[of_rule["map"] == kind].itertuples()
            ]
            body.append([corpus, rule, share(of_rule.iloc[0].by_offset), *cells])
    return table(["corpus", "candidates", "next word", *MAPS], body)


def of_both() -> str:
    """Of how many heads and questions LIG's map is surely better, or worse, than attention."""
    body = []
    for name, corpus in NAMES.items():
        rows = read_kept(name, "side-by-side")
        for said, some in {
            "all questions": rows, "any relation, dependent to head": rows.iloc[:1],
        }.items():  # fmt: skip
            count, better, worse = int(some.heads.sum()), int(some.better.sum()), int(some.worse.sum())
            mean = float((some.mean_difference * some.heads).sum() / count)
            body.append(
                [corpus, said, *map(str, (count, better, worse, count - better - worse)), f"{mean:+.3f}"]
            )
    heads = ["heads and questions", "LIG better", "attention better", "cannot be told", "mean difference"]
    return table(["corpus", "", *heads], body)


def of_places(rows: pandas.DataFrame) -> str:
    """The heads that route mainly to one kind of place."""
    named = rows[rows.mainly != MIXED]
    body = [
        [f"{row.layer}, {row.head}", row.mainly, f"{row.share:.2f} [{row.low:.2f}, {row.high:.2f}]"]
        for row in named.itertuples()
    ]
    body.append(["all others", MIXED, ""])
    return table(["layer, head", "mainly", "share of magnitude"], body)


def main() -> None:
    warnings.simplefilter("ignore", CompletenessWarning)
    if "--tables" not in sys.argv:
        named = [one for one in sys.argv[1:] if "=" in one]
        corpora = {SHIPPED: "embedded:sentences"} | dict(one.split("=", 1) for one in named)
        for name, corpus in corpora.items():
            compute(name, corpus)
    put(PAGE, dict(blocks()))


if __name__ == "__main__":
    main()
