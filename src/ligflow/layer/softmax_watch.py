"""Attention that a model computes by itself, seen at its softmax.

A layer off the attention interface still computes `softmax(scale q.k + bias) v`, in functions of PyTorch. A
`Watch` sees them called: a product of two sets of vectors, what is made of it up to a softmax, and the
product of that with a third set. There it hands over q, k and v, and puts what it is given in u's place.

Scale and bias are found in one run, in which the product carries the derivative 1 to the softmax.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import multi_head_attention_forward
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from ligflow.errors import UnsupportedModel
from ligflow.method.attention import ScoreTerms, additive, causal_mask, dot

HandedOver = Callable[[Tensor, Tensor, Tensor, ScoreTerms], Tensor]  # q, k, v and the form: u
_PRODUCTS = frozenset(("matmul", "__matmul__", "bmm", "baddbmm", "einsum"))
_ROUNDING = 1e-5
_FUSED = "scaled_dot_product_attention"


@dataclass(frozen=True, eq=False)
class _Scores:
    """What a tensor was made of: a product `q.k`, and what a softmax took."""

    query: Tensor
    key: Tensor
    taken: Tensor | None = None


class Watch(TorchFunctionMode):
    """Hands over the attentions of a module as they are computed, and puts what it gets in their places.

    `known` are their forms, and into how many groups heads share keys and values, which the model repeats
    for each head; without them both are found. A bias that `moves` with the hidden states is that of the
    moment. Heads in one axis with the examples are told apart by the number of `examples`.
    """

    def __init__(
        self,
        hand_over: HandedOver,
        examples: int = 1,
        known: Sequence[tuple[ScoreTerms, int]] = (),
        moves: bool = False,
    ) -> None:
        super().__init__()
        self.hand_over, self.examples, self.known, self.moves = hand_over, examples, iter(known), moves
        self.finding = not known
        self.origins: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func is multi_head_attention_forward:
            with self:
                return _OPEN(*args, **options)
        if name in _PRODUCTS and (factors := _factors(args, options)) is not None:
            return self._product(*factors, lambda: func(*args, **options), float(options.get("alpha", 1)))
        if name == _FUSED:
            u = self._fused(*args, **options)
            return func(*args, **options) if self.finding else u
        source = self._first_known([*args, *options.values()])
        result = func(*args, **options)
        if source is not None and isinstance(result, Tensor) and result.numel() == source.numel():
            origin = self.origins[source]
            self.origins[result] = replace(origin, taken=source) if name == "softmax" else origin
        return result

    def _first_known(self, arguments: Iterable[Any]) -> Tensor | None:
        if not len(self.origins):
            return None
        tensors = (argument for argument in arguments if isinstance(argument, Tensor))
        return next((tensor for tensor in tensors if tensor in self.origins), None)

    def _product(
        self, left: Tensor, right: Tensor, order: list[int], compute: Callable[[], Tensor], alpha: float
    ) -> Tensor:
        """The product of two factors, whose axes it puts into an order; u where it is an attention's last."""
        u = self._attended(self.origins.get(left), right)
        if u is not None and self.finding:  # what the model itself makes of it
            return forward_ad.unpack_dual(compute()).primal
        if u is not None:
            return u.reshape(*left.shape[:-1], right.shape[-1]).permute(order).contiguous()
        result = compute()
        if order == sorted(order):
            result = self._carrying(result, alpha) if self.finding else result
            self.origins[result] = _Scores(left, right.transpose(-1, -2))
        return result

    def _carrying(self, product: Tensor, factor: float) -> Tensor:
        """A product with a derivative by itself, uneven, so that what a softmax ignores can be told apart."""
        primal = forward_ad.unpack_dual(product).primal
        return forward_ad.make_dual(primal, factor * _uneven(primal))

    def _attended(self, origin: _Scores | None, value: Tensor) -> Tensor | None:
        """u, where what is multiplied with the values was made by a softmax of a product."""
        if origin is None or origin.taken is None:
            return None
        query, key, value = (self._by_head(vectors) for vectors in (origin.query, origin.key, value))
        taken = origin.taken.reshape(*query.shape[:3], -1)
        if not taken.shape[3] == key.shape[2] == value.shape[2]:
            return None
        known = (_form_of(query, key, taken), _groups(key, value)) if self.finding else next(self.known, None)
        if known is None:  # one more than there were
            return None
        form, groups = known
        query = query if form.by_head is None else query * form.by_head
        if self.moves:
            form = replace(form, bias=taken - form.scaling * dot(query, key))
        return self.hand_over(query, _of_groups(key, groups), _of_groups(value, groups), form)

    def _fused(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, **_grouped: bool,
    ) -> Tensor:  # fmt: skip
        """u in the place of the fused function, which says what it is given."""
        if dropout_p:
            raise UnsupportedModel("an attention drops weights at random, though the model is in eval mode")
        shape = *query.shape[:-1], value.shape[-1]
        query, key, value = (self._by_head(one) for one in (query, key, value))
        bias = additive(causal_mask(query, key) if is_causal else attn_mask, query)
        if bias is not None and bias.ndim < 4:
            bias = self._by_head(bias) if len(shape) == bias.ndim == 3 else bias[(None,) * (4 - bias.ndim)]
        _, groups = next(self.known, None) or (None, _groups(key, value))
        key, value = _of_groups(key, groups), _of_groups(value, groups)
        form = ScoreTerms(query.shape[-1] ** -0.5 if scale is None else scale, bias)
        return self.hand_over(query, key, value, form).reshape(shape).contiguous()

    def _by_head(self, vectors: Tensor) -> Float[Tensor, "batch head token dim"]:
        if vectors.ndim == 4:
            return vectors
        return vectors.reshape(self.examples, -1, *vectors.shape[1:])


