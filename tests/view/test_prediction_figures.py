"""Figures of a prediction: their colours are its numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hand_made_prediction import prediction_of
from ligflow import LigflowError
from ligflow.view.colour import shade


def test_words_stand_on_the_colour_of_their_share_of_the_strongest() -> None:
    prediction = prediction_of()
    values = prediction.by_depth.clone()
    values[0] = values.new_tensor([0, 4, -2, 0, 8, 0])
    (axes,) = replace(prediction, by_depth=values).plot("words").axes
    grounds = [to_hex(patch.get_facecolor()) for patch in axes.patches]
    assert grounds == ["#ffffff", *map(shade, (0.5, -0.25, 0.0, 1.0, 0.0))]
    assert [text.get_text() for text in axes.texts] == [token.strip() for token in prediction.tokens]
    assert axes.texts[0].get_color() == "#888888"


def test_a_text_goes_over_lines_and_one_that_is_too_long_is_refused() -> None:
    (axes,) = prediction_of(["<s>", *[" word"] * 40], layers=1).plot().axes
    ends = [(round(patch.get_y()), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert max(end for _, end in ends) <= 80
    assert [*dict.fromkeys(line for line, _ in ends)] == [0, 1, 2]
    with pytest.raises(LigflowError, match=r"takes \d+ lines, and a figure has 40; to_html"):
        prediction_of(["<s>", *[" word"] * 2000], layers=1).plot("words")


def test_lines_end_between_words_and_a_blank_is_a_blank() -> None:
    tokens = ["<s>", *[" wo", "rd"] * 20, " ", "1", "9", "0", "3"]
    (axes,) = prediction_of(tokens, layers=1).plot().axes
    placed = [(round(patch.get_y() + 0.4), round(patch.get_x())) for patch in axes.patches]
    firsts = [place for place in range(1, len(tokens)) if placed[place][0] != placed[place - 1][0]]
    assert firsts
    assert all(tokens[place].startswith(" ") for place in firsts)
    assert axes.texts[-5].get_text() == " "
    assert [placed[-4 + number][1] - placed[-5][1] for number in range(4)] == [1, 2, 3, 4]


def test_a_title_has_as_many_lines_as_it_takes() -> None:
    prediction = prediction_of(meta={"question": " so many words" * 20, "settings": {"score": "logprob"}})
    for kind in ("words", "layers", "heads"):
        figure = prediction.plot(kind)
        figure.canvas.draw()
        box = figure._suptitle.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        assert "so many words so many" in figure._suptitle.get_text().replace("\n", " ")


def test_layers_and_heads_show_their_numbers() -> None:
    prediction = prediction_of()
    layers, _bar = prediction.plot("layers").axes
    shown = np.ma.filled(layers.images[0].get_array(), 0)  # a kept token has no number at the input
    np.testing.assert_array_equal(shown, prediction.by_depth.numpy()[::-1])
    assert [label.get_text() for label in layers.get_yticklabels()][::4] == ["answer", "input"]
    heads, _bar = prediction.plot("heads").axes
    shown = heads.images[0].get_array()
    wanted = [
        [*prediction.heads[layer].sum(-1).tolist(), float(prediction.mlps[layer].sum())]
        for layer in (2, 1, 0)
    ]
    np.testing.assert_allclose(shown, wanted)


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_figures_are_saved_the_same_each_time(tmp_path: Path, ending: str) -> None:
    files = [tmp_path / f"{number}.{ending}" for number in range(2)]
    for file in files:
        prediction_of(["<s>", "$a_b$", "<&>"]).plot("words", file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="Unknown kind 'heat'; choose from words, layers, heads"):
        prediction_of().plot("heat")
    with pytest.raises(LigflowError, match="no heads or MLPs: they come with cut='modules'"):
        prediction_of(heads={}, mlps={}).plot("heads")
    with pytest.raises(LigflowError, match=r"Cannot save a figure as 'why\.doc'"):
        prediction_of().plot("words", tmp_path / "why.doc")
