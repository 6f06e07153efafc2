"""What is printed of a flow, as the options say."""

import pytest

from ligflow.cli.screen import Screen
from ligflow.cli.usage_errors import Usage

ROUTES = ("z2u", "u2z", "z2z")


def screen(**options: object) -> Screen:
    plain = {"layer": None, "view": None, "head": None, "words": False, "special": False, "hide": False}
    return Screen(**(plain | {"full": False, "details": False} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, ""),
        ({"layer": -1, "view": "conserving"}, "layer=-1&map=conserving"),
        ({"view": "z2u", "head": 3}, "map=h3"),
        ({"words": True, "hide": True}, "words=1&special=1"),
        ({"special": True}, "special=0"),
    ],
)
def test_a_page_opens_at_the_same(options: dict[str, object], address: str) -> None:
    assert screen(**options).address() == address


@pytest.mark.parametrize(
    ("options", "routes", "said"),
    [
        ({"head": 1}, ROUTES, "--head is for --show reads"),
        ({"special": True, "hide": True}, ROUTES, "give one of the two"),
        ({"view": "z2u"}, ("z2z",), "--show z2u needs --route "),
        ({"view": "conserving"}, ("z2z",), "--show conserving needs --route "),
    ],
)
def test_what_cannot_be_shown(options: dict[str, object], routes: tuple[str, ...], said: str) -> None:
    screen().check(routes)
    with pytest.raises(Usage, match=said):
        screen(**options).check(routes)
