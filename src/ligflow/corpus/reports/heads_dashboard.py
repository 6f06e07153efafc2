"""The page of all heads of a run on prompts: what its report knows, as the page shows it."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

from ligflow.corpus.analysis.component_shares import ComponentShare
from ligflow.corpus.analysis.prompt_components import Component
from ligflow.corpus.analysis.prompt_examples import Example, examples, labels
from ligflow.corpus.reports.markdown import in_words
from ligflow.corpus.reports.predictions_data import PredictionFindings
from ligflow.corpus.reports.predictions_page import carries_in_words, summary
from ligflow.view.heads_page import HeadsPage, Measure, ShownComponent, ShownExample, ShownPrompt, page
from ligflow.view.prediction_words import running

_MEASURES = (
    Measure("share", "what it contributes relative to the change of the score, mean over prompts"),
    Measure("relevance", "the same in units of the score", "score"),
    Measure("magnitude", "the mean share without its sign"),
    Measure(
        "beyond the control", "the share without its sign, less what heads exchanged at random stay below"
    ),
    Measure("for the answer in", "in how many of the prompts it speaks for the answer"),
    Measure("at the last token", "how much of its magnitude is written at the last token"),
    Measure("layer", "the layer's number", "count"),
)


def heads_page(findings: PredictionFindings, links: Mapping[int, str]) -> str:
    """The page in HTML; `links` are the pages of prompts by their numbers."""
    chosen = examples(findings.run)
    numbers = {example.prompt for of_part in chosen.values() for example in of_part}
    groups = list(findings.sizes) if findings.differences else []
    measures = [*_MEASURES, *(Measure(f"share in {name}", _of_group(findings, name)) for name in groups)]
    in_group = {
        (row.group, Component(row.kind, row.layer, row.head)): row.share for row in findings.differences
    }
    return page(
        HeadsPage(
            f"Which heads carry the task: {findings.run.manifest['model']['name']}",
            in_words(summary(findings, str)),
            measures,
            [
                _shown(row, chosen.get(_part(row), []), [in_group[name, _part(row)] for name in groups])
                for row in findings.components
            ],
            _prompts(findings, numbers, links),
            {row.kind: row.control for row in findings.components},
        )
    )


def _of_group(findings: PredictionFindings, name: str) -> str:
    size = findings.sizes[name]
    return f"its mean share in the {size} prompts of the group" if size > 1 else "its share in the one prompt"


def _part(row: ComponentShare) -> Component:
    return Component(row.kind, row.layer, row.head)


def _shown(row: ComponentShare, own: list[Example], in_groups: list[float]) -> ShownComponent:
    values = [
        row.share, row.relevance, row.magnitude, abs(row.share) - row.control, row.positive, row.at_last,
        float(row.layer), *in_groups,
    ]  # fmt: skip
    return ShownComponent(
        _part(row).name, row.kind, carries_in_words(row), _known(row.low), _known(row.high),
        [_known(value) for value in values],
        [ShownExample(example.prompt, example.share, example.relevance) for example in own],
    )  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _prompts(
    findings: PredictionFindings, numbers: set[int], links: Mapping[int, str]
) -> dict[int, ShownPrompt]:
    """The prompts that are examples, token by token."""
    tokens = labels(findings.run, numbers)
    rows = findings.prompts[findings.prompts.prompt.isin(numbers)].to_dict("records")
    return {int(row["prompt"]): _prompt(row, tokens[row["prompt"]], links.get(row["prompt"])) for row in rows}


def _prompt(row: Mapping[Hashable, Any], tokens: list[str], link: str | None) -> ShownPrompt:
    group = row["group"] if isinstance(row["group"], str) else None
    return ShownPrompt(running(tokens), row["question"], float(row["change"]), row["place"], group, link)
