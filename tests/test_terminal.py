"""What a terminal is sent: nothing that a model or a tool said may move its cursor or rename its window."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gemma4_mlx.agent import ToolResult
from gemma4_mlx.commands.common import NoteHandler
from gemma4_mlx.commands.reply import json_text
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

    for name in ("NO_COLOR", "INSIDE_EMACS", "SCRIPT"):
        monkeypatch.delenv(name, raising=False)
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


@pytest.mark.parametrize("channel", ["answer", "thought"])
def test_an_interrupt_as_soon_as_text_is_out_ends_its_line(
    screens: Screens, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    """Ctrl-C may come between the text and whatever takes note of it."""
    out, err = screens(False)
    stream = out if channel == "answer" else err
    interrupts = iter([KeyboardInterrupt])

    def flush() -> None:
        for interrupt in interrupts:
            raise interrupt

    monkeypatch.setattr(stream, "flush", flush)
    terminal = Terminal(show_thought=True)
    with pytest.raises(KeyboardInterrupt):
        terminal.show(SimpleNamespace(channel=channel, text="Hel"))
    terminal.end()
    assert stream.getvalue() == "Hel\n"


def test_calls_and_results_move_no_cursor(screens: Screens) -> None:
    out, err = screens(True)
    terminal = Terminal(show_thought=True)
    call = ToolCall("look", {"at": "\x9b2J"})
    terminal.show_call(call)
    assert out.getvalue() == '{"name": "look", "arguments": {"at": "\\u009b2J"}}\n'
    terminal.end()
    terminal.show_result(ToolResult(call, "one\n two\x1b[2J"))
    assert err.getvalue() == DIMMED.format('look {"at": "?2J"} -> one two?[2J') + "\n"


def test_of_a_long_result_the_beginning_is_shown(screens: Screens) -> None:
    _, err = screens(False)
    Terminal(show_thought=False).show_result(ToolResult(ToolCall("look", {}), "ab " * 500))
    assert err.getvalue() == "look {} -> " + "ab " * 40 + "... 1,379 characters more\n"


# (what comes in pieces, what a terminal is sent)
ANSWERS = [
    (["a\u202e", "exe.gpj"], "a\ufffdexe.gpj"),
    (["\U0001f469", "\u200d", "\U0001f4bb"], "\U0001f469\u200d\U0001f4bb"),
    (["a\u200b", "b", "\U000e0061\U000e0062"], "a\ufffdb\ufffd\ufffd"),
    (["a\u2067b", "\u2069c \u2067d", "e"], "a\u2067b\u2069c \ufffdde"),
    (["\u0645\u06cc", "\u200c", "\u062e"], "\u0645\u06cc\u200c\u062e"),
    (["held\u200d"], "held\ufffd"),
]


@pytest.mark.parametrize("channel", ["answer", "thought"])
@pytest.mark.parametrize("markdown", [False, True])
@pytest.mark.parametrize(("pieces", "sent"), ANSWERS)
def test_hidden_characters_show_and_emoji_and_words_stay(
    screens: Screens, channel: str, markdown: bool, pieces: list[str], sent: str
) -> None:
    streams = screens(True)
    terminal = Terminal(show_thought=True, markdown=markdown)
    for text in pieces:
        terminal.show(SimpleNamespace(channel=channel, text=text))  # type: ignore[arg-type]
    terminal.end()
    written = streams[channel == "thought"].getvalue()
    written = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", written)
    assert written.rstrip("\n").splitlines()[-1].rstrip() == sent


@pytest.mark.parametrize("entity", ["&#x202e;", "&zwj;", "&#x200b;", "&shy;", "&rlm;", "&#xe0041;", "&#x2066;"])
def test_characters_written_as_entities_show_as_well(screens: Screens, entity: str) -> None:
    out, _ = screens(True)
    terminal = Terminal(show_thought=True, markdown=True)
    terminal.show(SimpleNamespace(channel="answer", text=f"a{entity}b [c{entity}](http://d{entity}.example)"))  # type: ignore[arg-type]
    terminal.end()
    assert "a\ufffdb c\ufffd" in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert not set("\u202e\u200d\u200b\xad\u200f\U000e0041\u2066") & set(out.getvalue())


def test_notes_and_states_are_shown_whole(screens: Screens) -> None:
    _, err = screens(True)
    terminal = Terminal(show_thought=False)
    terminal.note("3 messages of\x1b[2J \u202etalk\u200b.json\nsecond line")
    terminal.status("loading \x9b2J")
    assert err.getvalue() == "3 messages of\u241b[2J \ufffdtalk\ufffd.json\nsecond line\n\r\x1b[Kloading ?2J ..."


def test_json_escapes_what_does_not_show_and_reads_the_same() -> None:
    said = {
        "content": "a\x7f\x9b\u202e\u200b\U000e0041\u2028b \u2067c\u2069",
        "kept": "\U0001f469\u200d\U0001f4bb \u00e9",
    }
    text = json_text(said)
    assert json.loads(text) == said
    assert text == (
        r'{"content": "a\u007f\u009b\u202e\u200b\udb40\udc41\u2028b \u2067c\u2069", "kept": "'
        '\U0001f469\u200d\U0001f4bb \u00e9"}'
    )


def test_a_status_stays_within_a_line(screens: Screens, monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = screens(True)
    monkeypatch.setattr("gemma4_mlx.commands.terminal.columns", lambda stream: 20)
    Terminal(show_thought=False).status("reading the prompt: 512 of 4096 tokens")
    assert err.getvalue() == "\r\x1b[Kreading the prompt:"


@pytest.mark.parametrize("channel", ["answer", "thought"])
def test_a_terminals_lines_break_at_words_and_a_pipes_do_not(
    screens: Screens, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    monkeypatch.setattr("gemma4_mlx.commands.terminal.columns", lambda stream: 12)
    for terminal, sent in ((True, "one two\nthree four\nfive\n"), (False, "one two three four five\n")):
        streams = screens(terminal)
        shown = Terminal(show_thought=True)
        for text in ("one t", "wo thr", "ee four fi", "ve"):
            shown.show(SimpleNamespace(channel=channel, text=text))  # type: ignore[arg-type]
        shown.end()
        written = streams[channel == "thought"].getvalue()
        assert re.sub(r"\x1b\[[0-9]*m", "", written) == sent


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"TERM": ""}, {"INSIDE_EMACS": "30.1,comint"}, {"SCRIPT": "typescript"}]
)
def test_a_terminal_that_obeys_no_codes_gets_none(
    screens: Screens, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    streams = screens(True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = Terminal(show_thought=True, markdown=True)
    shown.status("reading the prompt")
    for channel in ("thought", "answer"):
        shown.show(SimpleNamespace(channel=channel, text="**Hello**"))  # type: ignore[arg-type]
    shown.end()
    shown.note("stopped")
    assert [stream.getvalue() for stream in streams] == ["**Hello**\n", "**Hello**\nstopped\n"]


def test_without_colours_an_answer_has_no_styles(screens: Screens, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = screens(True)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Terminal(show_thought=True, markdown=True)
    shown.show(SimpleNamespace(channel="thought", text="Let me see"))  # type: ignore[arg-type]
    shown.show(SimpleNamespace(channel="answer", text="# A **bold** `word`"))  # type: ignore[arg-type]
    shown.end()
    assert re.findall(r"\x1b\[[0-9;]*m", out.getvalue() + err.getvalue()) == []


def test_notes_in_a_terminal_break_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma4_mlx.commands.word_wrap.columns", lambda stream: 20)
    for is_terminal, said in ((True, "note: one two three\nfour five\n"), (False, "note: one two three four five\n")):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda there=is_terminal: there)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "dumb")
        NoteHandler().emit(logging.makeLogRecord({"msg": "one two three four five"}))
        assert stream.getvalue() == said
