"""Markdown as it streams into a terminal: whole blocks are printed for good, the one being written is drawn anew."""

import os
import re
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.markdown import Heading, Markdown
from rich.segment import ControlType, Segment
from rich.theme import Theme

from gemma4_mlx.characters import replace_hidden, symbol

REDRAW_SECONDS = 0.06
GROWTH = 1.125
"""How much a text must grow before work is done that takes as long as the text is."""

LARGE = 4
"""Screens of text that are drawn whenever something is added; what is more, and can't be cut, only as it grows."""

HEAD_LINES = {"fence": 1, "table_open": 2}
"""Lines at the beginning of a block without which its end is read as something else."""

# Rich shows no HTML tag, no address of an image, and nothing of a block that only defines references: without these
# rules all of them are text.
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["reference", "image"])
BLOCKS = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["reference", "inline", "text_join"])
"""The same blocks, without what is in them."""

STYLES = {
    "markdown.code": "cyan",
    "markdown.code_block": "cyan",
    "markdown.h1": "bold underline",
    "markdown.h2": "bold underline",
    "markdown.h3": "bold",
    "markdown.h4": "bold",
}


class MarkdownStream:
    """One answer. `feed` takes its text as it comes, `end` prints what is left.

    The work grows with the text, not with its square: the open block is parsed anew only once it has grown by a share,
    and of a block that is larger than the screen only the end is drawn.
    """

    def __init__(self) -> None:
        colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        self._console = Console(file=sys.stdout, theme=Theme(STYLES), highlight=False, color_system=colours)
        self._text, self._printed, self._parsed = "", False, 0
        self._tail, self._drawn_at, self._drawn_size = Tail(), 0.0, 0
        self._widths: list[int] | None = None  # of the lines that are drawn, if any are

    def feed(self, text: str) -> None:
        """Takes in more text."""
        self._text += text
        self._tail.text += text
        if "\n" in text and len(self._text) > GROWTH * self._parsed:
            self._print_whole()
        if time.monotonic() - self._drawn_at > REDRAW_SECONDS:
            self._draw()

    def end(self) -> None:
        """Prints the rest; the next text begins another answer."""
        self._print(self._text)
        self._text, self._printed, self._parsed, self._tail = "", False, 0, Tail()

    def forget(self) -> None:
        """Leave what was drawn where it is: since then a shell has written below it."""
        self._widths, self._drawn_size = None, 0

    def _print_whole(self) -> None:
        """Prints the blocks that are whole for good."""
        *whole, rest = blocks(self._text)
        for block in whole:
            self._print(block)
        if whole:
            self._text, self._tail = rest, Tail(rest)
        self._parsed = len(rest)

    def _draw(self) -> None:
        """Draws the end of the open block in the place of what was drawn of it."""
        height = max(1, self._console.height - 2)
        self._tail.shorten(height, self._console.width)
        text = self._tail.head + self._tail.text
        small = len(text) <= LARGE * height * self._console.width
        if not text.strip() or not (small or len(text) > GROWTH * self._drawn_size):
            return
        if self._widths is None:
            self._space()
        with self._console:  # one write
            self._erase()
            lines = laid_out(self._console, text)[-height:]
            self._console.print(_Rows(lines))
        self._widths = [Segment.get_line_length(line) for line in lines]
        self._drawn_at, self._drawn_size = time.monotonic(), len(text)

    def _erase(self) -> None:
        """Takes away what was drawn, of which a terminal that was made narrower has broken the lines."""
        rows = sum(max(1, -(-width // self._console.width)) for width in self._widths or ())
        up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)]
        if rows:
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *up * rows))
        self._widths, self._drawn_size = None, 0

    def _print(self, text: str) -> None:
        """Prints blocks for good in the place of what was drawn of them."""
        drawn = self._widths is not None
        self._erase()
        if text.strip():
            if not drawn:
                self._space()
            self._console.print(_Rows(laid_out(self._console, text)))

    def _space(self) -> None:
        """An empty line between blocks."""
        if self._printed:
            self._console.print()
        self._printed = True


class Tail:
    """The end of an open block, as Markdown that is drawn like the end of the whole.

    Attributes:
        head: what the text is read after: the line that opens a block of code, a table's header.
        text: the last lines.
    """

    def __init__(self, text: str = "") -> None:
        self.head, self.text, self._tried = "", text, 0

    def shorten(self, height: int, width: int) -> None:
        """Drops what a screen of this size does not show, once that is more than the screen."""
        size = len(self.text)
        if size <= GROWTH * self._tried or (self.text.count("\n") <= 2 * height and size <= 2 * height * width):
            return
        lines = lines_in(self.text)
        if len(lines) <= height:
            self.text = self.text[-height * width :].partition(" ")[2] or self.text
        else:
            self._cut(lines, len(lines) - height)
        self._tried = len(self.text) if len(self.text) == size else 0

    def _cut(self, lines: list[str], keep: int) -> None:
        """Drops lines before the one at `keep`, as far as the block they are in can be cut."""
        before = lines_in(self.head)
        tokens = [token for token in BLOCKS.parse(self.head + self.text) if token.map]
        starts = [(token, token.map[0] - len(before), token.map[1] - len(before)) for token in tokens if token.map]
        cut = [entry for entry in starts if entry[0].level == 0 and entry[1] <= keep < entry[2]]
        kind, start = (cut[0][0].type, cut[0][1]) if cut else ("", keep)
        opening = (before + lines)[start + len(before) :]
        self.head = "".join(opening[: HEAD_LINES.get(kind, 0)])
        if kind in ("bullet_list_open", "ordered_list_open"):
            items = [first for token, first, _ in starts if token.level == 1 and token.type == "list_item_open"]
            keep = [first for first in items if start <= first <= keep][-1]
        self.text = "".join(lines[keep:])


def lines_in(text: str) -> list[str]:
    """The lines of a text with their line breaks, as Markdown counts them."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def blocks(text: str) -> list[str]:
    """The text cut where its blocks begin; only the last of them may still go on."""
    lines = lines_in(text)
    starts = [token.map[0] for token in BLOCKS.parse(text) if token.level == 0 and token.map][1:]
    return ["".join(lines[start:stop]) for start, stop in pairwise([0, *starts, len(lines)])]


def laid_out(console: Console, text: str) -> list[list[Segment]]:
    """The lines of Markdown on this console, without empty ones around them."""
    lines = console.render_lines(rendered(text), pad=False)
    filled = [place for place, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def rendered(text: str) -> Markdown:
    """Markdown whose lines break where the text does, and whose links show where they lead."""
    markdown = _Markdown("", code_theme="ansi_dark", hyperlinks=False)
    markdown.parsed = PARSER.parse(text)
    for token in markdown.parsed:
        for part in (token, *(token.children or ())):
            part.type = "hardbreak" if part.type == "softbreak" else part.type
            part.content = replace_hidden(part.content, symbol, isolates=True)  # written as &#x202e; for example
    return markdown


class _Heading(Heading):
    """A heading at the left margin, without a frame."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Markdown(Markdown):
    elements = Markdown.elements | {"heading_open": _Heading}
    parsed: list[Token]


class _Rows:
    """Lines that are laid out already."""

    def __init__(self, lines: Sequence[Sequence[Segment]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            yield from line
            yield Segment.line()
