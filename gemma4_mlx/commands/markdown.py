"""Markdown as it streams into a terminal: whole blocks are printed for good, the one being written is drawn anew."""

import sys
import time
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment
from rich.theme import Theme

REDRAW_SECONDS = 0.06

# Rich shows no HTML tag, no address of an image, and nothing of a block that only defines references: without these
# rules all of them are text.
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["reference", "image"])

STYLES = {
    "markdown.code": "cyan",
    "markdown.code_block": "cyan",
    "markdown.h1": "bold underline",
    "markdown.h2": "bold underline",
    "markdown.h3": "bold",
    "markdown.h4": "bold",
}


class MarkdownStream:
    """One answer. `feed` takes its text as it comes, `end` prints what is left."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, theme=Theme(STYLES), highlight=False)
        self._live: Live | None = None
        self._text, self._printed, self._drawn = "", False, 0.0

    def feed(self, text: str) -> None:
        """Takes in more text."""
        *whole, self._text = self._blocks(self._text + text)
        for block in whole:
            self._print(block)
        if time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._draw()

    def end(self) -> None:
        """Prints the rest; the next text begins another answer."""
        self._print(self._text)
        self._text, self._printed = "", False

    def _blocks(self, text: str) -> list[str]:
        """The text cut where its blocks begin; only the last of them may still go on."""
        lines = text.splitlines(keepends=True)
        starts = [token.map[0] for token in PARSER.parse(text) if token.level == 0 and token.map][1:]
        return ["".join(lines[start:stop]) for start, stop in pairwise([0, *starts, len(lines)])]

    def _draw(self) -> None:
        if not self._text.strip():
            return
        if self._live is None:
            self._space()
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="visible")
            self._live.start()
        self._live.update(_Lines(self._text, self._console.height - 2), refresh=True)
        self._drawn = time.monotonic()

    def _print(self, text: str) -> None:
        """Prints blocks for good in the place of what was drawn of them."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif text.strip():
            self._space()
        if text.strip():
            self._console.print(_Lines(text))

    def _space(self) -> None:
        """An empty line between blocks."""
        if self._printed:
            self._console.print()
        self._printed = True


def rendered(text: str) -> Markdown:
    """Markdown whose lines break where the text does, and whose links show where they lead."""
    markdown = _Markdown("", code_theme="ansi_dark", hyperlinks=False)
    markdown.parsed = PARSER.parse(text)
    for token in markdown.parsed:
        for part in token.children or ():
            part.type = "hardbreak" if part.type == "softbreak" else part.type
    return markdown


class _Heading(Heading):
    """A heading at the left margin, without a frame."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Markdown(Markdown):
    elements = Markdown.elements | {"heading_open": _Heading}
    parsed: list[Token]


class _Lines:
    """Markdown without empty lines around it. Of what is drawn anew only the last lines that the terminal has room for:
    what scrolled away would stay there."""

    def __init__(self, text: str, most: int = sys.maxsize) -> None:
        self._text, self._most = text, max(1, most)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(rendered(self._text), options, pad=False)
        filled = [place for place, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        for line in lines[filled[0] : filled[-1] + 1][-self._most :] if filled else ():
            yield from line
            yield Segment.line()
