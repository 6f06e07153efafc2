"""A table of hidden units: in a terminal and in a notebook. All text is escaped."""

from ligflow.results.neurons import Neuron, NeuronsData
from ligflow.view.listed import listed
from ligflow.view.prediction_words import number, percent, shown

_HEAD = ("hidden unit", "at", "relevance", "share", "activation", "with the reference")


def text(neurons: NeuronsData) -> str:
    """The strongest units as lines, under what they sum to."""
    rows = [_HEAD, *(_row(neurons, row) for row in neurons.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([_said(neurons), *(line.rstrip() for line in lines)])


def html(neurons: NeuronsData) -> str:
    """The same as a table."""
    rows = [_row(neurons, row) for row in neurons.rows]
    return f"<p>{_said(neurons)}</p>\n{listed(_HEAD, rows, texts=('at',))}"


def _said(neurons: NeuronsData) -> str:
    total, units = float(neurons.node.sum()), neurons.relevance.shape[1]
    listed_sum = sum(row.relevance for row in neurons.rows)
    return (
        f"layer {neurons.layer}: the MLP contributes {number(total)}, its {units} hidden units at "
        f"{len(neurons.tokens)} tokens together; the {len(neurons.rows)} strongest: {number(listed_sum)}"
    )


def _row(neurons: NeuronsData, row: Neuron) -> tuple[str, ...]:
    activations = (f"{value:.3g}" for value in (row.activation, row.reference_activation))
    place = f"{shown(row.token)} ({row.position})"
    return row.name, place, number(row.relevance), percent(row.relevance / neurons.scale), *activations
