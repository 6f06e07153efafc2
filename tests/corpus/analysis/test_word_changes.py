"""Where heads read most differently: by hand, and of an adapter that was trained on a tiny corpus."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from browser import flow_of
from language_models import saved
from ligflow import Explainer
from ligflow.corpus.analysis.model_differences import pair, summed
from ligflow.corpus.analysis.word_changes import strongest_of_heads, word_changes
from ligflow.corpus.reports.comparison_page import word_table
from ligflow.corpus.sources.sentence import Sentence
from ligflow.explainer.pretrained import load_whole

pytestmark = pytest.mark.usefixtures("no_shape_checks")
LAYER, HEAD, SIZE = 1, 2, 8  # of the model of `language_models`


def test_the_row_that_differs_most_is_named_with_what_it_reads() -> None:
    made = flow_of(["the", "cat", "sat", "down"], layers=2)
    a = made.z2u.clone().fill_(1.0)
    b = a.clone()
    b[1, 0, 2, 0] = 5.0  # of a row of ones
    others = [replace(made, tensors={**made.tensors, "z2u": maps}) for maps in (a, b)]
    (change,) = word_changes(*others, Sentence(3, "made", "here:4"))
    count = a.shape[-1]
    assert (change.sentence, change.place, change.layer, change.head) == (3, "here:4", made.layers[1], 0)
    assert (change.target_position, change.more_position) == (made.targets[2], 0)
    assert (change.target, change.more) == (made.tokens[made.targets[2]], made.tokens[0])
    assert change.more_by == pytest.approx(5 / (count + 4) - 1 / count)
    assert change.less_by == pytest.approx(1 / (count + 4) - 1 / count)
    assert change.distance == pytest.approx(change.more_by)
    weaker = replace(change, sentence=4, distance=0.01)
    at = (change.layer, change.head)
    assert strongest_of_heads([weaker, change], [(0, 1), at]) == [change]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tiny model, and a LoRA trained on a tiny corpus, of which one head's queries alone may move."""
    peft = pytest.importorskip("peft")
    place = tmp_path_factory.mktemp("trained")
    base = saved("llama", place / "base")
    loaded = load_whole(base)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[LAYER])
    torch.manual_seed(0)
    adapted: Any = peft.get_peft_model(loaded.whole, config)
    up = next(weight for name, weight in adapted.named_parameters() if "lora_B" in name)
    rows = torch.zeros_like(up)
    rows[SIZE * HEAD : SIZE * (HEAD + 1)] = 1
    up.register_hook(lambda gradient: gradient * rows)
    optimizer = torch.optim.Adam([one for one in adapted.parameters() if one.requires_grad], lr=0.03)
    ids = torch.tensor([[1, 2, 3, 4, 5, 6], [5, 2, 3, 4, 1, 6], [1, 6, 3, 2, 4, 5]])
    losses = []
    for _ in range(25):
        loss = adapted(input_ids=ids, labels=ids).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    adapted.save_pretrained(place / "adapter")
    return base, place / "adapter"


def test_the_head_that_an_adapter_changed_is_found_and_its_words_named(folders: tuple[str, Path]) -> None:
    base, adapter = folders
    a, b = Explainer.from_pretrained(base), Explainer.from_pretrained(f"{base}+{adapter}")
    words = ("the", "cat", "sat", "on", "mat")
    places = product(range(4), (1, 2))
    texts = [" ".join(words[(start + step * n) % 5] for n in range(4)) for start, step in places]
    sentences = [Sentence(number, text, f"made:{number + 1}") for number, text in enumerate(texts)]
    pairs = [pair(a, b, sentence, None, shared=True, words=False) for sentence in sentences]
    differences = summed(pairs, draws=100)
    assert [(row.layer, row.head) for row in differences if row.family == "route" and row.found] == [
        (LAYER, HEAD)
    ]
    assert [row.layer for row in differences if row.family == "layer" and row.found] == [LAYER]
    changes = [change for each in pairs for change in each.words]
    moved_ones = [change for change in changes if change.distance > 1e-4]  # the rest is rounding
    assert {(change.layer, change.head) for change in moved_ones} == {(LAYER, HEAD)}
    strongest = max(changes, key=lambda change: change.distance)
    first, other = (each.explain(texts[strongest.sentence], layers=[LAYER]).z2u[0, HEAD] for each in (a, b))
    shares = [normalize(rows[strongest.target_position], p=1, dim=-1) for rows in (first, other)]
    moved = shares[1] - shares[0]
    assert strongest.more_by == pytest.approx(float(moved.max()), abs=1e-4)
    assert strongest.more_position == int(moved.argmax())
    assert strongest.less_by == pytest.approx(float(moved.min()), abs=1e-4)
    lines = word_table(differences, changes).splitlines()
    assert lines[2].startswith(f"| {LAYER} | {HEAD} | made:{strongest.sentence + 1} | ‘{strongest.target}’ (")
