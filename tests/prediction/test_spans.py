"""Named spans of tokens: sentences, turns, passages, regions of an image."""

import pytest
import torch

from asked_models import gpt2, llama, vit
from ligflow import Chat, Passages
from ligflow.prediction.references import reference
from ligflow.prediction.spans import regions, sentence_spans, spans_of
from ligflow.prediction.targets import question


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("J. S. Bach wrote it. So?", ["J. S. Bach wrote it.", "So?"]),
        ("It costs 3.14 now", ["It costs 3.14 now"]),
        ('"Go." She went...  Then', ['"Go."', "She went...", "Then"]),
        ("A title\n\nA text", ["A title", "A text"]),
        ("東京です。雨。", ["東京です。", "雨。"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [text[slice(*span)] for span in sentence_spans(text)] == sentences


def test_each_token_of_a_text_is_in_one_sentence() -> None:
    asked = question(gpt2(), "The river is long. The capital of Italy is Rome", answer=". The")
    spans = spans_of(asked)
    assert [*spans] == ["sentences"]
    said = [
        (name, "".join(asked.tokens.labels[place] for place in places)) for name, places in spans["sentences"]
    ]
    assert said == [
        ("The river is long.", "The river is long."),
        ("The capital of Italy is Rome", " The capital of Italy is Rome"),
    ]


def test_turns_and_sentences_of_a_chat_are_without_its_template() -> None:
    chat = Chat([
        {"role": "system", "content": "The river is long. Rome is"},
        {"role": "user", "content": "The capital"},
    ])  # fmt: skip
    asked = question(llama(), chat, answer="Rome")
    spans = spans_of(asked)
    assert [name for name, _ in spans["turns"]] == ["1 system", "2 user"]
    assert [name for name, _ in spans["sentences"]] == ["The river is long.", "Rome is", "The capital"]
    inside = sorted(place for _, places in spans["turns"] for place in places)
    assert inside == [
        place for place, mark in enumerate(asked.special) if not mark and not asked.taught[place]
    ]


def test_passages_are_spans_and_all_else_is_kept() -> None:
    passages = Passages("Is?", ["The river", {"title": "Rome", "text": "of Italy"}], answer=" Paris")
    asked = question(llama(), passages)
    assert asked.rows == (" Paris",)
    spans = dict(spans_of(asked)["passages"])
    said = {name: "".join(asked.tokens.labels[place] for place in places) for name, places in spans.items()}
    assert said["passage 1"] == " The river"
    assert said["passage 2: Rome"].startswith(" Rome")
    assert said["passage 2: Rome"].endswith(" Italy")
    (found,) = reference(llama(), asked)
    assert (~found.kept).nonzero()[:, 0].tolist() == sorted(
        place for places in spans.values() for place in places
    )


def test_regions_of_an_image() -> None:
    pixels = {"pixel_values": torch.ones(1, 3, 8, 8, dtype=torch.float64)}
    spans = spans_of(question(vit(), pixels))
    assert spans == {
        "regions": [("upper left", [1]), ("upper right", [2]), ("lower left", [3]), ("lower right", [4])]
    }
    nine = regions({"rows": 7, "columns": 6, "first": 1})
    assert len(nine) == 9
    assert sorted(place for _, places in nine for place in places) == [*range(1, 43)]
    assert nine[0] == ("upper left", [1, 2, 7, 8])
    assert regions({"rows": 1, "columns": 1, "first": 0}) == [("all", [0])]
