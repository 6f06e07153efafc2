"""What stands at a place of a model in both runs, with the cotangent of the score there: `R = m . Δv`.

A read-out takes such a place apart, into hidden units or into features of a dictionary: where
`v = Σ_i a_i d_i` its relevance is `Σ_i (m . d_i) Δa_i`. It changes no other number.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ligflow.prediction.chain import Chain, Graph
from ligflow.prediction.cuts import Call
from ligflow.prediction.path_variable import Variable


@dataclass(frozen=True, eq=False)
class ReadOut:
    """A vector of each token in the real run and in the reference run, and the cotangent of the score there.

    Its tokens begin at `first` among all.
    """

    cotangent: Float[Tensor, "token *own"]
    real: Float[Tensor, "token *own"]
    reference: Float[Tensor, "token *own"]
    first: int = 0

    @property
    def step(self) -> Float[Tensor, "token *own"]:
        """`Δv = v - v°`."""
        return self.real - self.reference

    def by_token(self) -> Float[Tensor, " token"]:
        """`m . Δv` in float64."""
        return (self.cotangent.double() * self.step.double()).flatten(1).sum(-1)


@dataclass(frozen=True, eq=False)
class Places:
    """The variables of a graph with their cotangents, for one row of the answer."""

    graph: Graph
    result: Chain
    row: int

    def variable(self, name: str) -> ReadOut | None:
        """A path variable with the cotangent of all that it moves; None where it moves nothing.

        `z`, the hidden states of a layer, are `call.hidden`, its output is `call.output`, what its heads give
        `u3`, what a second attention gives `c3`, what stands between attention and MLP `x3`.
        """
        cotangent = self.cotangent(name)
        if cotangent is None:
            return None
        return _read_out(cotangent, self.graph.variables[name])

    def cotangent(self, name: str) -> Tensor | None:
        """That of a variable: where a segment gives it, or through all segments that take it."""
        for images in self.result.at_images:
            if name in images:
                return images[name][self.row]
        taken = [
            average.cotangents[name][self.row]
            for average in self.result.averages
            if average is not None and name in average.cotangents
        ]
        return sum(taken[1:], start=taken[0]) if taken else None

    def through(self, layer: int, kind: str, name: str) -> Tensor | None:
        """The cotangent of a variable through one segment of a layer alone."""
        for segment, average in zip(self.graph.segments, self.result.averages, strict=True):
            here = segment.layer == layer and segment.kind == kind
            if here and average is not None and name in average.cotangents:
                return average.cotangents[name][self.row]
        return None


def mlp_branch(places: Places, call: Call) -> ReadOut | None:
    """What the MLP of a layer gives, before a norm that follows it; None where the layer's cuts have none.

    Beside an attention it holds that one's output bias too.
    """
    variables, number, kind = places.graph.variables, call.number, call.form.kind
    if kind == "parallel":
        cotangent = places.through(number, "sum", f"a{number}")
        return None if cotangent is None else _read_out(cotangent, variables[f"a{number}"])
    if kind == "sequential" and call.form.branch is not None:
        return places.variable(f"a{number}")
    if kind not in ("sequential", "post-norm"):
        return None
    after = call.output if kind == "sequential" else f"y'{number}"
    summed, x = places.variable(after), variables[f"x{number}"]
    if summed is None:
        return None
    real, reference = (
        getattr(summed, run).double() - getattr(x, run).double() for run in ("real", "reference")
    )
    return ReadOut(summed.cotangent, real, reference, summed.first)


def _read_out(cotangent: Tensor, variable: Variable) -> ReadOut:
    at, real, reference = (
        end.movedim(variable.axis, 0) for end in (cotangent, variable.real, variable.reference)
    )
    return ReadOut(at, real, reference, variable.offset)