def _opened(function: Any) -> FunctionType:
    """A function of PyTorch written in Python, without its question whether it is watched as a whole."""
    known = function.__globals__ | {"has_torch_function": lambda _given: False}
    opened = FunctionType(function.__code__, known, function.__name__, function.__defaults__)
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


_OPEN = _opened(multi_head_attention_forward)


def _factors(args: Sequence[Any], options: Mapping[str, Any]) -> tuple[Tensor, Tensor, list[int]] | None:
    """The factors of a batched product of vectors, and the order of axes in it; None if it is none."""
    tensors = [argument for argument in (*args, *options.values()) if isinstance(argument, Tensor)]
    if args and isinstance(args[0], str):
        return _factors_of_sum(args[0], *tensors) if len(tensors) == 2 else None
    left, right = tensors[-2:]  # `baddbmm` adds a first one
    if left.ndim != right.ndim or left.ndim not in (3, 4):
        return None
    return left, right, list(range(left.ndim))


def _factors_of_sum(equation: str, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, list[int]] | None:
    """The same of an einsum such as `ibnd,jbnd->bnij`."""
    parsed = re.fullmatch(r"(\w+),(\w+)->(\w+)", equation.replace(" ", ""))
    if parsed is None:
        return None
    a, b, product = parsed.groups()
    batch = "".join(axis for axis in product if axis in a and axis in b)
    row, column, summed = (
        "".join(axis for axis in own if axis in other and axis not in third)
        for own, other, third in ((product, a, b), (product, b, a), (a, b, product))
    )
    if not len(row) == len(column) == len(summed) == 1 or len(batch) not in (1, 2):
        return None
    left, right = _arranged(left, a, batch + row + summed), _arranged(right, b, batch + summed + column)
    return left, right, [(batch + row + column).index(axis) for axis in product]


def _arranged(tensor: Tensor, axes: str, wanted: str) -> Tensor:
    return tensor if axes == wanted else tensor.permute([axes.index(axis) for axis in wanted])


def _uneven(like: Tensor) -> Tensor:
    return 1 + torch.arange(like.numel(), device=like.device).reshape(like.shape).remainder(7).to(like.dtype)


def _form_of(query: Tensor, key: Tensor, taken: Tensor) -> ScoreTerms:
    """Scale and bias of scores that carry their derivative by the product."""
    scores, moved = forward_ad.unpack_dual(taken)
    product = dot(query, key)
    slopes = product.new_ones(product.shape[1]) if moved is None else _slopes(moved, _uneven(product))
    alike = bool((slopes - slopes[0]).abs().max() <= _ROUNDING * slopes[0].abs())
    scaling, by_head = (float(slopes[0]), None) if alike else (1.0, slopes.to(product)[:, None, None])
    bias = scores - product * (scaling if by_head is None else by_head)
    small = bool(bias.abs().max() <= _ROUNDING * product.abs().max())
    return ScoreTerms(scaling, None if small else bias, by_head=by_head)


def _slopes(moved: Tensor, by: Tensor) -> Float[Tensor, " head"]:
    """The factor of each head between two sets of rows, apart from what a row adds to all not masked.

    A head of which nothing is left (all masked, or one token) has that of the others.
    """
    counts = moved != 0
    moved, by = (_centred(rows, counts) for rows in (moved, by))
    size, both = ((rows * by).sum((0, 2, 3)) for rows in (by, moved))
    known = both[size > 0] / size[size > 0]
    return torch.where(size > 0, both / size, known.mean() if len(known) else 1.0)


def _centred(rows: Tensor, counts: Tensor) -> Tensor:
    rows, counts = rows.cpu().double() * counts.cpu(), counts.cpu()  # not all devices have float64
    return (rows - rows.sum(-1, keepdim=True) / counts.sum(-1, keepdim=True).clamp(min=1)) * counts


def _groups(key: Tensor, value: Tensor) -> int:
    """How many groups of consecutive heads there are that share a key and a value."""
    heads = key.shape[1]
    if value.shape[1] != heads:
        return heads
    counts = (count for count in range(1, heads) if heads % count == 0)
    return next((count for count in counts if _repeats(key, count) and _repeats(value, count)), heads)


def _repeats(vectors: Tensor, groups: int) -> bool:
    parts = vectors.unflatten(1, (groups, -1))
    return torch.equal(parts, parts[:, :, :1].expand_as(parts))


def _of_groups(vectors: Tensor, groups: int) -> Tensor:
    return vectors[:, :: max(1, vectors.shape[1] // groups)]


@contextmanager
def finding(hand_over: HandedOver) -> Iterator[None]:
    """Sees the attentions of one example and finds their forms."""
    with torch.no_grad(), forward_ad.dual_level(), Watch(hand_over):
        yield
