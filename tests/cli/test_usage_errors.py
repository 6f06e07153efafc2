"""Wrong use of the command line, in clear words."""

import pytest

from ligflow import LigflowError
from ligflow.cli.usage_errors import Usage, checked, layer_range


def test_layers_are_numbers_and_ranges() -> None:
    assert layer_range("--layers", "0-3,5,-1") == [0, 1, 2, 3, 5, -1]
    assert layer_range("--layers", None) is None


@pytest.mark.parametrize("layers", ["a", "3-1", "1,,2", ""])
def test_layers_that_are_none_name_the_option(layers: str) -> None:
    with pytest.raises(Usage, match=r"^--layers: "):
        layer_range("--layers", layers)


def test_an_error_about_an_argument_is_bad_usage() -> None:
    def refuses(word: str) -> None:
        raise LigflowError(f"{word} is unknown.")

    assert checked(len, "abc") == 3
    with pytest.raises(Usage, match="xyz is unknown"):
        checked(refuses, "xyz")
    with pytest.raises(TypeError):  # no fault of what was typed
        checked(len, 3)
