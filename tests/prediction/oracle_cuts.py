"""Where a layer is cut: its variables by name, and the segments between them.

A layer's variables are `z` (its input), `u` (heads joined, before the output projection), `w` (between
attention and cross-attention), `c` (heads of cross-attention), `x` (before the MLP), `a` (what the MLP
writes), `y` (before a norm that closes the layer); the last `z` is the last layer's output. Where `x` is no
module's output it is put in as the layer's input, with attention's branch made silent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from prediction.oracle import SCORE, Place, Program, Segment, Variable


@dataclass(frozen=True)
class Names:
    """Places of a layer by the modules below it; `first` is the number of the stack's first layer."""

    layers: str
    projection: str
    middle: Place | None = None  # where x is read
    branch: str = "mlp"
    passes: bool = False  # what is put there is all of x, the residual too, as with every output
    silent: str = ""  # what makes attention's branch zero, if not the projection
    closing: str = ""  # a norm after the sum of x and a
    between: Place | None = None  # where w is read and put
    cross: str = ""  # the output projection of cross-attention
    repeated: bool = False  # layers are calls of one module
    stream: str = "tokens"
    first: int = 0
    mark: str = ""  # before the names of its variables

    def at(self, layer: int, place: Place | str) -> Place:
        place = Place(place) if isinstance(place, str) else place
        prefix = self.layers if self.repeated else f"{self.layers}.{layer}"
        module = f"{prefix}.{place.module}".strip(".")
        return replace(place, module=module, call=layer if self.repeated else 0)

    def name(self, kind: str, layer: int) -> str:
        return f"{self.mark}{kind}{layer}"

    def variable(self, kind: str, layer: int, read: Place | str, node: str = "") -> Variable:
        place = self.at(layer, read)
        label = (node, self.first + layer) if node else None
        return Variable(self.name(kind, layer), place, stream=self.stream, node=label)

    def z(self, layer: int, count: int) -> Variable:
        if layer < count:
            return self.variable("z", layer, Place("", "in"))
        return replace(self.variable("z", count - 1, Place("", "out")), name=self.name("z", count))

    def x(self, layer: int) -> Variable:
        assert self.middle
        variable = self.variable("x", layer, self.middle)
        if self.passes or self.middle.side == "out":
            return variable
        silent = self.at(layer, self.silent or self.projection)
        return replace(variable, put=self.at(layer, Place("", "in")), silent=(silent,))

    def u(self, layer: int) -> Variable:
        return self.variable("u", layer, Place(self.projection, "in"), "heads")

    def c(self, layer: int) -> Variable:
        return self.variable("c", layer, Place(self.cross, "in"), "cross heads")

    def a(self, layer: int) -> Variable:
        return self.variable("a", layer, self.branch, "mlps")

    def cut(self, layer: int) -> str:
        return f"layer {self.first + layer}"


Level = tuple[list[Variable], list[Segment]]
Build = Callable[[Names, int, int], Level]


def two_levels(names: Names, layer: int, count: int) -> Level:
    """`z -> u; (u, z) -> x; x -> a; (a, x) -> z'`; with a closing norm `(a, x) -> y; y -> z'`."""
    z, u, x = names.z(layer, count), names.u(layer), names.x(layer)
    variables, segments = _mlp(names, layer, count, x)
    attention = [
        Segment((z.name,), (u.name,), cut=names.cut(layer)),
        Segment((u.name, z.name), (x.name,), skip=("past attention", names.first + layer, z.name)),
    ]
    return [z, u, *variables], attention + segments


def _mlp(names: Names, layer: int, count: int, x: Variable) -> Level:
    a, after = names.a(layer), names.z(layer + 1, count)
    y = names.variable("y", layer, Place(names.closing, "in")) if names.closing else after
    segments = [
        Segment((x.name,), (a.name,)),
        Segment((a.name, x.name), (y.name,), skip=("past mlp", names.first + layer, x.name)),
    ]
    return [x, a, y, after], segments + ([Segment((y.name,), (after.name,))] if names.closing else [])


def three_levels(encoded: str) -> Build:
    """`z -> u; (u, z) -> w; (w, E) -> c; (c, w) -> x;` and on as `two_levels`: a decoder over an encoder."""

    def build(names: Names, layer: int, count: int) -> Level:
        assert names.between
        z, u, w = names.z(layer, count), names.u(layer), names.variable("w", layer, names.between)
        c, x, number = names.c(layer), names.x(layer), names.first + layer
        variables, segments = _mlp(names, layer, count, x)
        return [z, u, w, c, *variables], [
            Segment((z.name,), (u.name,), cut=names.cut(layer)),
            Segment((u.name, z.name), (w.name,), skip=("past attention", number, z.name)),
            Segment((w.name, encoded), (c.name,)),
            Segment((c.name, w.name), (x.name,), skip=("past cross attention", number, w.name)),
            *segments,
        ]

    return build


def parallel(names: Names, layer: int, count: int) -> Level:
    """`z -> (u, a); (u, a, z) -> z'`: one level."""
    z, after, u, a = names.z(layer, count), names.z(layer + 1, count), names.u(layer), names.a(layer)
    skip = ("past attention", names.first + layer, z.name)
    return [z, u, a, after], [
        Segment((z.name,), (u.name, a.name), cut=names.cut(layer)),
        Segment((u.name, a.name, z.name), (after.name,), skip=skip),
    ]


def whole(*others: str) -> Build:
    """`(z, others) -> z'`: the cut `layer`; others are what every layer reads beside its own input."""

    def build(names: Names, layer: int, count: int) -> Level:
        z, after = names.z(layer, count), names.z(layer + 1, count)
        return [z, after], [Segment((z.name, *others), (after.name,), cut=names.cut(layer))]

    return build


def stacked(names: Names, count: int, build: Build) -> Level:
    """All layers of a stack."""
    levels = [build(names, layer, count) for layer in range(count)]
    return [v for variables, _ in levels for v in variables], [s for _, segments in levels for s in segments]


def one_stack(model: nn.Module, names: Names, build: Build = two_levels, first_token: int = 0) -> Program:
    """Embeddings, layers, and what stands between the last of them and the score."""
    embeddings = embeddings_of(model, first_token)
    count = model.config.num_hidden_layers
    variables, segments = stacked(names, count, build)
    return assembled(
        [embeddings, *variables],
        [
            Segment((embeddings.name,), (names.name("z", 0),), cut="embeddings"),
            *segments,
            Segment((names.name("z", count),), (SCORE,), cut="head"),
        ],
        heads=model.config.num_attention_heads,
    )


def undivided(model: nn.Module, first_token: int = 0) -> Program:
    """The cut `model`: integrated gradients from the embeddings to the score."""
    embeddings = embeddings_of(model, first_token)
    return assembled([embeddings], [Segment((embeddings.name,), (SCORE,), cut="embeddings")])


def embeddings_of(model: nn.Module, first_token: int = 0) -> Variable:
    module = model.get_input_embeddings()
    name = next(name for name, each in model.named_modules() if each is module)
    return Variable("embeddings", Place(name), first_token=first_token)


def assembled(
    variables: list[Variable],
    segments: list[Segment],
    heads: int = 1,
    embeddings: tuple[str, ...] = ("embeddings",),
) -> Program:
    return Program({v.name: v for v in variables}, tuple(segments), heads, embeddings)
