"""The tables of some prompts: what each prediction is made of."""

from collections.abc import Callable

import pyarrow as pa

from ligflow.corpus.runs.store import Results
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables.prediction_rows import components, left_out_row, row_of_prediction, tokens
from ligflow.corpus.tables.prediction_schema import COMPONENTS, PROMPTS, TOKENS
from ligflow.corpus.tables.prompt_settings import PromptSettings
from ligflow.explainer.explainer import Explainer
from ligflow.prediction.many import Request, explain_each


def results_of_prompts(
    explainer: Explainer,
    prompts: list[Prompt],
    settings: PromptSettings,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Results, int]:
    """The tables of some prompts, and how many of them could be explained."""
    reasons: dict[int, str] = {}
    rows, of_tokens, of_components = {}, [TOKENS.empty_table()], [COMPONENTS.empty_table()]
    explained = explain_each(
        explainer.whole, [request_of(prompt) for prompt in prompts], settings.prediction, batch_size,
        lambda place, error: reasons.update({place: str(error)}),
    )  # fmt: skip
    for place, prediction in explained:
        prompt = prompts[place]
        rows[place] = row_of_prediction(prompt, prediction)
        of_tokens.append(tokens(prompt.number, prediction))
        of_components.append(components(prompt.number, prediction))
        if progress is not None:
            progress(len(rows), len(prompts))
    for place, reason in reasons.items():
        rows[place] = left_out_row(prompts[place], reason)
    tables = {
        "prompts": pa.Table.from_pylist([rows[place] for place in sorted(rows)], schema=PROMPTS),
        "tokens": pa.concat_tables(of_tokens).unify_dictionaries(),
        "components": pa.concat_tables(of_components).unify_dictionaries(),
    }
    return Results(tables), len(rows) - len(reasons)


def request_of(prompt: Prompt) -> Request:
    """What is asked of a prompt."""
    return Request(prompt.inputs, prompt.answer, prompt.contrast, reference=prompt.reference)
