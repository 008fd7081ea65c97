"""Errors as one line."""

import pytest

from gemma4_mlx.errors import GemmaError, one_line, shortened


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (GemmaError("out of\n  memory"), "out of memory"),
        (OSError("\x1b]0;mine\x07 \x9b2J \x7f caf\u00e9"), "?]0;mine? ?2J ? caf\u00e9"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)
def test_an_error_is_one_line_without_control_characters(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_long_text_is_shortened() -> None:
    assert shortened("a\n\x1b[2J") == "a ?[2J"
    assert shortened("a" * 150 + "b" * 150) == "a" * 100 + " ... " + "b" * 90
