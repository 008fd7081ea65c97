"""What a terminal is sent: nothing that a model or a tool said may move its cursor or rename its window."""

import io
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gemma4_mlx.agent import ToolResult
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.prompt.calls import ToolCall

SAID = "a\x1b]0;mine\x07b\x9b2Jc\x7fd\x85\te\n"
SAFE = "a\u241b]0;mine\u2407b\ufffd2Jc\ufffdd\ufffd\te\n"
DIMMED = "\x1b[2m{}\x1b[0m"
Screens = Callable[[bool], tuple[io.StringIO, io.StringIO]]


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> Screens:
    """Standard output and error, both terminals or none."""

    def make(terminal: bool) -> tuple[io.StringIO, io.StringIO]:
        streams = io.StringIO(), io.StringIO()
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(stream, "isatty", lambda: terminal)
            monkeypatch.setattr(sys, name, stream)
        return streams

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return make


def piece(channel: str) -> Any:
    return SimpleNamespace(channel=channel, text=SAID)


def test_a_terminal_gets_control_characters_as_symbols(screens: Screens) -> None:
    out, err = screens(True)
    terminal = Terminal(show_thought=True)
    terminal.show(piece("thought"))
    assert err.getvalue() == DIMMED.format(SAFE)
    terminal.show(piece("answer"))
    assert out.getvalue() == SAFE


def test_rendered_answers_get_them_as_symbols_as_well(screens: Screens) -> None:
    out, _ = screens(True)
    terminal = Terminal(show_thought=True, markdown=True)
    terminal.show(piece("answer"))
    terminal.end()
    assert "a\u241b]0;mine\u2407b\ufffd2Jc\ufffdd\ufffd" in out.getvalue()
    assert not set("\x07\x7f\x85\x9b") & set(out.getvalue())


def test_a_pipe_gets_what_was_said(screens: Screens) -> None:
    out, err = screens(False)
    terminal = Terminal(show_thought=True)
    terminal.show(piece("thought"))
    terminal.show(piece("answer"))
    assert (out.getvalue(), err.getvalue()) == (SAID, f"{SAID}\n")


def test_calls_and_results_move_no_cursor(screens: Screens) -> None:
    out, err = screens(True)
    terminal = Terminal(show_thought=True)
    call = ToolCall("look", {"at": "\x9b2J"})
    terminal.show_call(call)
    assert out.getvalue() == '{"name": "look", "arguments": {"at": "\ufffd2J"}}\n'
    terminal.end()
    terminal.show_result(ToolResult(call, "one\n two\x1b[2J"))
    assert err.getvalue() == DIMMED.format('look {"at": "?2J"} -> one two?[2J') + "\n"


def test_of_a_long_result_the_beginning_is_shown(screens: Screens) -> None:
    _, err = screens(False)
    Terminal(show_thought=False).show_result(ToolResult(ToolCall("look", {}), "ab " * 500))
    assert err.getvalue() == "look {} -> " + "ab " * 40 + "... 1,379 characters more\n"
