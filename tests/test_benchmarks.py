"""The benchmarks run, on toy shapes; nothing here looks at a time."""

import importlib
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from small_encoder import saved_encoder

FOLDER = Path(__file__).parent.parent / "benchmarks"
CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")


@pytest.fixture
def benchmark(
    monkeypatch: pytest.MonkeyPatch, no_shape_checks: None
) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of the folder; its neighbours leave no trace among the imported modules."""
    monkeypatch.syspath_prepend(str(FOLDER))
    scripts = [path.stem for path in FOLDER.glob("*.py")]
    for name in scripts:  # a folder of the tests may have a script's name, and be imported before
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in scripts:
        sys.modules.pop(name, None)


def read(path: Path) -> dict[str, object]:
    found = json.loads(path.read_text())
    assert {"processor", "cores", "threads", "device", "torch", "date"} <= set(found["machine"])
    return found


def test_floor(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("floor").main(repeats=1, tiny=True, out=tmp_path / "floor.json")
    *rows, last, call = read(tmp_path / "floor.json")["rows"]
    assert {(row["route"], row["baseline"]) for row in rows} == {
        ("z2z", "itb"), ("z2z", "zero"), ("u2z", "att_itb_a0"), ("u2z", "zero"),
    }  # fmt: skip
    assert all(row["fraction"] > 0 for row in rows)
    assert last["itb_over_zero"] > 0
    assert call["over_routes"] > 0


def test_captum_peer(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("captum_peer").main(targets=2, repeats=1, tiny=True, out=tmp_path / "peer.json")
    rows = read(tmp_path / "peer.json")["rows"]
    assert [(row["route"], row["points"]) for row in rows] == [
        ("z2z", 16), ("z2z", 32), ("z2u", 16), ("z2u", 32),
    ]  # fmt: skip
    assert all(row[f"{who}_error"]["max"] < 1e-3 for row in rows for who in ("captum", "ligflow"))


def test_estimates(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("estimates").main(tiny=True, threads=1, out=tmp_path / "estimates.json")
    (row,) = read(tmp_path / "estimates.json")["rows"]
    assert row["tokens"] == 22
    assert row["seconds_ratio"] == row["estimated"] / row["took"]
    assert 0.5 < row["memory_ratio"] < 2


def test_parts(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("parts").main(repeats=1, tiny=True, out=tmp_path / "parts.json")
    rows = read(tmp_path / "parts.json")["rows"]
    assert [row["what"] for row in rows] == [
        "embedded:minilm, all maps", "embedded:minilm, what heads read alone",
    ]  # fmt: skip
    assert all(row["tokens"] == 6 and row["times"] > 0 for row in rows)


def test_profile_calls(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("profile_calls").main(tiny=True, out=tmp_path / "profile.json")
    rows = read(tmp_path / "profile.json")["rows"]
    kinds = ("products", "elements", "rule", "checks", "tables", "python")
    assert [sum(row[kind] for kind in kinds) for row in rows] == pytest.approx([1, 1])
    assert all(row[kind] > 0 for row in rows for kind in kinds if kind != "tables")


@pytest.mark.slow
def test_turns(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("turns").main(FOLDER.parent, only="tiny", repeats=1, out=tmp_path / "turns.json")
    rows: Any = read(tmp_path / "turns.json")["rows"]
    assert [row["what"] for row in rows] == ["tiny, `explain`", "tiny, `why`"]
    assert all(row["times"] == row["now"] / row["before"] for row in rows)


@pytest.mark.slow
def test_threads(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("threads").main(calls=1, busy="1", tiny=True, out=tmp_path / "threads.json")
    rows: Any = read(tmp_path / "threads.json")["rows"]
    assert [(row["busy"], row["threads"]) for row in rows] == [(1, "1"), (1, "chosen")]
    assert [row["taken"] for row in rows if row["threads"] == "1"] == [1]
    assert all(1 <= row["taken"] <= (os.cpu_count() or 1) and row["seconds"] > 0 for row in rows)


def test_many_texts(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("many_texts").main(repeats=1, tiny=True, out=tmp_path / "many_texts.json")
    rows: Any = read(tmp_path / "many_texts.json")["rows"]
    assert [row["threads"] for row in rows] == [1, 1, 2, 2, 1, 1]
    assert all(row["seconds"] > 0 and row["rate"] == 4 / row["seconds"] for row in rows)
    assert [row["how"].split()[-1] for row in rows[-2:]] == ["threads", "processes"]


def test_compiled(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("compiled").main(repeats=1, tiny=True, out=tmp_path / "compiled.json")
    (row,) = read(tmp_path / "compiled.json")["rows"]
    assert row["rows"] == 46
    assert row["times"] > 0
    assert row["fraction"] > 0


def test_carried_trace(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("carried_trace").main(tiny=True, out=tmp_path / "carried_trace.json")
    rows: Any = read(tmp_path / "carried_trace.json")["rows"]
    carried, control, chain = rows[0], *rows[-2:]
    assert (carried["what"], control["what"]) == ("carried, layer", "all at the token itself (control)")
    assert abs(carried["sum"] - 1) < 1e-3
    assert (chain["rank_chain"], chain["distance_chain"]) == (pytest.approx(1), 0)
    assert 0 < carried["distance_chain"] < control["distance_chain"]


def test_split(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("split").main(repeats=1, tiny=True, out=tmp_path / "split.json")
    rows: Any = read(tmp_path / "split.json")["rows"]
    assert [row["what"] for row in rows] == ["embedded:minilm, itb", "embedded:minilm, mean"]
    assert all(0 < row["by_layer"][name][0] < 2 for row in rows for name in ("composed", "shares", "mlp"))


def test_operation_counts(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    script = benchmark("operation_counts")
    script.main(tiny=True, out=tmp_path / "counts.json")
    (row,) = read(tmp_path / "counts.json")["rows"]
    assert row["products"] > 3  # runs of the model alone are more than a pass
    assert row["operators_over"] > 3
    assert row["made_over"] > 3
    x, y, bias = torch.ones(2, 3), torch.ones(3, 4), torch.ones(4)
    counted = script.counts(lambda: (torch.addmm(bias, x, y), x @ y, torch.bmm(x[None], y[None]), x.T))
    assert counted.products == 3 * 2 * 2 * 3 * 4
    assert counted.made == 3 * 4 * 2 * 4


def test_prediction(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    out = tmp_path / "prediction.json"
    benchmark("prediction").main(repeats=1, prompts=2, truths=1, tiny=True, out=out)
    rows = read(out)["rows"]
    assert {row["what"] for row in rows if "times" in row} == {
        "tiny, over a forward and backward", "tiny, an answer of 3 tokens over its last word",
        "tiny, together over one at a time", "tiny, the chain", "tiny, plain, as one, it is reached",
    }  # fmt: skip
    assert next(row["error"] for row in rows if row["what"] == "tiny, the chain") < 1e-3
    accurate = {row["reference"]: row for row in rows if "accuracy" in row["what"]}
    assert set(accurate) == {"neutral", "random", "counterfactual", "all"}
    assert all(0 < row["worst"] < 1e-3 and row["certificate"] < 1e-3 for row in accurate.values())
    assert [(row["prompts"], row["true_prompts"]) for row in accurate.values()] == [(2, 1)] * 3 + [(6, 3)]


def test_rows_are_kept_and_measured_once(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    kept_rows, file = benchmark("kept_rows"), tmp_path / "rows.jsonl"
    first = kept_rows.KeptRows(file, ["slow", "slow", "fast"])
    assert first.row("slow", {"prompt": "a"}, lambda: {"error": 0.25}) == {"error": 0.25}
    with pytest.raises(KeyboardInterrupt):
        first.row("slow", {"prompt": "b"}, _interrupted)
    file.write_text(file.read_text() + '{"of": {"kind": "slow"')  # as if it was ended in the middle of a line
    second = kept_rows.KeptRows(file, ["slow", "slow", "fast"])
    assert second.row("slow", {"prompt": "a"}, _interrupted) == {"error": 0.25}
    assert second.row("slow", {"prompt": "b"}, lambda: {"error": 0.5}) == {"error": 0.5}
    second.seconds = {"slow": [60.0, 120.0]}
    assert second.minutes() == 1.5  # the one that is fast, at the mean of all
    assert [json.loads(line)["row"]["error"] for line in file.read_text().splitlines()] == [0.25, 0.5]


def _interrupted() -> dict[str, float]:
    raise KeyboardInterrupt


def test_shares_are_of_prompts_with_a_true_error_and_later_turns_are_held_out(
    benchmark: Callable[[str], ModuleType],
) -> None:
    accuracy = benchmark("prediction_accuracy")
    rows = [
        {"tokens": 5, "points": 3.0, "certificate": certificate, "error": 1e-4, "ratio": ratio}
        for certificate, ratio in ((1e-5, 0.3), (2e-5, 1.0), (3e-5, 2.9), (4e-5, 3.1))
    ]
    over = accuracy._over([*rows, {"tokens": 5, "points": 3.0, "certificate": 9e-4}])
    assert (over["prompts"], over["true_prompts"], over["certificate"]) == (5, 4, 9e-4)
    assert (over["too_small"], over["within"], over["too_large"]) == (0.25, 0.5, 0.25)
    asked = [("facts", "a", None), ("code", "b", None), ("facts", "c", None)]
    assert [accuracy.turn(asked, number) for number in range(3)] == [0, 0, 1]


def test_captum_and_ligflow_give_one_map(benchmark: Callable[[str], ModuleType]) -> None:
    peer, subjects, one_layer = (benchmark(name) for name in ("captum_peer", "subjects", "one_layer"))
    explainer = subjects.build(subjects.shape("minilm", True), CPU)
    alone = one_layer.record(explainer, subjects.inputs(6), 0)
    for route, scalar in (("z2z", 0), ("z2u", 1)):
        ours = alone.attribute(route, "itb").value[2, scalar]
        theirs = peer.attribute(alone, route, 2, scalar, 32, 8)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_scaling_rows(benchmark: Callable[[str], ModuleType]) -> None:
    scaling = benchmark("scaling")
    for name, jobs in scaling.sweeps(64, 64, tiny=True).items():
        for job in jobs:
            row = scaling.measured(job | {"repeats": 1, "tiny": True}, CPU)
            assert row["seconds"] > 0, name


@pytest.mark.slow
def test_scaling_in_processes(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("scaling").main(
        sweep=["layers"], repeats=1, tiny=True, threads=1, out=tmp_path / "scaling.json"
    )
    (row,) = read(tmp_path / "scaling.json")["rows"]
    assert (row["layers"], row["tokens"]) == (2, 8)
    assert row["peak"] >= row["before"] > 0


def test_throughput(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    model = saved_encoder(tmp_path / "model", 512)
    benchmark("throughput").main(tiny=True, model=model, out=tmp_path / "throughput.json")
    one, two = read(tmp_path / "throughput.json")["rows"]
    assert (one["what"], two["what"]) == ("one process", "2 processes")
    assert one["points"] == pytest.approx(two["points"], rel=0.01)
    assert one["gigaflops"] > 0
    assert one["million_days"] == pytest.approx(1e6 / one["a_minute"] / 1440)


def test_start(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("start").main(repeats=1, tiny=True, out=tmp_path / "start.json")
    (row,) = read(tmp_path / "start.json")["rows"]
    assert (row["what"], row["ratio"]) == ("ligflow --help", 1)
    assert row["megabytes"] > 5
    assert row["seconds"] > 0


def test_page(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    benchmark("page").main(tiny=True, out=tmp_path / "page.json")
    rows = read(tmp_path / "page.json")["rows"]
    assert [row["what"] for row in rows] == ["tiny", "a tiny answer"]
    assert all(row["first_paint"] > 0 and row["frames"] > 0 for row in rows)


def test_gpu(benchmark: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark("gpu").main(device="cpu", repeats=1, tiny=True, out=tmp_path / "gpu.json")
    rows = read(tmp_path / "gpu.json")["rows"]
    *agreements, one, corpus, large, streamed, why = rows
    assert [(row["part"], row["said"]) for row in agreements] == [("agreement", "agrees")] * 5
    assert (one["tokens"], corpus["sentences"], large["route"]) == (5, 3, "z2z")
    assert (corpus["said"], streamed["part"], why["part"]) == ("", "streaming", "why")
    assert why["times"] > 0
    script = FOLDER.parent / "docs" / "scripts" / "gpu.py"
    monkeypatch.syspath_prepend(str(script.parent))
    block = runpy.run_path(str(script))["block"]
    shown = block(tmp_path / "gpu.json").splitlines()
    assert shown[0].startswith("cpu, torch ")
    assert len(shown) == 2 + 2 + len(rows)
    assert "| agrees |" in shown[4]
    assert block(tmp_path / "none.json").startswith("Not run")


def test_a_part_that_fails_on_a_gpu_does_not_lose_the_others(
    benchmark: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = benchmark("gpu")

    def fails(*_: object) -> Iterator[dict[str, object]]:
        yield {"what": "first"}
        raise torch.OutOfMemoryError("no room")

    parts = {"bad": gpu.Part(fails, 1), "good": gpu.Part(lambda *_: iter([{"what": "second"}]), 1)}
    monkeypatch.setattr(gpu, "PARTS", parts)
    gpu.main(device="cpu", tiny=True, out=tmp_path / "gpu.json")
    rows = read(tmp_path / "gpu.json")["rows"]
    assert [row["what"] for row in rows] == ["first", "bad", "second"]
    assert rows[1]["said"] == "failed: OutOfMemoryError: no room"
    with pytest.raises(SystemExit, match="There is no part 'none'; choose from bad, good"):
        gpu.main(device="cpu", tiny=True, only="none")


def test_a_process_of_its_own_is_ended_at_its_limit(benchmark: Callable[[str], ModuleType]) -> None:
    gpu, python = benchmark("gpu"), [sys.executable, "-S", "-c"]
    assert gpu.ended([*python, "import time; time.sleep(60)"], 0.2) == "not finished in 0 s"
    assert gpu.ended([*python, "raise SystemExit('CUDA error')"], 60) == "failed (1): CUDA error"
    assert gpu.ended([*python, "pass"], 60) == ""


def test_gpu_says_what_is_missing(benchmark: Callable[[str], ModuleType]) -> None:
    with pytest.raises(SystemExit, match="--tiny"):
        benchmark("gpu").main(device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="not here; there is cpu"):
            benchmark("gpu").main(device="cuda")


def test_published_times_are_extrapolated(benchmark: Callable[[str], ModuleType]) -> None:
    """The first target compiles; it counts once."""
    published = benchmark("published")
    assert published.all_targets([9.0, 8.0, 7.0], "z2z", 46) == (8.0, "z2z")
    assert published.all_targets([9.0, 1.0, 3.0, 1.0], "z2u", 5)[0] == 13.0
    assert published.all_targets([9.0, 1.0, 3.0], "z2u", 3) == (13.0, "z2u")


def test_sentences_have_lengths_of_newswire(benchmark: Callable[[str], ModuleType]) -> None:
    subjects = benchmark("subjects")
    tokenizer = subjects.word_tokenizer()
    lengths = [len(tokenizer(text)["input_ids"]) for text in subjects.sentences(1700)]
    assert 26 < sum(lengths) / len(lengths) < 28
    assert len(set(lengths)) > 40
