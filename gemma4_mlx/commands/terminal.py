"""What people see: the answer on stdout; thought, progress and figures on stderr."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from gemma4_mlx.characters import ShownStream, replace_hidden, symbol
from gemma4_mlx.commands.common import CLEAR_LINE, takes_codes
from gemma4_mlx.commands.reply import call_as_dict, json_text
from gemma4_mlx.commands.typeahead import Typeahead
from gemma4_mlx.commands.word_wrap import WordWrap, columns, wrapped
from gemma4_mlx.errors import visible

if TYPE_CHECKING:
    from gemma4_mlx.agent import ToolResult
    from gemma4_mlx.commands.markdown import MarkdownStream
    from gemma4_mlx.engine.generation import Response
    from gemma4_mlx.prompt.calls import ToolCall

FIRST_RUN = "; first MLX compiles its kernels (20 s)"
YES_NO = ("yes", "no")
DIM, RESET = "\x1b[2m", "\x1b[0m"


class Terminal:
    """Streams a reply. Status lines appear only if stderr is a terminal, Markdown only if stdout is one.

    What a model, a tool or a file said could move the cursor, rename the window or reorder a line: a terminal gets
    symbols for characters that do not show. A pipe gets answers as they are.
    """

    def __init__(self, show_thought: bool, markdown: bool = False, typeahead: Typeahead | None = None) -> None:
        self._show_thought = show_thought
        self._renders = markdown and takes_codes(sys.stdout)
        self._markdown: MarkdownStream | None = None
        self._wrap: WordWrap | None = None
        self._interactive = takes_codes(sys.stderr)
        self._colour = self._interactive and not os.environ.get("NO_COLOR")
        self._typeahead, self._stops = typeahead or Typeahead(None), 0
        self._status = False
        self._compiles: bool | None = None
        self._open_line: TextIO | None = None
        self._shown = ShownStream()

    def status(self, text: str) -> None:
        """Shows what is going on, in place of the last status."""
        if self._interactive:
            line = f"{visible(text)}{self._first_run()} ..."[: columns(sys.stderr) - 1]  # two can't be taken away
            print(f"{CLEAR_LINE}{line}", end="", file=sys.stderr, flush=True)
            self._status = True

    def _first_run(self) -> str:
        """What is said as long as nothing was shown, if MLX compiles kernels meanwhile."""
        if self._compiles is None and "mlx.core" in sys.modules:
            from gemma4_mlx.device_errors import kernels_are_missing

            self._compiles = kernels_are_missing()
        return FIRST_RUN if self._compiles else ""

    def note(self, text: str) -> None:
        """Says something of its own, terminal or not."""
        self._say(replace_hidden(text, symbol))

    def ask(self, question: str, answers: Sequence[str] = YES_NO) -> str:
        """The first letter of what is answered, asked again until it is one of the answers or its first letter.

        "" for Enter alone, "n" at the end of standard input. The question holds nothing hidden.
        """
        self.end()
        letters = [answer[:1] for answer in answers]
        again = f"{', '.join(letters[:-1])} or {letters[-1]}? "
        with self._typeahead.paused():  # nobody has answered before they were asked
            print(wrapped(question, sys.stderr), end="", file=sys.stderr, flush=True)
            while (said := (sys.stdin.readline() or "n").strip().lower()) not in ("", *letters, *answers):
                print(again, end="", file=sys.stderr, flush=True)
        return said[:1]

    def progress(self, done: int, total: int) -> None:
        """Shows how much of the prompt is read."""
        self.status(f"reading the prompt: {done} of {total} tokens")

    def show(self, response: "Response") -> None:
        """Prints a piece of the answer, or of the thought unless it is hidden."""
        self.clear()
        self._compiles = False
        if response.channel == "answer" and self._renders:
            self._render(response.text)
        elif response.channel == "answer":
            self._write(sys.stdout, response.text)
        elif response.channel == "thought" and self._show_thought:
            self._write(sys.stderr, response.text)

    def show_call(self, call: "ToolCall") -> None:
        """A call that somebody else is to make, as one line of JSON."""
        self.end()
        print(json_text(call_as_dict(call)), flush=True)

    def show_result(self, result: "ToolResult") -> None:
        """A call that was made and what it came to, in short."""
        from gemma4_mlx.commands.tools import beginning, call_text

        self.end()
        came = beginning(" ".join(result.text.split()), 120)
        self._say(self._dimmed(f"{call_text(result.call)} -> {came}"))

    def end(self) -> None:
        """Ends the line that the reply left open."""
        self.clear()
        rest = self._shown.end()
        if self._markdown is not None:
            self._markdown.feed(rest)
            self._markdown.end()
            self._markdown = None
        if self._open_line is not None:
            last = self._wrap.feed(rest) + self._wrap.end() if self._wrap else rest
            self._put(self._open_line, last)
            print(file=self._open_line, flush=True)
            self._open_line, self._wrap = None, None

    def report(self, lines: Mapping[str, str]) -> None:
        """Prints figures after ten equals signs."""
        print("=" * 10, *(f"{name}: {value}" for name, value in lines.items()), sep="\n", file=sys.stderr)

    def clear(self) -> None:
        """Takes the status line away."""
        if self._status:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)
            self._status = False

    def _render(self, text: str) -> None:
        if not text:
            return
        if self._markdown is None:
            from gemma4_mlx.commands.markdown import MarkdownStream

            self.end()
            self._markdown = MarkdownStream()
        if self._typeahead.stops != self._stops:
            self._stops = self._typeahead.stops
            self._markdown.forget()
        self._markdown.feed(self._shown.feed(text))

    def _dimmed(self, text: str) -> str:
        return f"{DIM}{text}{RESET}" if self._colour and text else text

    def _write(self, stream: TextIO, text: str) -> None:
        """Prints what a model said, dimmed on stderr."""
        if not text:
            return
        if self._markdown is not None or self._open_line not in (None, stream):
            self.end()
        self._open_line = stream  # first, as Ctrl-C may come as soon as the text is out
        if stream.isatty():
            self._wrap = self._wrap or WordWrap(lambda: columns(stream))
            text = self._wrap.feed(self._shown.feed(text))
        self._put(stream, text)

    def _put(self, stream: TextIO, text: str) -> None:
        print(self._dimmed(text) if stream is sys.stderr else text, end="", file=stream, flush=True)

    def _say(self, text: str) -> None:
        self.clear()
        print(wrapped(text, sys.stderr), file=sys.stderr, flush=True)
