"""Flow: the labelled maps of one example and its verbs: regrouped, saved, in tables, pages and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ligflow.extras import need
from ligflow.results.flow_data import FlowData

if TYPE_CHECKING:
    import networkx
    import pandas
    import xarray
    from matplotlib.figure import Figure
    from torch import Tensor

    from ligflow.view.notebook import FlowWidget


@dataclass(frozen=True, eq=False, repr=False)
class Flow(FlowData):
    """The labelled maps of one example: what they hold, saved, shown and put in tables.

    What it holds, `z2u`, `u2z`, `z2z`, totals and certificates, is described in `ligflow.results.FlowData`.
    """

    @classmethod
    def from_attentions(
        cls, attentions: Sequence[Tensor], tokens: Sequence[str], special: Sequence[bool] | None = None
    ) -> Self:
        """Attention weights, `[1, heads, T, T]` a layer, as maps `z2u` for the page: no contributions.

        They are what a model gives with `output_attentions=True`, and page, tables and files say that nothing
        is certified of them. `special` marks special tokens. Raises LigflowError for what does not fit.
        """
        from ligflow.results.attention_weights import flow_of_attentions

        return flow_of_attentions(attentions, tokens, special, cls)

    def over_both(self) -> Self:
        """The same numbers with one list of sources: the encoder's tokens (`e:...`) after the layer's own.

        Its heads are those of both attentions. A flow without a memory is returned as it is.
        """
        from ligflow.results.joint_sources import over_both

        return over_both(self)

    def merge_words(self) -> Self:
        """The same maps over words: sums over a word's source tokens, means over its target tokens."""
        from ligflow.results.grouping import merge_words

        return merge_words(self)

    def hide_special(self) -> Self:
        """The same maps without special tokens; what they contributed stays in `hidden(route)`.

        A decoder's flow is taken `over_both` sets of sources.
        """
        from ligflow.results.grouping import hide_special

        return hide_special(self.over_both())

    def save(self, path: str | Path) -> Path:
        """One safetensors file with JSON metadata, written beside `path` and renamed."""
        from ligflow.results.flow_file import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A saved flow. Raises LigflowError for a damaged or foreign file."""
        from ligflow.results.flow_file import load

        return load(path, cls)

    def to_bertviz(self, view: str = "reads") -> dict[str, Any]:
        """What `bertviz.head_view` and `model_view` are called with: `head_view(**flow.to_bertviz())`.

        They draw numbers from 0 to 1 without a sign, and get sizes of shares, `|A| / Σ |A|`, for each target.
        `view` is `reads` (by head), `layer`, `through-heads` or `product`.
        """
        from ligflow.results.bertviz_input import bertviz_input

        return bertviz_input(self, view)

    def to_headvis(self, folder: str | Path, *others: FlowData) -> Path:
        """What heads read in this text and `others`, as the folder `data` that HeadVis shows.

        It shows numbers from 0 to 1 without a sign, and gets sizes of shares, `|A| / Σ |A|`, for each target.
        Raises LigflowError for a folder that there is, and for flows of another model.
        """
        from ligflow.results.headvis_folder import save_headvis

        return save_headvis([self, *others], folder)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a cell of every map: route, layer, head, target, source, value, total, certificate."""
        return _tables().to_pandas(self.over_both())

    def to_xarray(self) -> xarray.Dataset:
        """All maps with named axes and token labels."""
        return _tables().to_xarray(self.over_both())

    def to_networkx(self, layer: int, split: bool = False) -> networkx.DiGraph:
        """The graph inside a layer: z_i -> u_j^h -> z'_j, and the residual z_j -> z'_j.

        With `split` the exact one, of z2z by head, whose edges say in `mlp` what passes the MLP.
        """
        tables = _tables()
        graph = tables.exact_graph if split else tables.to_networkx
        return graph(self.over_both(), layer)

    def to_html(self, path: str | Path, *others: FlowData, view: str = "") -> Path:
        """One interactive page with this flow, and `others` to choose or lay beside; needs no network.

        `view` is how it opens, as the part behind # in the page's address, e.g. `"words=1&map=composed"`.
        Raises LigflowError if the maps are too many for a browser.
        """
        from ligflow.files import write_text
        from ligflow.view.interactive_page import page

        return write_text(path, page([self, *others], view=view))

    def show(self, *others: FlowData, view: str = "") -> FlowWidget:
        """The same in a notebook, as a widget; what is pinned in it is in `.selection`.

        Raises LigflowError if anywidget is not installed.
        """
        from ligflow.view.notebook import show

        return show([self, *others], view)

    def plot(self, kind: str = "heat", **options: Any) -> Figure:
        """A figure for print: `heat`, `layers`, `heads` or `ladder`; see `ligflow.view.plot`."""
        from ligflow.view.figures import plot

        return plot(self.over_both(), kind, **options)

    def overlay(self, image: Any, target: int | str | None = None, **options: Any) -> Figure:
        """What the patches of an image contribute to one target, over it; see `ligflow.view.overlay`."""
        from ligflow.view.image_overlay import overlay

        return overlay(self, image, target, **options)

    def _repr_html_(self) -> str:
        from ligflow.view.html import fragment

        return fragment(self.over_both())


def from_attentions(
    attentions: Sequence[Tensor], tokens: Sequence[str], special: Sequence[bool] | None = None
) -> Flow:
    """Attention weights of any model as a flow for the page: `Flow.from_attentions`."""
    return Flow.from_attentions(attentions, tokens, special)


def _tables() -> Any:
    need("tables", "A table")
    from ligflow.results import tables

    return tables
