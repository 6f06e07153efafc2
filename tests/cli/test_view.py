"""`ligflow view`: a saved flow on the screen and in other forms."""

import json
from pathlib import Path

import pytest

from command_line import Run, assert_refused
from hand_made_prediction import prediction_of
from ligflow import Flow  # fmt: skip


def test_view_prints_a_saved_flow_as_explain_does(run: Run, explain: Run, saved: Path) -> None:
    code, out, err = run("view", saved)
    assert (code, err) == (0, "")
    assert out.splitlines()[:11] == explain()[1].splitlines()[:11]


def test_view_writes_other_forms(run: Run, saved: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "view", saved, "--words", "--json", "-", "--csv", tmp_path / "c", "--html", tmp_path / "h"
    )
    assert (code, json.loads(out)["tokens"]) == (0, ["[CLS]", "The", "cat's", "whiskers", "[SEP]"])
    assert len((tmp_path / "c").read_text().splitlines()) == 1 + 2 * (4 * 25 + 4 * 5 + 5 + 25)
    assert "cat&#x27;s" in (tmp_path / "h").read_text()


def test_view_of_a_bad_file_is_one_line(run: Run, saved: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved.read_bytes()[:-10])
    assert_refused(run("view", cut), 1, "truncated or foreign")
    assert_refused(run("view", tmp_path / "none"), 1, "There is no flow file")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--layer", "7"), 1, "Layer 7 is not in this flow, which holds [0, 1]"),
        (("--show", "z2u", "--head", "4"), 1, "There is no head 4"),
        (("--show", "heat"), 2, "--show 'heat' is unknown"),
        (("--csv", "/nowhere/c.csv"), 2, "Cannot write"),
    ],
    ids=str,
)
def test_bad_usage_of_view_is_said_before_words_are_merged(
    run: Run,
    saved: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Flow, "merge_words", lambda _: pytest.fail("merged before the options were checked"))
    assert_refused(run("view", saved, *options, "--words", "--html", tmp_path / "h"), code, said)
    assert list(tmp_path.iterdir()) == []


def test_view_of_a_page_says_where_it_opens(run: Run, saved: Path, tmp_path: Path) -> None:
    page = Flow.load(saved).to_html(tmp_path / "flow.html")
    assert_refused(run("view", page), 2, "is a page: open it in a browser")


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ((), ""),
        (("--show", "reads"), "map=z2u"),
        (("--show", "reads", "--head", "2"), "map=h2"),
        (("--show", "conserving", "--layer", "0", "--words"), "layer=0&amp;map=conserving&amp;words=1"),
        (("--special",), "special=0"),
        (("--hide-special",), "special=1"),
    ],
    ids=str,
)
def test_a_page_opens_at_what_is_asked_for(
    run: Run, saved: Path, tmp_path: Path, options: tuple[str, ...], address: str
) -> None:
    assert run("view", saved, *options, "--html", tmp_path / "p.html")[0] == 0
    assert f'data-view="{address}"' in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_flows_can_be_laid_beside_in_a_page(run: Run, saved: Path, tmp_path: Path) -> None:
    code, out, _ = run("view", saved, "--beside", saved, "--words", "--html", tmp_path / "both.html")
    assert code == 0
    assert f"wrote {tmp_path / 'both.html'}" in out
    html = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert html.count('class="flow"') == 2
    assert 'data-view="words=1"' in html
    assert_refused(run("view", saved, "--beside", saved), 2, "--beside is for the page of --html.")
    assert_refused(
        run("view", saved, "--beside", tmp_path / "none", "--html", tmp_path / "h"),
        1,
        "There is no flow file",
    )


def test_a_saved_prediction_is_opened_too(run: Run, tmp_path: Path) -> None:
    prediction = prediction_of(unmet=True)
    file, table = prediction.save(tmp_path / "why.safetensors"), tmp_path / "why.csv"
    code, out, err = run("view", file, "--details", "--csv", table)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("the model (made by hand) says ‘ Paris’ 61%")
    assert "the head (missed)" in out
    assert len(table.read_text().splitlines()) == 1 + len(prediction.to_pandas())
    figure = tmp_path / "why.pdf"
    assert f"wrote {figure}" in run("view", file, "--plot", figure)[1].replace("\n", "")
    prediction.plot("words", tmp_path / "known.pdf")
    assert figure.read_bytes() == (tmp_path / "known.pdf").read_bytes()
    both = tmp_path / "both.html"
    assert run("view", file, "--beside", file, "--html", both)[0] == 0
    assert both.read_text().count('class="prediction"') == 2
    for option in (("--words",), ("--layer", "1")):
        assert_refused(run("view", file, *option), 2, "is a prediction", "--by and --details")


def test_a_flow_is_not_summed_by_spans(run: Run, saved: Path) -> None:
    assert_refused(run("view", saved, "--by", "turns"), 2, "--by is for a prediction", "--words")
    assert_refused(run("view", saved, "--plot", "map.pdf"), 2, "--plot is for a prediction", "flow.plot(")
