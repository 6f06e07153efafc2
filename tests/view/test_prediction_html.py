"""A prediction as static HTML: every number is there, and all text is escaped."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hand_made_prediction import prediction_of
from ligflow.view.prediction_html import fragment

HOSTILE = ["<s>", "<script>alert(1)</script>", ' "x"', " a&b", "\x1b[2J", " is"]


class Tags(HTMLParser):
    """The tags of a page with what they say, and all text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def titles(self, tag: str) -> list[str]:
        return [
            str(attributes["title"])
            for name, attributes in self.tags
            if name == tag and "title" in attributes
        ]


def test_words_and_cells_have_their_numbers() -> None:
    prediction = prediction_of()
    parsed = Tags(fragment(prediction))
    words = parsed.titles("span")
    assert words[0] == "<|endoftext|>: kept, the same in both runs"
    for place, said in enumerate(words[1:], 1):
        name, value = said.split(": ")
        assert name == prediction.tokens[place].strip()
        assert float(value.split()[0]) == pytest.approx(float(prediction.relevance[place]), rel=1e-3)
    cells = parsed.titles("td")
    assert len(cells) == 5 * 6 + 3 * 3
    assert cells[24] == "input, <|endoftext|>: kept, the same in both runs"
    shown = [float(re.sub(r".*: ([^ ]+) .*", r"\1", cell)) for cell in (*cells[:24], *cells[25:30])]
    wanted = prediction.by_depth.flip(0).flatten().tolist()
    assert shown == pytest.approx([*wanted[:24], *wanted[25:]], rel=1e-3, abs=1e-12)


def test_passages_have_a_table_where_there_are_some() -> None:
    spans = {"passages": [["passage 1", [1, 2]], ["passage 2: A", [4]]]}
    prediction = prediction_of(kept=[0, 3, 5], meta={"spans": spans})
    html = fragment(prediction)
    table = html[html.index("The passages") : html.index("by size")]
    rows = re.findall(r"<tr><td>(.*?)</td><td class=\"number\">(.*?)</td>", table)
    one, two = float(prediction.relevance[1:3].sum()), float(prediction.relevance[4])
    wanted = sorted([("passage 1", one), ("passage 2: A", two)], key=lambda row: -abs(row[1]))
    assert [name for name, _ in rows] == [name for name, _ in wanted]
    assert [float(value) for _, value in rows] == pytest.approx([value for _, value in wanted], rel=5e-3)
    assert "The passages" not in fragment(prediction_of())


def test_shares_and_what_is_not_known_are_explained() -> None:
    html = fragment(prediction_of(edges=[2]))
    assert "Shares are of all that speaks for and against." in html
    assert "layers do not add up; what a head reads is known of the layers" in html
    assert "what a head reads is known" not in fragment(prediction_of(edges=range(3)))


def test_a_words_colour_is_its_share_of_the_strongest() -> None:
    prediction = prediction_of()
    values = prediction.by_depth.clone()
    values[0] = values.new_tensor([0, 4, -2, 0, 8, 0])
    parsed = Tags(fragment(replace(prediction, by_depth=values)))
    spans = [attributes for tag, attributes in parsed.tags if tag == "span" and "title" in attributes]
    drawn = [(span["class"], span.get("style")) for span in spans]
    assert drawn == [
        ("kept", None), ("for", "--s:71%"), ("against", "--s:50%"), ("for", "--s:0%"),
        ("for deep", "--s:100%"), ("for", "--s:0%"),
    ]  # fmt: skip


def test_hostile_text_stays_text() -> None:
    prediction = prediction_of(HOSTILE, edges=range(3), top=(("<b>", 0.5),))
    prediction = replace(prediction, meta={**prediction.meta, "text": "</title><script>", "notes": ["<i>"]})
    html = fragment(prediction)
    parsed = Tags(html)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"b", "i", "script"})
    assert "‘<b>’ 50%" in parsed.text
    assert "\x1b" not in html


def test_of_many_words_the_others_are_folded_and_added_up() -> None:
    prediction = prediction_of(["<s>", *(f" w{number}" for number in range(40))], layers=1)
    html = fragment(prediction)
    ranked = sorted(prediction.relevance.tolist(), key=abs)[:-12]
    (rest,) = re.findall(r"<summary>(\d+) more, ([^ ]+) together", html)
    assert int(rest[0]) == 28
    assert float(rest[1]) == pytest.approx(sum(ranked), rel=5e-3)
