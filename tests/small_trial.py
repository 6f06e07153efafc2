"""A trial that is small: three sentences, one layer; and rows that are made up."""

import pandas

from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.faithfulness_rows import Trial

TEXTS = ("The cat slept.", "Nobody saw the old light.", "Rain fell.")
SENTENCES = [Sentence(number, text, f"made:{number + 1}") for number, text in enumerate(TEXTS)]
TRIAL = Trial(layers=(2,), steps=4, shuffled=1, pairs=4)


def made(
    values: dict[str, list[float]], measure: str = "between", replacement: str = "zero"
) -> pandas.DataFrame:
    """One target a sentence."""
    about = {"layer": 0, "unmet": 0, "replacement": replacement, "players": "words", "measure": measure}
    return pandas.DataFrame([
        {"sentence": number, "method": method, "sum": value, "count": 1, **about}
        for method, of_method in values.items() for number, value in enumerate(of_method)
    ])  # fmt: skip
