"""Head profiles: measures with known answers, and the files of a run."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from browser import flow_of
from ligflow import LigflowError, Words
from ligflow.corpus.analysis.head_profiles import KINDS, MEASURES, labels, measured, neighbours, profiles
from ligflow.corpus.reports.head_page import write
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.evaluation import head_profile

Command = Callable[..., tuple[int, str, str]]
TOKENS = ["[CLS]", "the", "light", "##house", ".", "[SEP]"]
ABOUT: dict[str, Any] = {
    "words": [0, 1, 2, 2, 3, 4],
    "word_labels": ["[CLS]", "the", "lighthouse", ".", "[SEP]"],
    "word_places": [-1, 0, 1, 2, -1],
}
SENTENCE = Sentence(
    0, "the lighthouse.", "x", ((0, 3), (4, 14), (14, 15)), (1, -1, 1), ("det", "root", "punct")
)
pytestmark = pytest.mark.usefixtures("no_shape_checks")


def of(rows: torch.Tensor) -> np.ndarray:
    """All measures of a flow with one layer and one head of these rows."""
    made = flow_of(TOKENS, layers=1, heads=1, **ABOUT)
    changed = replace(made, tensors={**made.tensors, "z2u": rows[None, None].double()})
    return measured(changed, SENTENCE)[0, 0]


def mean_of(values: np.ndarray, measure: str) -> float:
    return float(np.nanmean(values[MEASURES.index(measure)]))


def test_a_previous_token_head() -> None:
    rows = torch.zeros(6, 6)
    rows[torch.arange(1, 6), torch.arange(5)] = -2.0
    rows[0, 0] = 1
    found = of(rows + 1e-12)
    assert mean_of(found, "previous") == pytest.approx(1, abs=1e-6)
    assert mean_of(found, "next") == pytest.approx(0, abs=1e-6)
    assert mean_of(found, "distance") == pytest.approx(5 / 6, abs=1e-6)
    assert mean_of(found, "entropy") == pytest.approx(0, abs=1e-6)
    assert mean_of(found, "previous over chance") == pytest.approx(5 / 6, abs=1e-6)


def test_a_uniform_head_is_at_chance_everywhere() -> None:
    found = of(torch.ones(6, 6))
    for kind in KINDS:
        assert mean_of(found, f"{kind} over chance") == pytest.approx(0, abs=1e-9), kind
    assert mean_of(found, "entropy") == pytest.approx(1)
    assert mean_of(found, "self") == pytest.approx(1 / 6)
    assert mean_of(found, "separator") == pytest.approx(1 / 6)  # [SEP], read by the five others
    assert mean_of(found, "same word") == pytest.approx(1 / 6)


def test_a_head_that_reads_the_syntactic_head() -> None:
    rows = torch.full((6, 6), 1e-9)
    rows[1, 2] = rows[4, 3] = 1.0  # `the` and `.` hang from `lighthouse`
    rows[2, 1] = rows[3, 4] = 1.0  # which reads its dependents
    found = of(rows)
    assert mean_of(found, "head") == pytest.approx(1, abs=1e-6)
    assert mean_of(found, "dependent") == pytest.approx(1, abs=1e-6)
    assert mean_of(found, "attachment") == 1
    assert np.isfinite(found[MEASURES.index("attachment")]).sum() == 2  # the root has no head
    assert np.isfinite(found[MEASURES.index("attachment without punctuation")]).sum() == 1
    assert np.isfinite(found[KINDS.index("head")]).sum() == 2


def test_sentences_without_heads_have_no_syntactic_measures() -> None:
    made = flow_of(TOKENS, layers=1, heads=1, **ABOUT)
    found = measured(made, Sentence(0, "the lighthouse.", "x"))
    for measure in ("head", "dependent", "attachment", "attachment without punctuation"):
        assert np.isnan(found[:, :, MEASURES.index(measure)]).all()
    assert np.isfinite(found[:, :, MEASURES.index("previous")]).any()


def test_attaching_to_neighbours() -> None:
    before, after = neighbours([SENTENCE, Sentence(1, "no heads", "x")])
    assert (before, after) == (0, 1)  # `the` hangs from the next word; the root and `.` do not count
    assert math.isnan(neighbours([])[0])


def test_chance_is_the_mean_over_all_orders() -> None:
    draw = torch.Generator().manual_seed(0)
    row, kind = torch.rand(5, generator=draw), torch.tensor([True, False, True, False, False])
    share = (row / row.sum()).tolist()
    import itertools

    every = [sum(v for v, k in zip(order, kind, strict=True) if k) for order in itertools.permutations(share)]
    found = head_profile.chance(kind[None, None], torch.ones(1, 5, dtype=torch.bool))
    assert float(found) == pytest.approx(sum(every) / len(every))


def test_rows_that_did_not_move_count_for_nothing() -> None:
    rows = torch.zeros(6, 6)
    rows[2, 1] = 3.0
    found = of(rows)
    assert np.isfinite(found[KINDS.index("previous")]).sum() == 1


def test_a_causal_head_is_held_against_what_its_targets_see() -> None:
    """Under ITB a target does not move itself, but sees itself; what comes later is not among the orders."""
    found = of(torch.ones(6, 6).tril(-1))
    later = np.arange(1.0, 6)  # targets 1 to 5 read as many tokens before them, and see one more
    for measure, known in {
        "self": 0 * later,
        "self over chance": -1 / (later + 1),
        "first over chance": 1 / later - 1 / (later + 1),
        "previous over chance": 1 / later - 1 / (later + 1),
        "entropy": np.log(later) / np.log(later + 1),
    }.items():
        assert found[MEASURES.index(measure), 1:] == pytest.approx(known), measure
    assert np.isnan(found[:, 0]).all()  # it has nothing to read
    assert np.isnan(found[MEASURES.index("next")]).all()


def test_a_source_is_seen_if_any_head_of_any_layer_reads_it() -> None:
    made = flow_of(TOKENS, layers=2, heads=2, **ABOUT)
    z2u = torch.eye(6).expand(2, 2, 6, 6).clone().double()
    z2u[1, 1] = torch.ones(6, 6).tril()
    found = measured(replace(made, tensors={**made.tensors, "z2u": z2u}), SENTENCE)
    known = 1 - 1 / np.arange(1.0, 7)
    for layer, head in ((0, 0), (0, 1), (1, 0)):
        assert found[layer, head, MEASURES.index("self over chance")] == pytest.approx(known)
    assert found[1, 1, MEASURES.index("self over chance")] == pytest.approx(np.zeros(6), abs=1e-12)


def test_entropy_of_two() -> None:
    share = torch.tensor([[[[0.5, 0.5, 0.0]]]])
    found = head_profile.entropy(share, torch.tensor([[True, True, True]]))
    assert float(found) == pytest.approx(math.log(2) / math.log(3))


def test_attachment_is_to_the_strongest_other_word_by_magnitude() -> None:
    rows = torch.tensor([[9.0, 1.0, -5.0], [3.0, 9.0, 1.0], [0.5, 0.2, 9.0]])[None, None]
    assert head_profile.attached(rows, [2, 0, None])[0, 0, :2].tolist() == [1, 1]
    assert head_profile.attached(rows, [1, 2, None])[0, 0, :2].tolist() == [0, 0]
    assert math.isnan(head_profile.attached(rows, [1, 2, None])[0, 0, 2])


def test_special_tokens_are_no_words_to_hang_from() -> None:
    rows = torch.full((6, 6), 1e-9)
    rows[:, 0] = rows[:, 5] = 5.0  # every word reads [CLS] and [SEP] most
    rows[1, 2] = 1.0  # then `the` reads `lighthouse`, its head
    rows[4, 3] = rows[4, 2] = 0.1  # and `.` too, over `the`
    found = of(rows)
    assert mean_of(found, "attachment") == 1
    assert mean_of(found, "attachment over the next word") == 0  # `the` hangs from the next word anyhow
    rows[1, 2], rows[1, 4] = 1.0, 2.0
    assert mean_of(of(rows), "attachment over the next word") == -1
    assert mean_of(of(rows), "attachment") == 0.5


# --- over a run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def read() -> Iterator[Sentence]:
        words = Words.joined(["Rain", "fell", "softly", "."], [True, True, False, True])
        yield Sentence(0, words.text, "a", words.spans, (1, -1, 1, 1), ("nsubj", "root", "advmod", "punct"))
        yield Sentence(1, "The cat slept on the mat.", "b")
        yield Sentence(2, "word " * 600, "c")

    experiment = Experiment(layers=(0, 1), maps=True)
    return run(tmp_path_factory.mktemp("heads"), Corpus(read, {"source": "made"}), experiment=experiment)


def test_profiles_of_a_run(kept: Run) -> None:
    found = profiles(kept, draws=200)
    assert len(found) == 2 * 12 * len(MEASURES)
    by_key = {(one.layer, one.head, one.measure): one for one in found}
    previous = by_key[0, 2, "previous"]  # a head of MiniLM that reads the token before
    assert previous.mean > 0.8
    assert previous.low <= previous.mean <= previous.high
    assert by_key[0, 2, "attachment"].rows == 3
    assert by_key[0, 2, "self"].mean == pytest.approx(0, abs=1e-6)  # itb
    assert labels(found)[0, 2] == "previous"
    zero = {(one.layer, one.head, one.measure): one for one in profiles(kept, "zero", draws=200)}
    assert zero[0, 2, "self"].mean > 0.01


def test_files_of_a_run(kept: Run, tmp_path: Path) -> None:
    page = write(kept.folder, tmp_path / "out", draws=200)
    names = {"heads.md", "heads.csv", "heads.parquet", "heads.svg", "heads.png"}
    assert {path.name for path in page.parent.iterdir()} == names
    text = page.read_text(encoding="utf-8")
    assert "2 sentences" in text
    assert "- layer 0, head 2: mainly previous" in text
    assert "every word to the one before it 0.50, to the one after it 0.50" in text
    frame = pandas.read_parquet(page.parent / "heads.parquet")
    read = pandas.read_csv(page.parent / "heads.csv")
    pandas.testing.assert_frame_equal(frame, read.astype(frame.dtypes))


def test_the_command(kept: Run, tmp_path: Path, run: Command) -> None:
    call = partial(run, "corpus", "heads")
    out = str(tmp_path / "out")
    code, printed, _ = call(str(kept.folder), "--out", out, "--draws", "100")
    assert (code, printed.splitlines()[-1]) == (0, f"wrote {out}/heads.md")
    assert "previous: 1 (layer 0 head 2)" in printed
    assert "an interval takes at least 100" in call(str(kept.folder), "--draws", "9")[2]
    assert "Unknown ATT baseline 'mean'" in call(str(kept.folder), "--att-baseline", "mean")[2]
    assert "holds no run" in call(str(tmp_path))[2]


def test_runs_without_maps_or_sentences(tmp_path: Path) -> None:
    one = Corpus(lambda: iter([Sentence(0, "Rain fell.", "a")]), {})
    with pytest.raises(LigflowError, match="kept no maps; run it with --maps"):
        profiles(run(tmp_path / "bare", one, experiment=Experiment(layers=(0,))))
    long = Corpus(lambda: iter([Sentence(0, "word " * 600, "a")]), {})
    with pytest.raises(LigflowError, match="so no head has a profile"):
        profiles(run(tmp_path / "long", long, experiment=Experiment(layers=(0,), maps=True)))
