"""`ligflow trace`: relevance and paths, files, directions, and what is refused."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import language_models
from command_line import TEXT, Result, Run, assert_refused
from ligflow import Explainer, direction  # fmt: skip
from ligflow.results import tracing


@pytest.fixture
def follow(run: Run, model: str) -> Run:
    def call(*arguments: Any, text: str = TEXT) -> Result:
        return run("trace", text, "--model", model, *arguments)

    return call


def test_trace_prints_relevance_and_paths_and_writes_them(follow: Run, tmp_path: Path) -> None:
    code, out, err = follow(
        "--token", "cat", "--paths", "2", "--csv", tmp_path / "t.csv", "--graph", tmp_path / "t.json"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "‘cat’ (2) after layer 1, through the heads"
    assert lines[1].startswith("after layer 1  cat 100")
    assert any(line.startswith("shares sum to 1 at every depth, within") for line in lines)
    assert len([line for line in lines if re.match(r" +-?[0-9.]+%  cat", line)]) == 2
    assert any(line.endswith("cat ← ##his (×2)") for line in lines)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    sums = dict.fromkeys(("1", "0", ""), 0.0)
    for row in rows:
        sums[row["after_layer"]] += float(row["relevance"])
    assert list(sums.values()) == pytest.approx([1, 1, 1])
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["directed"]


def test_trace_says_how_far_the_input_is_off_and_what_did_not_move(
    follow: Run, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**tracing.BASELINES["mean"], "routes": ("z2u", "u2z")}
    known = tracing.trace(Explainer.from_pretrained(model).explain(TEXT, **settings), 2)
    error = f"estimated error of the input's shares, added up: {float(known.errors[-1]):.0e}"
    assert f"; {error}\n" in follow("-t", "cat", "--paths", "0")[1]
    for count, said in (
        (1, "1 token did not move and keeps its share"),
        (2, "2 tokens did not move and keep"),
    ):
        still = replace(known, still=count)
        monkeypatch.setattr("ligflow.results.tracing.trace", lambda *_, found=still, **__: found)
        assert f"; {error}; {said}" in " ".join(follow("-t", "cat", "--paths", "0")[1].split())


def test_trace_takes_a_position_a_layer_and_a_map(follow: Run) -> None:
    code, out, _ = follow("-t", "-2", "--layer", "0", "--map", "z2z", "--baseline", "itb_zero_ratio")
    assert code == 0
    assert out.splitlines()[0] == "‘##kers’ (7) after layer 0"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-t", "dog"), 2, "'dog' is not among the tokens; give a position: 0 [CLS]"),
        (("-t", "99"), 2, "There is no token 99"),
        (("-t", "1", "--layer", "7"), 1, "There is no layer 7"),
        (
            ("-t", "1", "--map", "z2u"),
            2,
            "--map 'z2u' is unknown; choose from through-heads (composed), layer (z2z).",
        ),
        (("-t", "1", "--baseline", "itb"), 2, "--baseline 'itb' is unknown; choose from mean, zero"),
        (("-t", "1", "--baseline", "itb_zero_ratio", "--map", "composed"), 2, "is for --map layer (z2z)"),
        (("-t", "1", "--split"), 2, "--split is for --map layer"),
        (("-t", "1", "--sign", "odd"), 2, "--sign 'odd' is unknown"),
        (("-t", "1", "--paths", "99999"), 2, "99999 paths were asked for, and there are"),
        (("-t", "1", "--csv", "/nowhere/t.csv"), 2, "no folder '/nowhere'"),
        (("-t", "1", "--html", "/nowhere/t.html"), 2, "no folder '/nowhere'"),
        (("-t", "1", "--threshold", "1"), 2, "--threshold is 1.0; give a share of the relevance from 0"),
        (("-t", "1", "--baseline", "carried", "--towards", "cat"), 2, "asks one layer, to which nothing is"),
        (("-t", "1", "--towards", "cat"), 1, "has no unembedding: its checkpoint lacks 'cls.predictions"),
    ],
)
def test_trace_refuses_what_it_cannot_follow(
    follow: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert_refused(follow(*arguments), code, said)


def test_trace_opens_a_page(follow: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.html"
    code, out, _ = follow(
        "-t", "cat", "--layer", "0", "--map", "z2z", "--paths", "3", "--threshold", "0.025", "--html", path
    )
    assert code == 0
    assert out.endswith(f"wrote {path}\n")
    html = path.read_text(encoding="utf-8")
    state = "trace=1&layer=0&pin=t2&cut=2.5&map=z2z&paths=3"
    assert f'data-view="{state.replace("&", "&amp;")}"' in html
    assert html.count('class="flow"') == 1


def test_trace_towards_an_output_token(run: Run, tmp_path: Path) -> None:
    model = language_models.saved("gpt2", tmp_path / "model")
    asked = ["trace", "the cat sat on", "--model", model, "--map", "layer"]
    chosen = ["-t", "cat", "--baseline", "zero", "--towards", "a"]
    code, out, _ = run(*asked, *chosen, "--html", tmp_path / "t.html")
    assert code == 0
    explainer = Explainer.from_pretrained(model, unembedding=True)
    row = explainer.model.lm_head.weight[5]
    top = explainer.explain(
        "the cat sat on", routes=("z2z",), layers=1, targets=1, layer_baseline="zero",
        scalarization=direction(row),
    )  # fmt: skip
    known = float(top.total("z2z")[0, 0])
    assert f"towards ‘a’: from the baseline the layer moves it by {known:+.3g}" in out
    said = "this is not a logit: why the model says ‘a’ is told by ligflow why --answer"
    assert said in " ".join(out.split())
    best = int(top.z2z[0, 0].abs().argmax())
    share = float(top.z2z[0, 0, best] / top.z2z[0, 0].sum())
    line = next(line for line in out.splitlines() if line.startswith("after layer 0"))
    assert line.split()[3:5] == [explainer.prepared.labels("the cat sat on")[best], f"{100 * share:.0f}"]
    html = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert html.count('class="flow"') == 2
    assert "paths=5&amp;top=1" in html
    for word, said in (("the cat", "is 2 tokens of this model: 'the', 'cat'"), ("dog", "vocabulary")):
        assert_refused(run(*asked, "-t", "sat", "--towards", word), 2, said)


def test_trace_towards_refuses_shares_that_cancel(run: Run, tmp_path: Path) -> None:
    model = language_models.saved("gpt2", tmp_path / "model")
    explainer = Explainer.from_pretrained(model, unembedding=True)
    top = explainer.explain(
        "the cat sat on", routes=("z2z",), layers=1, targets=2, layer_baseline="mean",
        scalarization=direction(explainer.model.lm_head.weight[6]),
    )  # fmt: skip
    flow = explainer.explain("the cat sat on", routes=("z2z",), layer_baseline="mean")
    size = float(tracing.trace(flow, 2, which="z2z", top=top).relevance.abs().sum(-1).max())
    assert size > 1.5
    asked = ["trace", "the cat sat on", "-t", "sat", "--model", model, "--towards", "mat", "--map", "layer"]
    assert_refused(
        run(*asked), 1, "towards 'mat' cancels", f"magnitudes to {size:.1f}", "--layer", "ligflow why"
    )


def test_trace_follows_by_default_what_a_flow_shows_first(run: Run, follow: Run, tmp_path: Path) -> None:
    assert follow("--map", "layer")[1].startswith("‘[CLS]’ (0) after layer 1")
    model = language_models.saved("gpt2", tmp_path / "model")
    _, out, _ = run("trace", "the cat sat on", "--model", model, "--map", "layer")
    assert out.startswith("‘on’ (3) after layer 1")


def test_a_token_that_stays_is_one_step_of_a_path(follow: Run) -> None:
    _, out, _ = follow("-t", "cat", "--map", "layer", "--paths", "1")
    path = next(line for line in out.splitlines() if "%  " in line)
    assert path.endswith("%  cat (×3)")


def test_trace_says_which_heads_carry_a_step(follow: Run) -> None:
    code, out, _ = follow("-t", "cat", "--map", "layer", "--split")
    assert code == 0
    assert sum(line.startswith("layer ") and "; past attention " in line for line in out.splitlines()) == 2


def test_trace_refuses_blank_text(follow: Run) -> None:
    assert_refused(follow("-t", "1", text="  "), 2, "The text is empty or blank")
