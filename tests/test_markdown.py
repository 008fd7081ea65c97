"""Answers as Markdown in a terminal: what is printed for good, whatever pieces the text comes in."""

import io
import re
from contextlib import redirect_stdout

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gemma4_mlx.commands import markdown
from gemma4_mlx.commands.markdown import MarkdownStream, rendered

ANSWER = """## A plan

Here is **bold**, `code` and a [link](http://a.example/x).
Roses are red,
violets are blue.

- one
- two
  - nested

```python
def f(x):
    return x + 1
```

| a | b |
|---|---|
| 1 | 2 |

1. first
2. second

The end."""
SHOWN = """A plan

Here is bold, code and a link (http://a.example/x).
Roses are red,
violets are blue.

 • one
 • two
    • nested

 def f(x):
     return x + 1

 a  b
 ────
 1  2

 1 first
 2 second

The end."""


class Screen(io.StringIO):
    """What a terminal of 60 x 20 was sent."""

    def isatty(self) -> bool:
        return True


def lines(sent: str) -> list[str]:
    return [line.rstrip() for line in sent.splitlines()]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    for name, value in {"COLUMNS": "60", "LINES": "20", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    return Screen()


def stream_to(screen: Screen) -> MarkdownStream:
    with redirect_stdout(screen):
        return MarkdownStream()


def plain(sent: str) -> str:
    """Text without the sequences that only style it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", sent)


def printed(screen: Screen, text: str) -> str:
    stream = stream_to(screen)
    stream.feed(text)
    stream.end()
    return plain(screen.getvalue()).rpartition("\x1b[2K")[2]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_whole_blocks_are_printed_as_they_should_look(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", 1e9)
    stream = stream_to(screen)
    for start in range(0, len(ANSWER), size):
        stream.feed(ANSWER[start : start + size])
    stream.end()
    assert lines(plain(screen.getvalue())) == SHOWN.splitlines()


def test_a_block_is_drawn_while_it_is_written_and_taken_away_again(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
    stream = stream_to(screen)
    for letter in "One **two":
        stream.feed(letter)
    drawn = plain(screen.getvalue())
    assert "One **two" in drawn
    stream.feed("**")
    stream.end()
    last = plain(screen.getvalue()).rpartition("\x1b[2K")[2]
    assert lines(last) == ["One two"]


def test_a_block_that_is_longer_than_the_screen_is_printed_whole_in_the_end(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
    stream = stream_to(screen)
    for number in range(50):
        before = len(screen.getvalue())
        stream.feed(f"- item {number}\n")
        assert screen.getvalue()[before:].count("item") <= 18
    stream.end()
    last = plain(screen.getvalue()).rpartition("\x1b[2K")[2]
    assert lines(last) == [f" • item {number}" for number in range(50)]


@given(st.lists(st.sampled_from(["a", " ", "\n", "\n\n", "- ", "# ", "```", "|", "1. ", "> ", "*", "é"]), max_size=40))
@settings(deadline=None)
def test_no_character_is_lost_between_blocks(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert "".join(MarkdownStream()._blocks(text)) == text


# (what the model says, what is read)
KEPT = [
    ("Use vector<int> or List<String>, and <br> too.", "Use vector<int> or List<String>, and <br> too."),
    ("<details>\n<b>why</b>\n</details>", "<details>\n<b>why</b>\n</details>"),
    ("See [docs][1].\n\n[1]: https://x.example", "See [docs][1].\n\n[1]: https://x.example"),
    ("[docs]\n\n[docs]: https://x.example 'T'", "[docs]\n\n[docs]: https://x.example 'T'"),
    ("![a cat](https://x.example/c.png) here", "!a cat (https://x.example/c.png) here"),
    ("a <!-- note --> b ~~old~~ new", "a <!-- note --> b old new"),
]


@pytest.mark.parametrize(("text", "shown"), KEPT)
def test_what_looks_like_html_a_reference_or_an_image_is_shown(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, text: str, shown: str
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", 1e9)
    assert lines(printed(screen, text)) == shown.splitlines()


@given(st.lists(st.sampled_from(["a ", "<int>", "</b>", "<!-- c -->", "[d]: e", "![f](g)", "\n", "\n\n", "- ", "> "])))
@settings(deadline=None)
def test_no_word_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    shown = io.StringIO()
    console = Console(file=shown, width=2000)
    for block in MarkdownStream()._blocks(text):
        console.print(rendered(block))
    assert re.findall("[a-z]+", shown.getvalue()) == re.findall("[a-z]+", text)


def test_a_character_that_is_written_as_its_number_is_no_escape_sequence(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", 1e9)
    assert lines(printed(screen, "a&#27;[2Jb&#x9b;2Jc")) == ["a\ufffd[2Jb\ufffd2Jc"]
