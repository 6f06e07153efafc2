"""The tables of a shard of sentences hold what each sentence gives alone, one setting asked after another."""

import pandas

from ligflow.corpus.runs.sentence_shard import results_of_sentences
from ligflow.corpus.runs.worker import Model, loaded
from ligflow.corpus.tables.comparisons import compare
from ligflow.corpus.tables.experiment import named
from small_runs import SMALL, corpus

NUMBERS = ["norm", "l2", "pearson"]


def test_a_shard_holds_what_each_sentence_gives_alone(small: Model) -> None:
    explainer, sentences = loaded(small), list(corpus().read())
    results, explained = results_of_sentences(explainer, sentences, SMALL)
    assert explained == len(sentences)
    together = results.tables["metrics"].to_pandas()
    for sentence in sentences[:2]:
        rows = together[together.sentence == sentence.number].reset_index(drop=True)
        flows = [explainer.explain(sentence.inputs, layers=SMALL.layers, **each) for each in SMALL.variants]
        attention = explainer.attention(sentence.inputs, layers=SMALL.layers)
        alone = compare(sentence.number, named(flows), attention, SMALL).to_pandas()
        pandas.testing.assert_frame_equal(rows[NUMBERS], alone[NUMBERS], rtol=1e-3, atol=1e-4)
        of_attention = rows["map"] == "attention"
        assert alone[of_attention].pearson.nunique() > 5  # rows that could be another token's
