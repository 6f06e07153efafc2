"""Where a model is computed and how exactly, whatever the process has set."""

from collections.abc import Callable, Iterator

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.devices.precision import check_precision, exact_mode
from ligflow.devices.weights import fresh, with_weights

BERT = ARCHITECTURES["bert"]


@pytest.fixture(scope="module")
def bert() -> Explainer:
    return Explainer(build(BERT))


WRONG_DEVICES = ["gpu", "cuda:7", "cpu:x", "meta", 3.5, *([] if torch.cuda.is_available() else ["cuda", 0])]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("device", WRONG_DEVICES, ids=str)
def test_a_device_that_is_not_there_is_refused_with_those_present(device: str) -> None:
    for use in (
        lambda: Explainer(build(BERT), device=device),
        lambda: Explainer.from_pretrained(device=device),
    ):
        with pytest.raises(LigflowError, match=f"Device '{device}' is not usable; present: cpu"):
            use()


def test_a_model_that_is_on_the_device_is_not_copied() -> None:
    model = build(BERT)
    assert Explainer(model, device="cpu").model is model
    assert Explainer(model, device=["cpu"]).model is model


def test_a_copy_elsewhere_shares_nothing_with_the_model() -> None:
    model = build(BERT)
    model.lm = model.embeddings.word_embeddings
    copied = with_weights(model, lambda weight: fresh(weight, torch.device("cpu")))
    assert type(copied) is type(model)
    assert copied.lm.weight is copied.embeddings.word_embeddings.weight
    theirs = {weight.data_ptr() for weight in (*model.parameters(), *model.buffers())}
    assert theirs.isdisjoint(weight.data_ptr() for weight in (*copied.parameters(), *copied.buffers()))
    for ours, own in zip(copied.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, own)


def flags() -> tuple[object, ...]:
    """What the process has set about products in float32."""
    owners = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul)
    newer = [getattr(owner, "fp32_precision", None) for owner in owners]
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, *newer
    except RuntimeError:  # older and newer settings disagree
        return tuple(newer)


@pytest.fixture
def process_flags() -> Iterator[None]:
    before, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.allow_tf32 = cudnn


def newer_setting() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


PROCESS = {
    "as they are": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "cudnn off": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
}
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
    PROCESS["newer"] = newer_setting


@pytest.mark.usefixtures("process_flags")
@pytest.mark.parametrize("change", PROCESS.values(), ids=PROCESS.keys())
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_precision_holds_inside_and_the_process_gets_its_own_back(
    change: Callable[[], None], precision: str
) -> None:
    change()
    before, fast = flags(), precision == "tf32"
    inside: list[tuple[object, ...]] = []

    def failing() -> None:
        inside.append(flags())
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), exact_mode(torch.device("cpu"), precision):
        failing()
    assert inside[0][-3:] in ((None,) * 3, ("tf32", "tf32", "ieee") if fast else ("ieee",) * 3)
    assert len(inside[0]) == 3 or inside[0][:2] == (("high", True) if fast else ("highest", False))
    assert flags() == before


@pytest.mark.usefixtures("process_flags")
def test_explain_is_exact_unless_told_otherwise(bert: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_float32_matmul_precision("medium")
    seen: list[object] = []
    bert.explain(example(BERT, 3), progress=lambda *_: seen.append(torch.get_float32_matmul_precision()))
    monkeypatch.setattr("ligflow.explainer.explainer.check_precision", lambda *_: None)
    flow = bert.explain(
        example(BERT, 3),
        precision="tf32",
        progress=lambda *_: seen.append(torch.get_float32_matmul_precision()),
    )
    assert seen == ["highest"] * 2 + ["high"] * 2
    assert flow.meta["settings"]["precision"] == "tf32"
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.usefixtures("process_flags")
def test_calls_side_by_side_are_as_exact_as_the_strictest() -> None:
    torch.set_float32_matmul_precision("medium")
    with exact_mode(torch.device("cpu"), "tf32"):
        with exact_mode(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_a_precision_that_the_device_does_not_have_is_refused(bert: Explainer, precision: str) -> None:
    with pytest.raises(LigflowError, match=f"'{precision}' is not available on cpu; choose from float32.$"):
        bert.explain(example(BERT, 3), precision=precision)


def test_on_cuda_both_precisions_are_there() -> None:
    check_precision("tf32", [torch.device("cuda:0"), torch.device("cuda:1")])
    with pytest.raises(LigflowError, match=r"on cpu and cuda; choose from float32.$"):
        check_precision("tf32", [torch.device("cuda:0"), torch.device("cpu")])
    with pytest.raises(LigflowError, match=r"'bf16' is not available on cuda; choose from float32, tf32.$"):
        check_precision("bf16", [torch.device("cuda:0")])
