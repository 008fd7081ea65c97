"""Errors as one line."""

import pytest

from gemma4_mlx.errors import GemmaError, one_line, shortened, visible


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


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise KeyError("no words")


def test_an_error_that_fails_to_say_what_it_is_has_a_name() -> None:
    assert one_line(SpeechlessError()) == "SpeechlessError"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("\u202egpj.exe", "?gpj.exe"),
        ("a\u200bb\x7f\x9bc\U000e0041", "a?b??c?"),
        ("one\ntwo\tthree\u2028", "one?two?three?"),
        ("Shot\u202fPM \U0001f469\u200d\U0001f4bb.png", "Shot\u202fPM \U0001f469\u200d\U0001f4bb.png"),
        ("\u0645\u06cc\u200c\u062e.txt", "\u0645\u06cc\u200c\u062e.txt"),
        ("\u2067a\u2069", "?a?"),
    ],
)  # fmt: skip
def test_names_are_visible(name: str, line: str) -> None:
    assert visible(name) == line
