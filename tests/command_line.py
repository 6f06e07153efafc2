"""What tests of the command line share: how it is called, and what a refusal looks like."""

from collections.abc import Callable

TEXT = "The cat's whiskers"
Result = tuple[int, str, str]
Run = Callable[..., Result]


def assert_refused(result: Result, code: int, *said: str) -> None:
    """The exit code, nothing on standard output, and one error line that says all of `said`."""
    assert result[0] == code, result
    assert result[1] == ""
    (line,) = result[2].strip().splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in said), line
