"""What is known of an example: its maps, as data, files, tables, graphs and traces."""

from typing import TYPE_CHECKING

from ligflow.lazy_names import lazy_names

if TYPE_CHECKING:
    from ligflow.results.cells import Cell as Cell
    from ligflow.results.cells import RoutingChange as RoutingChange
    from ligflow.results.flow_data import FlowData as FlowData
    from ligflow.results.layer_graph import Balance as Balance
    from ligflow.results.layer_graph import Parts as Parts
    from ligflow.results.layer_graph import balance as balance
    from ligflow.results.layer_graph import contributions as contributions
    from ligflow.results.layer_graph import save_graph as save_graph
    from ligflow.results.layer_graph import strong as strong
    from ligflow.results.prediction_data import PredictionData as PredictionData
    from ligflow.results.prediction_data import SegmentCertificate as SegmentCertificate
    from ligflow.results.prediction_paths import RelevancePath as RelevancePath
    from ligflow.results.span_relevance import SpanRelevance as SpanRelevance
    from ligflow.results.strongest_paths import TokenPath as TokenPath
    from ligflow.results.strongest_paths import strongest as strongest
    from ligflow.results.tracing import BASELINES as BASELINES
    from ligflow.results.tracing import Edge as Edge
    from ligflow.results.tracing import Trace as Trace
    from ligflow.results.tracing import trace as trace

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BASELINES": "ligflow.results.tracing",
        "Balance": "ligflow.results.layer_graph",
        "Cell": "ligflow.results.cells",
        "Edge": "ligflow.results.tracing",
        "FlowData": "ligflow.results.flow_data",
        "Parts": "ligflow.results.layer_graph",
        "PredictionData": "ligflow.results.prediction_data",
        "RelevancePath": "ligflow.results.prediction_paths",
        "RoutingChange": "ligflow.results.cells",
        "SegmentCertificate": "ligflow.results.prediction_data",
        "SpanRelevance": "ligflow.results.span_relevance",
        "TokenPath": "ligflow.results.strongest_paths",
        "Trace": "ligflow.results.tracing",
        "balance": "ligflow.results.layer_graph",
        "contributions": "ligflow.results.layer_graph",
        "save_graph": "ligflow.results.layer_graph",
        "strong": "ligflow.results.layer_graph",
        "strongest": "ligflow.results.strongest_paths",
        "trace": "ligflow.results.tracing",
    },
)
