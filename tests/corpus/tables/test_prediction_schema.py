"""The tables of a run on prompts: documented, and a prompt comes back from its row as it was."""

import pyarrow as pa

from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables import prediction_schema
from ligflow.corpus.tables.prompt_rows import prompt_of_row, row_of_prompt
from ligflow.inputs.passages import Passage


def test_every_table_is_documented_and_has_the_prompt_first() -> None:
    tables = prediction_schema.PREDICTION_TABLES
    assert all(f"| `{name}` |" in str(prediction_schema.__doc__) for name in tables)
    assert {table.names[0] for table in (*tables.values(), prediction_schema.PROMPT_CORPUS)} == {"prompt"}


def test_a_prompt_comes_back_from_its_row() -> None:
    parts = (Passage(text="A."), Passage(text="B.", title="b"))
    for prompt in (
        Prompt(7, "Who?", "a:8", " Ada", " Bo", "What?", parts, "names"),
        Prompt(2**40, "Who?", "a:9"),
    ):
        rows = pa.Table.from_pylist([row_of_prompt(prompt)], schema=prediction_schema.PROMPT_CORPUS)
        assert [prompt_of_row(row) for row in rows.to_pylist()] == [prompt]
