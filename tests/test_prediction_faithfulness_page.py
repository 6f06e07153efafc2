"""The page on whole-model faithfulness says what its kept tables say."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "scripts"))

import prediction_faithfulness_tables as tables  # type: ignore[import-not-found]  # noqa: E402

import lengths  # type: ignore[import-not-found]  # noqa: E402
import nodes  # type: ignore[import-not-found]  # noqa: E402
import passages  # type: ignore[import-not-found]  # noqa: E402

PAGE = (ROOT / "docs" / "explanation" / "prediction-faithfulness.md").read_text(encoding="utf-8")
MODELS = [file.name.removesuffix("-standings.csv") for file in tables.RESULTS.glob("*-standings.csv")]

LEVEL = ("chain", "attnlrp", "leave-one-out")
WORSE = (
    "integrated-gradients",
    "discretised-ig",
    "deeplift",
    "gradient-x-input",
    "rollout",
    "flow",
    "alti-rollout",
    "gim-0.1.4",
    "last-attention",
    "mean-attention",
    "value-zeroing",
)


@pytest.mark.parametrize("model", MODELS)
def test_blocks_are_those_of_the_tables(model: str) -> None:
    every = tables.blocks(model)
    shown = [name for name in every if f"<!-- begin {name} -->" in PAGE]
    assert f"{model}-main" in shown
    for name in shown:
        assert f"<!-- begin {name} -->\n\n{every[name]}\n\n<!-- end {name} -->" in PAGE


@pytest.mark.parametrize("model", MODELS)
def test_random_relevance_scores_zero(model: str) -> None:
    rows = tables.read(model, "standings")
    rows = rows[(rows.method == "random") & rows.measure.isin(tables.DIFFERENCES)]
    assert len(rows)
    outside = rows[(rows.low > 0) | (rows.high < 0)].measure.tolist()
    assert not outside


def test_the_first_paragraph_is_that_of_the_tables() -> None:
    rows = tables.read("smollm2", "standings")
    first = PAGE.split("\n## ")[0].replace("\n", " ")
    own = rows[rows.measure == "random: between"].set_index("method")
    for method in LEVEL:
        assert f"{own['mean'][method]:.2f}" in first
    ranks = rows[rows.measure == "leave-one-out: rank"].set_index("method")  # of every question
    assert f"On {ranks.questions['chain']} questions" in first
    neutral = rows[rows.measure == "neutral: between"].set_index("method")
    for table in (own, neutral):
        assert (table.beside[[*LEVEL[1:]]] == "cannot be told").all()
        assert (table.beside[[*WORSE]] == "worse").all()
    assert f"its authors have added since has {own['mean']['gim']:.2f}" in first
    assert (own.beside["gim"], neutral.beside["gim"]) == ("cannot be told", "worse")
    assert (
        f"the chain has {neutral['mean']['chain']:.2f} and AttnLRP {neutral['mean']['attnlrp']:.2f}" in first
    )
    costs = tables.read("smollm2", "costs").set_index("method").seconds
    assert f"{costs['chain']:.1f} CPU seconds" in first
    assert f"{costs['attnlrp']:.1f} s" in first
    place = rows[rows.measure == "changed word: place"].set_index("method")
    assert place.low["chain"] < 0 < place.high["chain"]
    assert f"({place.questions['chain']} questions)" in first
    assert {*place.index[place.beside == "better"]} == {"discretised-ig", "alti-rollout"}


def test_what_the_page_says_of_kinds_of_questions() -> None:
    first = PAGE.split("\n## ")[0].replace("\n", " ")
    rows = tables.by_kind("smollm2")
    sizes = rows["mean"].abs() / rows["sem"]
    level = rows.loc["last-attention"]
    said = f"alone, {level['count', 'corpus']:.0f} of these questions"
    assert said in first
    assert f"({level['mean', 'corpus']:.2f} ± {level['sem', 'corpus']:.2f})" in first
    assert (sizes.loc[["attnlrp", "gim", "last-attention"], "corpus"] < 1).all()
    assert (rows["mean"].loc["integrated-gradients"] < 0).all()
    assert {*sizes.loc["last-attention"].nlargest(3).index} == {"giving", "changed", "repetition"}
    rows = tables.by_kind("minilm")
    assert (rows["mean"].loc[["integrated-gradients", "leave-one-out"]] > 0).all(axis=None)
    for method in ("attnlrp", "gim"):
        own = rows["mean"].loc[method]
        assert min(own["corpus"], own["evidence"]) > 0.03
        assert max(own["changed"], own["facts"]) < -0.3
    alti = rows["mean"].loc["alti-rollout"]
    assert [*alti.index[alti < 0]] == ["corpus"]


def test_what_the_page_says_of_exact_integrated_gradients() -> None:
    every = pandas.read_csv(tables.RESULTS / "smollm2-scores.csv.gz").set_index("question")
    exact = every[every.method == "chain-model"]
    assert f"on the {len(exact)} questions where it was run" in PAGE
    areas = ["neutral: between", "random: between"]
    said = {"chain-model": "2.40 2.15", "integrated-gradients": "2.33 2.22", "chain": "5.22 5.33"}
    for method, numbers in said.items():
        rows = every[every.method == method].loc[exact.index, areas]
        assert " ".join(f"{mean:.2f}" for mean in rows.mean()) == numbers
    chain = every[every.method == "chain"].loc[exact.index, "random: between"]
    difference = chain - exact["random: between"]
    assert f"{difference.mean():.1f} with a\nstandard error of {difference.sem():.1f}" in PAGE
    fixed = every[every.method == "integrated-gradients"].loc[exact.index, "random: between"]
    gained = exact["random: between"] - fixed
    assert f"{gained.mean():.1f} with a standard error of {gained.sem():.1f} with random" in PAGE


def test_the_table_of_nodes_is_that_of_its_results() -> None:
    assert f"<!-- begin nodes -->\n\n{nodes.table()}\n\n<!-- end nodes -->" in PAGE


def test_what_the_page_says_of_nodes() -> None:
    by = {model: {(row["nodes"], row["method"]): row for row in nodes.rows(model)} for model in nodes.MODELS}
    text = PAGE.replace("\n", " ")

    def paired(model: str, kind: str) -> tuple[str, float, float]:
        mean, low, high = by[model][kind, "EAP-IG inputs less relevance"]["mean of both"].split()
        return mean, float(low[1:-1]), float(high[:-1])

    heads, other_heads, layers, other_layers = (
        paired(model, kind) for kind in ("heads", "MLPs") for model in ("smollm2", "gemma")
    )
    assert f"by {heads[0]} on SmolLM2 and {other_heads[0]} on Gemma" in text
    assert f"MLPs by {layers[0]} on SmolLM2" in text
    assert f"ranks MLPs surely more like it, by {other_layers[0][1:]}." in text
    assert min(heads[1], other_heads[1], layers[1]) > 0 > other_layers[2]
    own = [
        float(by[model]["heads", f"gradient, {run} run"][effect].split()[0])
        for model in nodes.MODELS
        for run, effect in (("real", "out of the real run"), ("other", "into the other run"))
    ]
    assert f"({min(own):.2f} to {max(own):.2f})" in text


def test_what_the_page_says_of_minilm() -> None:
    rows = tables.read("minilm", "standings")
    own = rows[rows.measure == "random: between"].set_index("method")
    first = PAGE.split("\n## ")[0].replace("\n", " ")
    plain, chain = (f"{own['mean'][name]:.2f}" for name in ("integrated-gradients", "chain"))
    assert f"over {own.questions['chain']} pairs of texts" in first
    assert f"({plain} and {chain} with random tokens)" in first
    assert f"leave-one-out ({own['mean']['leave-one-out']:.2f})" in first
    assert f"AttnLRP ({own['mean']['attnlrp']:.2f}), GIM and the attentions are surely worse there" in first
    assert own.beside["alti-rollout"] == "cannot be told"
    for replacement in ("neutral", "mean", "random"):
        table = rows[rows.measure == f"{replacement}: between"].set_index("method")
        assert (table.beside[["leave-one-out", "integrated-gradients"]] == "better").all()
        assert (table.beside[["attnlrp", "gim", "last-attention", "mean-attention"]] == "worse").all()
    shapley = rows[rows.measure == "neutral: Shapley rank"].set_index("method")
    assert f"of {shapley.questions['chain']} short pairs" in first
    assert (shapley.beside[["leave-one-out", "last-attention"]] == "better").all()
    costs = tables.read("minilm", "costs").set_index("method").seconds
    assert 3 < costs["chain"] / costs["integrated-gradients"] < 4
    share = rows[rows.measure == "changed word: share"].set_index("method").beside.drop("chain")
    assert {*share.index[share != "worse"]} == {"alti-rollout"}


def test_what_the_page_says_of_gemma() -> None:
    rows = tables.read("gemma", "standings")
    own = rows[rows.measure == "random: between"].set_index("method")
    first = PAGE.split("\n## ")[0].replace("\n", " ")
    assert f"On {own.questions['chain']} questions to Gemma-3-270M the chain" in first
    chain, plain, last, attnlrp, gim, alone = (
        f"{own['mean'][name]:.2f}"
        for name in ("chain", "integrated-gradients", "last-attention", "attnlrp", "gim", "leave-one-out")
    )
    assert plain == last
    assert f"{chain} for the chain, {plain} for integrated gradients and for the attention of" in first
    assert f"{attnlrp} for AttnLRP, {gim} for GIM with its later rule; leave-one-out ({alone})" in first
    asked = ["leave-one-out", "leave-one-out-captum"]
    for replacement in ("neutral", "mean", "random"):
        table = rows[rows.measure == f"{replacement}: between"].set_index("method")
        assert (table.beside[asked] == "cannot be told").all()
        assert (table.beside.drop(["chain", *asked]) == "worse").all()
    recall = rows[rows.measure == "evidence: recall"].set_index("method")
    assert recall.high["chain"] < 0
    assert f"({recall['mean']['chain']:.2f}, {recall.questions['chain']} questions)" in first
    assert (recall.beside == "better").sum() == 6
    assert f"(`leave-one-out` {recall['mean']['leave-one-out']:.2f})" in PAGE
    place = rows[rows.measure == "changed word: place"].set_index("method")
    assert place.low["chain"] < 0 < place.high["chain"]
    shapley = rows[rows.measure == "neutral: Shapley rank"].set_index("method")
    strong = ["integrated-gradients", "attnlrp", "gim", "last-attention", "mean-attention"]
    assert (shapley.beside[strong] == "cannot be told").all()
    costs = tables.read("gemma", "costs").set_index("method").questions
    counts = [costs[name] for name in ("discretised-ig", "occlusion", "value-zeroing")]
    assert counts == [39, 88, 49]


def test_what_the_page_says_of_kinds_of_questions_of_gemma() -> None:
    first = PAGE.split("\n## ")[0].replace("\n", " ")
    rows = tables.by_kind("gemma")
    level = rows.loc["attnlrp"]
    said = f"{level['count', 'corpus']:.0f} cut sentences alone AttnLRP"
    assert said in first
    assert f"({level['mean', 'corpus']:.2f} ± {level['sem', 'corpus']:.2f})" in first
    sizes = rows["mean"] / rows["sem"]
    assert (sizes.loc[["attnlrp", "gim"], "corpus"].abs() < 1).all()
    for method in ("attnlrp", "gim"):
        assert {*rows["mean"].loc[method].nsmallest(2).index} == {"evidence", "giving"}
        assert (sizes.loc[method, ["facts", "agreement"]] < -1.6).all()
    plain, last = sizes.loc["integrated-gradients"], sizes.loc["last-attention"]
    assert {*plain.index[plain > 2]} == {"agreement", "repetition"}
    assert {*plain.index[plain < -2]} == {"changed", "corpus", "evidence"}
    assert {*last.index[last < -2]} == {"agreement", "corpus", "repetition"}


def test_the_section_on_passages_is_that_of_its_tables() -> None:
    for name, block in passages.blocks().items():
        assert f"<!-- begin {name} -->\n\n{block}\n\n<!-- end {name} -->" in PAGE


def test_random_numbers_of_passages_score_zero() -> None:
    rows = passages.read("standings")
    rows = rows[(rows.method == "random") & rows.measure.isin(passages.MEASURES)]
    assert len(rows) == 5
    assert not rows[(rows.low > 0) | (rows.high < 0)].measure.tolist()
    many = passages.read("chance")
    assert (many["mean"].abs() < 3 * many.error).all()


def test_what_the_page_says_of_passages() -> None:
    rows, costs = passages.read("standings"), passages.read("costs").set_index("method").seconds
    own = rows[rows.measure == "datamodel"].set_index("method")
    first = PAGE.split("\n## ")[0].replace("\n", " ")
    scores = pandas.read_csv(passages.RESULTS / "passages-scores.csv.gz")
    hits = (scores.set_index("method")["recall at 1"] > 0).groupby("method").sum()
    assert f"over {own.questions['chain']} questions, it points" in first
    assert f"in {hits['chain']}, ContextCite's own package in {hits['contextcite']}, at three times" in first
    assert (
        f"({costs['chain']:.1f} and {costs['contextcite']:.1f} CPU seconds), AttnLRP in {hits['attnlrp']}"
        in first
    )
    means = own["mean"]
    assert (
        f"({means['contextcite']:.2f} and {means['chain']:.2f}), AttnLRP surely less ({means['attnlrp']:.2f})"
        in first
    )
    assert hits[["leave-one-out", "mean-attention", "random"]].tolist() == [84, 46, 33]
    assert 2.5 < costs["contextcite"] / costs["chain"] < 3.5
    assert 6 < costs["chain"] / costs["attnlrp"] < 8
    better = rows[rows.measure.isin(passages.MEASURES) & (rows.beside == "better")].groupby("method").measure
    assert better.apply(sorted).to_dict() == {
        "contextcite": ["datamodel", "fall 3", "recall at k"],
        "contextcite-32": ["datamodel"],
        "leave-one-out": ["fall 1"],
    }
    worse = rows[rows.measure.isin(passages.MEASURES) & (rows.beside == "worse")].groupby("method").measure
    assert worse.apply(sorted)["attnlrp"] == ["datamodel"]
    assert worse.apply(sorted)["leave-one-out"] == ["recall at 1", "recall at k"]
    wide = rows[rows.method.isin(["chain", "contextcite"])].pivot(
        index="measure", columns="method", values="mean"
    )
    assert (wide.contextcite >= wide.chain).all()
    of_two = rows[rows.measure == "two holders: recall at k"].set_index("method")
    assert [f"{of_two['mean'][name] + 2 / 5:.2f}" for name in ("contextcite", "chain", "leave-one-out")] == [
        "0.91",
        "0.82",
        "0.60",
    ]
    assert of_two.beside[["contextcite", "leave-one-out"]].tolist() == ["better", "worse"]


def test_the_table_of_lengths_is_that_of_its_results() -> None:
    for what, form in (("seconds", ".2f"), ("memory", ".0f")):
        block = lengths.block(what, form)
        assert f"<!-- begin lengths-{what} -->\n\n{block}\n\n<!-- end lengths-{what} -->" in PAGE
    by_method = {row["method"]: row for row in lengths.rows()}
    for row in by_method.values():
        taken = [row[name] for name in row if name.startswith("seconds")]
        assert taken == sorted(taken)
    names = ("chain", "attnlrp", "chain-3-points", "integrated-gradients", "alti-rollout")
    chain, lrp, three, plain, alti = (by_method[name] for name in names)

    def over(row: dict[str, float], other: dict[str, float], what: str = "seconds") -> list[float]:
        return [row[f"{what} {length}"] / other[f"{what} {length}"] for length in (16, 32, 64, 128, 256, 512)]

    times = over(chain, lrp)
    assert [round(times[place]) for place in (0, 4, 5)] == [8, 20, 29]
    assert round(over(three, lrp)[-1]) == 6
    times = over(plain, chain)
    assert [f"{each:.1f}" for each in (min(times[:4]), max(times[:4]))] == ["1.1", "2.0"]
    assert [f"{each:.2f}" for each in times[4:]] == ["0.99", "0.67"]
    memory = over(plain, chain, "memory")
    assert [f"{each:.1f}" for each in (min(memory), max(memory))] == ["2.5", "5.2"]
    memory = over(chain, lrp, "memory")
    assert [f"{memory[place]:.1f}" for place in (0, -1)] == ["2.2", "1.1"]
    times = over(alti, chain)
    assert max(times[:5]) == pytest.approx(0.96, abs=0.01)
    assert times[5] > 1.1
    alone = by_method["leave-one-out"]
    assert alone["seconds 32"] < chain["seconds 32"]
    assert alone["seconds 64"] > chain["seconds 64"]


def test_questions_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import questions  # type: ignore[import-not-found]

    fact = {"prompt": "The capital of Peru is", "answer": " Lima", "evidence": "Peru", "known": True}
    lines = [fact, {"text": "Rain fell."}]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    case, other = questions.own_cases(file)
    assert (case.text, case.answer, case.evidence, case.must_know) == (*[*fact.values()][:3], True)
    assert (other.text, other.answer, other.evidence, other.must_know) == ("Rain fell.", None, None, False)
    monkeypatch.setattr(questions, "asked", lambda _subject, name, *_: name)
    decoder = SimpleNamespace(compares=False)
    alone = [*questions.made(decoder, 5, file, alone=True)]
    assert alone == ["own-000", "own-001"]
    beside = [*questions.made(decoder, 5, file)]
    assert {*alone} < {*beside}
    assert {"corpus-000", "facts-004"} < {*beside}
