"""Prediction: why the model said this, and its verbs: summed over words, saved, in tables and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ligflow.extras import need
from ligflow.results.prediction_data import PredictionData

if TYPE_CHECKING:
    import networkx
    import pandas
    from matplotlib.figure import Figure

    from ligflow.dictionaries.dictionary import Dictionary
    from ligflow.prediction.check import Replacement
    from ligflow.prediction.feature_table import FeatureTable
    from ligflow.prediction.neurons import Neurons
    from ligflow.results.prediction_paths import RelevancePath
    from ligflow.results.span_relevance import SpanRelevance, Spans


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(PredictionData):
    """What a change of the model's score between two runs is made of: tokens, heads and layers.

    What it holds, `relevance`, `by_depth`, `heads`, `mlps` and certificates, is described in
    `ligflow.results.PredictionData`.
    """

    def by(self, spans: Spans) -> list[SpanRelevance]:
        """Relevance and error summed over spans of tokens: `"words"`, `"turns"`, ... or names to positions.

        Raises LigflowError for a name that this prediction does not know.
        """
        from ligflow.results.span_relevance import by

        return by(self, spans)

    def paths(self, count: int = 5) -> list[RelevancePath]:
        """The strongest ways through the heads whose edges are stored, in words.

        Raises LigflowError where none are stored.
        """
        from ligflow.results.prediction_paths import paths

        return paths(self, count)

    def features(
        self, dictionary: Dictionary | str | Path | None = None, top: int | None = None
    ) -> FeatureTable:
        """What features of a dictionary contribute, token by token, and the rest that they leave.

        `R_f = (m . d_f) Δa_f` of feature f at a token, from `h = Σ_f a_f d_f + b + ε` at the dictionary's
        hook point; with the nodes beside them they sum to `m . Δh`. With `top` the strongest are listed, and
        the others are summed. A dictionary is one of `read_dictionary`, or its folder; None, or a name, is
        one whose features are stored. Raises LigflowError for one that does not fit to the model, and where
        features are not stored and there is no model, as in a file.
        """
        from ligflow.prediction.feature_table import features

        return features(self, dictionary, top)

    def neurons(self, layer: int, top: int = 20) -> Neurons:
        """The hidden units of a layer's MLP, the `top` strongest of which are listed.

        `R_i = (W_outᵀ m)_i Δa_i` of unit i at a token, which sums over units to `mlps[layer]`. Where they are
        not stored the chain is run once more. Raises LigflowError for a file or a mean without them,
        UnsupportedModel for a layer whose MLP is not of that form.
        """
        from ligflow.prediction.neurons import Neurons
        from ligflow.prediction.neurons_again import neurons_again

        layer = self.layer_number(layer)
        stored = layer in self.stored_neurons
        units = super().neurons(layer, top) if stored else neurons_again(self, layer, top)
        return Neurons(**vars(units))

    def check(self, tokens: int = 5, heads: int = 5) -> list[Replacement]:
        """The strongest tokens and heads replaced for real, the true change beside their relevance.

        Each is put to the reference's value in the real run, and to the real one in the reference run.
        Raises LigflowError for an explanation from a file, which has no model, and for a mean.
        """
        from ligflow.prediction.check import check

        return check(self, vars(self).get("_asked"), tokens, heads)

    def save(self, path: str | Path) -> Path:
        """One safetensors file with JSON metadata, written beside `path` and renamed."""
        from ligflow.results.prediction_file import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A saved prediction. Raises LigflowError for a damaged or foreign file, or one of a flow."""
        from ligflow.results.prediction_file import load

        return load(path, cls)

    @classmethod
    def mean(cls, predictions: Sequence[Self]) -> Self:
        """The mean over several references, with the change of each in `meta["totals"]`.

        Raises LigflowError for predictions of other inputs or scores.
        """
        from ligflow.results.prediction_sums import mean

        return mean(predictions)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a node: kind, cut, layer, head, position, token, source, relevance, error, kept."""
        return _tables().to_pandas(self)

    def to_networkx(self) -> networkx.DiGraph:
        """The graph of tokens at every cut and of the heads and MLPs between, with their relevance."""
        return _tables().to_networkx(self)

    def to_attribution_graph(self, path: str | Path, mass: float = 0.8) -> Path:
        """The strongest links as an attribution graph, which circuit-tracer's viewer and Neuronpedia read.

        By them `mass` of what heads and MLPs carry is drawn; the sums of the rest are nodes of their own.
        Raises LigflowError unless what all heads read is stored (`edges="all"`).
        """
        from ligflow.results.attribution_graph import save_attribution_graph

        return save_attribution_graph(self, path, mass)

    def to_json(self) -> str:
        """All numbers and labels as JSON."""
        from ligflow.results.prediction_json import as_json

        return as_json(self)

    def to_html(self, path: str | Path, *others: PredictionData) -> Path:
        """One page with the finding, words over depth, heads and every number; needs no network.

        `others`, say of other answers or contrasts, can be chosen on it. What heads read is on the page for
        layers whose edges are stored (`edges="all"`), the strongest of them.
        """
        from ligflow.files import write_text
        from ligflow.view.answer_page import page

        return write_text(path, page([self, *others]))

    def plot(self, kind: str = "words", path: str | Path | None = None) -> Figure:
        """A figure for print: `words`, `layers` or `heads`; see `ligflow.view.prediction_figures.plot`."""
        from ligflow.view.prediction_figures import plot

        return plot(self, kind, path)

    def show(self, spans: str | None = None, *, details: bool = False) -> None:
        """Prints the answer, the words by size, the strongest heads and MLPs; in a notebook, shows the page.

        With `spans` the words are summed over these (`turns`, ...); with `details` every segment is listed.
        Both are printed in a notebook too.
        """
        from rich.console import Console

        from ligflow.view.notebook import show_answer
        from ligflow.view.prediction_terminal import report

        if spans is None and not details and show_answer([self]):
            return
        with Console(highlight=False) as console:  # all at once: a notebook shows one output
            report(self, console, spans=spans, details=details)

    def _repr_html_(self) -> str:
        from ligflow.view.prediction_html import fragment

        return fragment(self)

    def __repr__(self) -> str:
        from ligflow.view.prediction_words import summary

        return summary(self)


def _tables() -> Any:
    need("tables", "A table")
    from ligflow.results import prediction_tables

    return prediction_tables
