"""Bars and estimates: who sees them, and what they say, by a clock of the test's own."""

import sys
from collections.abc import Iterator

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError, progress
from ligflow.cli.streams import counted
from ligflow.explainer.computation import work_in_words
from ligflow.progress import Lines, Stopwatch, asked_between_points, size_in_words, told

BERT = ARCHITECTURES["bert"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that stands at its last entry."""
    now = [0.0]
    monkeypatch.setattr("ligflow.progress.perf_counter", lambda: now[-1])
    return now


@pytest.fixture(scope="module")
def bert() -> Explainer:
    return Explainer(build(BERT))


def test_a_function_is_called_itself() -> None:
    def own(done: int, of: int) -> None: ...

    with told(own, "layers", "all") as found:
        assert found is own


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_is_shown_where_nobody_looks(
    bert: Explainer, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    bert.explain(example(BERT, 3), routes="z2z", progress=progress)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_bar_comes_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with told(None, "layers") as done:
        assert done is not None
        assert done.bar.delay == 2  # type: ignore[attr-defined]
        done(1, 3)
        done(3, 3)
        assert (done.bar.n, done.bar.total) == (3, 3)  # type: ignore[attr-defined]
    with told(False, "layers") as done:
        assert done is None


def test_a_bar_is_shown_where_it_is_asked_for(bert: Explainer, capsys: pytest.CaptureFixture[str]) -> None:
    bert.explain(example(BERT, 3), routes="z2z", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "layers: 100%" in err
    assert "2/2" in err
    flows = list(bert.explain_many([example(BERT, 3)] * 3, routes="z2z", progress=True))
    assert len(flows) == 3
    assert "texts: 100%" in capsys.readouterr().err


def test_tqdms_own_switch_counts(
    bert: Explainer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with told(True, "layers", "all") as done:
        assert done is not None
        done.bar.disable = True  # type: ignore[attr-defined]
        done(1, 900)
    assert "about" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "done", "of", "said"),
    [
        (4.4, 1, 18, "about 80 s, 4 s a layer"),
        (10, 2, 18, "about 90 s, 5 s a layer"),
        (30, 1, 18, "about 9 min, 30 s a layer"),
        (1000, 1, 18, "about 5.0 h, 17 min a layer"),
    ],
)
def test_what_takes_long_is_said_once(
    capsys: pytest.CaptureFixture[str], clock: list[float], seconds: float, done: int, of: int, said: str
) -> None:
    with told(True, "layers", "213 tokens x 18 layers, maps of 1.2 GB") as tell:
        assert tell is not None
        clock.append(seconds)
        tell(done, of)
        clock.append(10 * seconds)
        tell(of, of)
    err = capsys.readouterr().err
    assert err.count("about") == 1
    assert f"213 tokens x 18 layers, maps of 1.2 GB: {said}" in err


def test_what_does_not_take_long_is_not_estimated(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with told(True, "layers", "all") as tell:
        assert tell is not None
        clock.append(1)
        tell(1, 18)
        clock.append(100)
        tell(2, 18)
    assert "about" not in capsys.readouterr().err


def test_the_terminal_says_how_long_a_layer_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with counted("layers") as tell:
        clock.append(0.9)
        tell(3, 6)
    assert "about 0.3 s a layer" in capsys.readouterr().err


def test_a_log_has_a_line_per_ten_percent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with counted("segments") as tell:
        for done in range(1, 101):
            clock.append(6 * done)
            tell(done, 100)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, len(lines)) == ("", 10)  # of 2, 12, 22, ... done
    assert lines[0] == "segments: 2 of 100, about 6 s a segment, about 10 min left"
    assert lines[9] == "segments: 92 of 100, about 6 s a segment, about 50 s left"


def test_what_is_done_soon_leaves_a_log_empty(clock: list[float]) -> None:
    lines: list[str] = []
    tell = Lines("layers", lines.append)
    for done in range(1, 31):
        clock.append(0.3 * done)
        tell(done, 30)
    tell(30, 30)
    tell(5, 0)  # of how many is not known
    assert lines == []


def test_a_second_computation_counts_anew(clock: list[float]) -> None:
    lines: list[str] = []
    tell = Lines("segments", lines.append)
    for begin in (100, 600):  # what comes before the first segment is not counted
        for done in range(4):
            clock.append(begin + 20 * done)
            tell(done, 4)
    assert (
        lines[:3]
        == lines[3:]
        == [
            "segments: 1 of 4, about 20 s a segment, about 60 s left",
            "segments: 2 of 4, about 20 s a segment, about 40 s left",
            "segments: 3 of 4, about 20 s a segment, about 20 s left",
        ]
    )
    clock.append(900.0)
    tell(1, 4)  # where the beginning is not told the first one is not counted
    assert lines[6:] == []


def test_a_prediction_tells_when_its_segments_begin() -> None:
    said: list[tuple[int, int]] = []
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    p = Explainer(LlamaForCausalLM(config).eval()).explain_prediction(
        {"input_ids": torch.tensor([[1, 5, 6, 7]])}, 5, reference=torch.tensor([1, 8, 9, 10]),
        progress=lambda *both: said.append(both),
    )  # fmt: skip
    count = len(p.certificates)
    assert said[: count + 1] == [(done, count) for done in range(count + 1)]


def test_what_was_done_before_does_not_make_it_faster(clock: list[float]) -> None:
    pace = Stopwatch("sentence", 50)
    clock.append(12.0)
    assert pace.words(50) == ""
    assert pace.seconds(53) == 4.0
    assert pace.words(53) == "about 4 s a sentence"


def test_the_work_is_named_with_the_size_of_its_maps(bert: Explainer) -> None:
    prepared = bert.prepared.example(bert.prepared.encode(example(BERT, 5)), ("z2u", "z2z"), None, [0, 1])
    flow = bert.explain(example(BERT, 5), targets=[0, 1])
    size = sum(flow.tensors[name].nbytes for name in ("z2u", "z2z"))
    assert size == 2 * 2 * 5 * (4 + 1) * 4
    assert (
        work_in_words(prepared, ("z2u", "z2z"), bert.model.config)
        == f"5 tokens x 2 layers, maps of {size_in_words(size)}"
    )
    assert [size_in_words(one) for one in (5, 2_000_000, 1_230_000_000)] == ["0.1 MB", "2.0 MB", "1.2 GB"]


def test_a_progress_that_is_neither_a_choice_nor_a_function_is_named() -> None:
    explainer = Explainer(build(BERT))
    with pytest.raises(LigflowError, match="progress is 'yes'; give True, False or a function"):
        explainer.explain(example(BERT, 3), progress="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(("word", "off"), [("1", True), ("0", False), ("", False)])
def test_tqdm_disable_switches_bars_of_notebooks_off(
    word: str, off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tqdm itself reads it on terminals alone."""
    from tqdm.notebook import tqdm as of_notebooks

    monkeypatch.setenv("TQDM_DISABLE", word)
    monkeypatch.setattr(progress, "tqdm", of_notebooks)
    with progress.told(True, "layers") as counter:
        assert counter.bar.disable is off


def test_a_layer_may_end_between_points_and_leaves_the_model_as_it_was(bert: Explainer) -> None:
    class Enough(Exception):
        pass

    def ask() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise Enough

    asked, before = list[int](), [vars(module).copy() for module in bert.model.modules()]
    with pytest.raises(Enough), asked_between_points(ask):
        bert.explain(example(BERT, 3), routes="z2z")
    assert len(asked) == 2
    assert all(vars(module) == kept for module, kept in zip(bert.model.modules(), before, strict=True))
    bert.explain(example(BERT, 3), routes="z2z", layers=[0])
    assert len(asked) == 2  # nobody is asked any more
