"""Answers as Markdown in a terminal: what is printed for good, whatever pieces the text comes in."""

import io
import re
from contextlib import redirect_stdout
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gemma4_mlx.commands import markdown
from gemma4_mlx.commands.markdown import MarkdownStream, blocks, rendered

PARSE = markdown.BLOCKS.parse
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
    assert "".join(blocks(text)) == text


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
    for block in blocks(text):
        console.print(rendered(block))
    assert re.findall("[a-z]+", shown.getvalue()) == re.findall("[a-z]+", text)


def test_a_character_that_is_written_as_its_number_is_no_escape_sequence(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", 1e9)
    assert lines(printed(screen, "a&#27;[2Jb&#x9b;2Jc")) == ["a\ufffd[2Jb\ufffd2Jc"]


LONG = {
    "list": lambda n: "".join(f"- item {i} of the list\n" for i in range(n)),
    "numbered list with gaps": lambda n: "".join(f"{i}. item {i}\n\n" for i in range(n)),
    "list of paragraphs": lambda n: "".join(f"- item {i}\n\n  more of it\n" for i in range(n)),
    "code": lambda n: "```python\n" + "".join(f"x_{i} = {i}\n" for i in range(n)) + "```\n",
    "code without an end": lambda n: "~~~\n" + "# line\n" * n,
    "code in an item": lambda n: "1. see\n\n   ```\n" + "   line\n" * n + "   ```\n",
    "indented code": lambda n: "    line\n" * n,
    "table": lambda n: "| a | b |\n|---|---|\n" + "".join(f"| {i} | x |\n" for i in range(n)),
    "paragraph": lambda n: "some words of a line\n" * n,
    "one line": lambda n: "some words and " * n,
    "one word": lambda n: "wordwordword" * n,
    "quote": lambda n: "> some words\n" * n,
    "code in a quote": lambda n: "> ```\n" + "> line\n" * n,
    "many blocks": lambda n: "# title\n\nwords\n\n- one\n- two\n\n" * n,
    "empty lines": lambda n: "\n" * n,
}  # fmt: skip


@pytest.mark.parametrize("kind", LONG)
def test_the_work_grows_with_the_text_and_not_with_its_square(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
    work: list[int] = []

    def count(console: Console, text: str) -> list[Any]:
        work.append(len(text))
        return []

    def parse(text: str) -> Any:
        work.append(len(text))
        return PARSE(text)

    monkeypatch.setattr(markdown, "laid_out", count)
    monkeypatch.setattr(markdown.BLOCKS, "parse", parse)
    done = []
    for size in (200, 800):
        work.clear()
        stream, text = stream_to(screen), LONG[kind](size)
        for start in range(0, len(text), 40):
            stream.feed(text[start : start + 40])
        stream.end()
        done.append(sum(work) / len(text))
    assert done[1] < 1.5 * done[0] + 40  # characters of work for each of the text; four times as many otherwise
    assert done[1] < 24 * 60 * 20  # what is drawn is never more than some screens


# (what is written so far, how the drawing of it ends on a screen of 60 x 20)
ENDS = [
    (LONG["list"](100), [" \u2022 item 98 of the list", " \u2022 item 99 of the list"]),
    ("".join(f"{i}. item\n" for i in range(1, 90)), [" 88 item", " 89 item"]),
    (LONG["code"](100)[:-4], [" x_98 = 98", " x_99 = 99"]),
    ("# Code\n\n~~~\n" + "# no title\n" * 90 + "- no item\n", [" # no title", " - no item"]),
    (LONG["code"](60) + "\nSome **bold** words.\n", ["", "Some bold words."]),
    (LONG["table"](100), [" 98  x", " 99  x"]),
    ("some words\n" * 100 + "and **bold** ones", ["some words", "and bold ones"]),
    ("word " * 2000 + "\nand the end", ["and the end"]),
    ("    code\n" * 100, [" code", " code"]),
    (LONG["list"](50) + "\n## Title\n\nThe end", ["Title", "", "The end"]),
]


@pytest.mark.parametrize(("text", "ending"), ENDS)
@pytest.mark.parametrize("size", [37, 1000])
def test_the_end_of_a_long_block_is_drawn_as_it_will_look(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, text: str, ending: list[str], size: int
) -> None:
    stream = stream_to(screen)
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", 1e9)
    for start in range(0, len(text), size):
        if start + size >= len(text) or start % (20 * size) == 0:
            monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
        stream.feed(text[start : start + size])
        monkeypatch.setattr(markdown, "REDRAW_SECONDS", 1e9)
    drawn = lines(plain(screen.getvalue()).rpartition("\x1b[2K")[2])
    assert drawn[-len(ending) :] == ending


def test_a_terminal_that_is_made_narrower_is_cleared_of_what_was_drawn(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
    stream = stream_to(screen)
    stream.feed("```\n" + "word " * 9)
    before = len(screen.getvalue())
    monkeypatch.setattr(stream._console, "_width", 30)
    stream.feed("more")
    assert screen.getvalue()[before:].count("\x1b[1A\x1b[2K") == 2


def test_a_block_that_shows_nothing_yet_adds_no_empty_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
    stream = stream_to(screen)
    for text in ("One\n\n", "``", "`", "\n", "\n", "two\n```\n"):
        stream.feed(text)
    stream.end()
    assert lines(plain(screen.getvalue()).replace("\r", "")).count("") <= 3
    assert plain(screen.getvalue()).rpartition("\x1b[2K")[2].rstrip() == " two"


def test_what_is_drawn_hides_no_cursor(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that none is missing if the program is killed."""
    monkeypatch.setattr(markdown, "REDRAW_SECONDS", -1.0)
    stream_to(screen).feed("- one\n- two")
    assert "\x1b[?25l" not in screen.getvalue()
