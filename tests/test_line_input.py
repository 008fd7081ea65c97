"""What the line editor completes, and what it makes of keys that were typed before it read."""

import io
import sys
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document

from gemma4_mlx.commands.completion import ChatCompleter
from gemma4_mlx.commands.line_input import complete, key_presses, line_reader
from gemma4_mlx.commands.typeahead import Typeahead

COMPLETER = ChatCompleter(
    ["/image", "/save", "/set", "/system", "/think"], {"/think": ("on", "off"), "/set": ("top_p",)}
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a photo.png", "notes.txt", ".hidden", "sub/in.png", "don't (1).png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


# (what is typed, what stands there after Tab)
TABS = [
    ("/im", "/image "),
    ("/IM", "/image "),
    ("/s", "/s"),
    ("/sy", "/system "),
    ("/xyzzy", "/xyzzy"),
    ("/think o", "/think o"),
    ("/think of", "/think off "),
    ("/set to", "/set top_p "),
    ("/image no", "/image notes.txt "),
    ("/image a", "/image a\\ photo.png "),
    ("/image a\\ ph", "/image a\\ photo.png "),
    ("/image 'a ph", "/image 'a photo.png "),
    ("/image d", "/image don\\'t\\ \\(1\\).png "),
    ("/save su", "/save sub/"),
    ("/image sub/", "/image sub/in.png "),
    ("/image ~/no", "/image ~/notes.txt "),
    ("/image .h", "/image .hidden "),
    ("what is in ./no", "what is in ./notes.txt "),
    ("what is in @./a", "what is in @./a\\ photo.png "),
    ("what is in '{}/a", "what is in '{}/a photo.png "),
    ("{}/no", "{}/notes.txt "),
    ("no", "no"),
    ("what is no", "what is no"),
    ("see /none/of it", "see /none/of it"),
]


@pytest.mark.parametrize(("typed", "completed"), TABS)
def test_tab_completes(typed: str, completed: str, folder: Path) -> None:
    buffer = Buffer(document=Document(typed.replace("{}", str(folder))))
    buffer.start_completion = lambda *_, **__: None  # type: ignore[method-assign]
    complete(buffer, COMPLETER)
    assert buffer.text == completed.replace("{}", str(folder))


def test_keys_that_were_typed_ahead() -> None:
    keys = key_presses("Hé\r\x1b\r\x1b[200~a\rb\x1b[201~\x1b[D\x04\x1b")
    assert [key.key for key in keys] == [
        "H", "é", "c-m", "escape", "c-m", "<bracketed-paste>", "left", "c-d", "escape",
    ]  # fmt: skip
    assert keys[5].data == "a\rb"
    assert key_presses("") == []


def test_a_terminal_without_codes_shows_what_was_typed_ahead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typeahead = Typeahead(None)
    stdin = io.StringIO("tial\nlast")
    for stream in (stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setenv("TERM", "dumb")
    read = line_reader(typeahead, lambda: pytest.fail("nothing is edited"))
    typeahead._typed = b"one\rtwx\x7fo\rpar"
    assert [read("> ") for _ in range(4)] == ["one", "two", "partial", "last"]
    assert capsys.readouterr().out == "> one\n> two\n> par> "
    with pytest.raises(EOFError):
        read("> ")


@pytest.mark.parametrize("text", ["a", "a\n"])
def test_a_pipe_sees_no_prompts(text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    read = line_reader(Typeahead(None), lambda: pytest.fail("nothing is edited"))
    assert read("> ") == "a"
    with pytest.raises(EOFError):
        read("> ")
    assert capsys.readouterr() == ("", "")
