"""The kinds of runs: what a corpus holds, and which tables there are of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ligflow.corpus.tables.prediction_schema import PREDICTION_TABLES, PROMPT_CORPUS
from ligflow.corpus.tables.prompt_rows import prompt_of_row, row_of_prompt
from ligflow.corpus.tables.schema import CORPUS, TABLES
from ligflow.corpus.tables.sentence_rows import row_of, sentence_of


@dataclass(frozen=True)
class Kind:
    """`items` is what a corpus holds, in the plural; a folder and the first of the `tables` are called so.

    `corpus` are the columns of an item; `row_of` makes a row of one, `item_of` the item again.
    """

    items: str
    corpus: pa.Schema
    row_of: Callable[[Any], dict[str, Any]]
    item_of: Callable[[Mapping[str, Any]], Any]
    tables: Mapping[str, pa.Schema]


CONSISTENCY, PREDICTIONS = "consistency", "predictions"
KINDS = {
    CONSISTENCY: Kind("sentences", CORPUS, row_of, sentence_of, TABLES),
    PREDICTIONS: Kind("prompts", PROMPT_CORPUS, row_of_prompt, prompt_of_row, PREDICTION_TABLES),
}
