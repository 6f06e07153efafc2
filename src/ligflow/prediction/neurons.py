"""Neurons: the hidden units of an MLP, as a table in a terminal and in a notebook."""

from dataclasses import dataclass

from ligflow.results.neurons import NeuronsData


@dataclass(frozen=True, eq=False, repr=False)
class Neurons(NeuronsData):
    """The hidden units of one layer's MLP, what each contributes and what it is in both runs.

    What it holds, `relevance` and `rows`, is described in `ligflow.results.neurons.NeuronsData`.
    """

    def _repr_html_(self) -> str:
        from ligflow.view.neurons import html

        return html(self)

    def __repr__(self) -> str:
        from ligflow.view.neurons import text

        return text(self)
