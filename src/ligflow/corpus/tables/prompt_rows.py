"""A prompt as a row of a table, and back."""

from collections.abc import Mapping
from typing import Any

from ligflow.corpus.sources.prompt import Prompt
from ligflow.inputs.passages import Passage


def row_of_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt as a row of the table of prompts (see `prediction_schema.PROMPT_CORPUS`)."""
    passages = prompt.passages
    return {
        "prompt": prompt.number, "text": prompt.text, "place": prompt.place, "answer": prompt.answer,
        "contrast": prompt.contrast, "reference": prompt.reference, "group": prompt.group,
        "passages": None if passages is None else [{"title": p.title, "text": p.text} for p in passages],
    }  # fmt: skip


def prompt_of_row(row: Mapping[str, Any]) -> Prompt:
    """The prompt of a row."""
    passages = row["passages"]
    parts = None if passages is None else tuple(Passage(**passage) for passage in passages)
    return Prompt(
        row["prompt"], row["text"], row["place"], row["answer"], row["contrast"], row["reference"], parts,
        row["group"],
    )  # fmt: skip
