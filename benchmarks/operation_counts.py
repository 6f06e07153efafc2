"""What an explanation of a prediction does beside one forward and backward pass, counted instead of timed.

    python benchmarks/operation_counts.py [--models embedded:smollm2] [--tokens 64]

Matrix products in operations, calls of PyTorch's operators, and the bytes of the tensors that they make: what
other processes of a machine do changes none of them. The first explanation, which has to recognise the
model, does not count.
"""

from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import measure
from ligflow import Explainer
from measure import Row, number, text
from prediction import first_tokens, forward_and_backward, loaded

COLUMNS: measure.Columns = {
    "what": text("what"),
    "T": number("tokens", "d"),
    "products, passes": number("products", ".2f"),
    "operators": number("operators", "d"),
    "over a pass": number("operators_over", ".1f"),
    "made, MB": number("made", ".0f"),
    "over a pass ": number("made_over", ".1f"),
}
Models = Annotated[str, typer.Option(help="Names, with commas between.")]
Tokens = Annotated[int, typer.Option(help="Tokens of the text.")]


def main(
    models: Models = "embedded:smollm2,embedded:gemma-3-270m",
    tokens: Tokens = 64,
    tiny: measure.Tiny = False,
    out: measure.Out = None,
) -> None:
    """Count what an explanation of a prediction does."""
    place = measure.place("cpu", 1)
    names = ["tiny"] if tiny else models.split(",")
    rows = [row_of(name, loaded(name, place, torch.float32), 8 if tiny else tokens) for name in names]
    caption = "A pass: one forward and backward of the same model, to its inputs alone."
    measure.report(
        "operation_counts", out, measure.machine(place), {"tokens": tokens}, rows, COLUMNS, caption
    )


def row_of(name: str, explainer: Explainer, tokens: int) -> Row:
    """The counts of one model."""
    inputs = first_tokens(explainer, tokens)

    def explanation() -> object:
        return explainer.explain_prediction(inputs, edges=())

    explanation()
    ours, once = (counts(call) for call in (explanation, forward_and_backward(explainer, inputs)))
    return {
        "what": name.removeprefix("embedded:"), "tokens": tokens, "products": ours.products / once.products,
        "operators": ours.operators, "operators_over": ours.operators / once.operators,
        "made": ours.made / 1e6, "made_over": ours.made / once.made,
    }  # fmt: skip


class Counts(TorchDispatchMode):
    """Counts what PyTorch does in its context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = self.operators = self.made = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        factors = args[-2:] if func.overloadpacket in PRODUCTS else ()
        if factors:
            self.products += 2 * factors[0].numel() * factors[1].shape[-1]
        self.operators += 1
        if not func.is_view:
            several = result if isinstance(result, tuple | list) else (result,)
            self.made += sum(each.nbytes for each in several if isinstance(each, Tensor))
        return result


PRODUCTS = (
    torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.addmm_,
)  # fmt: skip


def counts(call: Callable[[], object]) -> Counts:
    """What a call does."""
    with Counts() as counted:
        call()
    return counted


if __name__ == "__main__":
    measure.run(main)
