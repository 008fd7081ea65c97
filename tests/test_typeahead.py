"""What is typed while the model answers: not echoed, kept, and the terminal as it was whatever happens."""

import os
import pty
import signal
import termios
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from gemma4_mlx.commands.typeahead import Typeahead, applied


@pytest.fixture
def screen() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: the user's, and the program's."""
    outer, inner = pty.openpty()
    yield outer, inner
    for handle in (outer, inner):
        os.close(handle)


@pytest.fixture
def foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal is not that of the tests' process, which may set it all the same."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda handle: os.getpgrp())


pytestmark = pytest.mark.usefixtures("foreground")


def echoes(handle: int) -> bool:
    return bool(termios.tcgetattr(handle)[3] & termios.ECHO)


def test_what_is_typed_is_kept_and_not_echoed(screen: tuple[int, int]) -> None:
    outer, inner = screen
    before, typeahead = termios.tcgetattr(inner), Typeahead(inner)
    with typeahead.kept():
        assert not echoes(inner)
        os.write(outer, "next quéstion\rpar".encode())
        assert typeahead.take() == ""
        typeahead.collect()
        os.write(outer, b"tial")
    assert typeahead.take() == "next quéstion\rpartial"
    assert typeahead.take() == ""
    assert termios.tcgetattr(inner) == before
    os.set_blocking(outer, False)
    with pytest.raises(BlockingIOError):
        os.read(outer, 100)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_terminal_is_as_before_after_an_error(screen: tuple[int, int], error: type[BaseException]) -> None:
    before, typeahead = termios.tcgetattr(screen[1]), Typeahead(screen[1])
    with pytest.raises(error), typeahead.kept():
        raise error
    assert termios.tcgetattr(screen[1]) == before
    assert signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGQUIT])
def test_the_terminal_is_as_before_while_the_process_is_stopped(
    screen: tuple[int, int], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = screen[1]
    before, typeahead, stopped = termios.tcgetattr(inner), Typeahead(inner), []
    kill = os.kill

    def stop(_: int, sent: int) -> None:
        stopped.append((sent, signal.getsignal(sent), termios.tcgetattr(inner)))

    with typeahead.guarded(), typeahead.kept():
        monkeypatch.setattr(os, "kill", stop)
        kill(os.getpid(), number)
        assert not echoes(inner)
    assert stopped == [(number, signal.SIG_DFL, before)]
    assert termios.tcgetattr(inner) == before


def test_the_line_editors_own_mode_is_undone_as_well(screen: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inner = screen[1]
    before, typeahead, ended = termios.tcgetattr(inner), Typeahead(inner), []
    kill = os.kill
    with typeahead.guarded():
        tty.setraw(inner)
        monkeypatch.setattr(os, "kill", lambda _, sent: ended.append(termios.tcgetattr(inner)))
        kill(os.getpid(), signal.SIGQUIT)
    assert ended == [before]


def test_in_the_background_the_terminal_is_left_alone(screen: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inner = screen[1]
    typeahead, group = Typeahead(inner), [os.getpgrp() + 1]
    monkeypatch.setattr(os, "tcgetpgrp", lambda handle: group[0])
    with typeahead.kept():
        assert echoes(inner)
        group[0] = os.getpgrp()
        os.kill(os.getpid(), signal.SIGCONT)
        assert not echoes(inner)
    assert echoes(inner)


def test_a_question_is_answered_by_what_is_typed_after_it(screen: tuple[int, int]) -> None:
    outer, inner = screen
    typeahead = Typeahead(inner)
    with typeahead.kept():
        os.write(outer, b"yes\r")
        with typeahead.paused():
            assert echoes(inner)
            os.write(outer, b"n\n")
            assert os.read(inner, 100) == b"n\n"
        assert not echoes(inner)
    assert typeahead.take() == "yes\r"


def test_a_pasted_text_does_not_stop_the_program(screen: tuple[int, int]) -> None:
    outer, inner = screen
    typeahead, text = Typeahead(inner), b"0123456789" * 2000
    with typeahead.kept():
        for start in range(0, len(text), 1000):
            os.write(outer, text[start : start + 1000])
            typeahead.collect()
    assert typeahead.take() == text.decode()


def test_without_a_terminal_nothing_is_done() -> None:
    typeahead = Typeahead(None)
    with typeahead.kept(), typeahead.paused():
        typeahead.collect()
    assert typeahead.take() == ""
    reader, writer = os.pipe()
    with Typeahead(reader).kept():
        os.write(writer, b"data")
    assert os.read(reader, 10) == b"data"
    os.close(reader)
    os.close(writer)


# (keys, the text that a terminal's own line editing makes of them)
KEYS: list[tuple[str, Any]] = [
    ("quex\x7fstion\rpar", "question\npar"),
    ("one\rx\x15two\b\x7f\x7f\x7f", "one\n"),
    ("a\x1b\rb", "a\nb"),
]


@pytest.mark.parametrize(("typed", "text"), KEYS)
def test_keys_are_applied(typed: str, text: str) -> None:
    assert applied(typed) == text
