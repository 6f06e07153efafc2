"""Products of the reference run, which need not be made again at the start of a path."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ligflow.prediction.cuts import Call, sites_of
from ligflow.prediction.inner_states import InnerStates
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Products, Segment
from ligflow.prediction.two_runs import LayerRun


def with_products(
    segments: Sequence[Segment], call: Call, variables: Mapping[str, Variable], reference: LayerRun
) -> list[Segment]:
    """Segments of a layer with what their matrices gave in the reference run, if that was noted."""
    inner: InnerStates | None = reference.inner
    sites = sites_of(call) or {}
    noted = {} if inner is None else inner.products
    known = {module: of[0] for module, of in noted.items() if len(of) == 1 and of[0] is not None}

    def of(name: str) -> Products:
        source, site = variables[name], sites.get(name)
        shape = (1, source.count, -1)
        fitting = {
            module: product.reshape(shape)
            for module, (product, version) in known.items()
            if product._version == version and product.shape[:-1].numel() == source.count
        }
        return Products(source.reference, fitting, site.module if site and site.end == "input" else None)

    return [replace(each, products=of(each.sources[0])) if known else each for each in segments]
