"""What people see: the answer on stdout; thought, progress and figures on stderr."""

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from gemma4_mlx.commands.common import CLEAR_LINE
from gemma4_mlx.commands.reply import call_as_dict

if TYPE_CHECKING:
    from gemma4_mlx.agent import ToolResult
    from gemma4_mlx.commands.markdown import MarkdownStream
    from gemma4_mlx.engine.generation import Response
    from gemma4_mlx.prompt.calls import ToolCall

DIM, RESET = "\x1b[2m", "\x1b[0m"

# A reply could move the cursor or rename the window; a terminal gets its control characters as visible symbols.
CONTROL_SYMBOLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
CONTROL_SYMBOLS |= dict.fromkeys(range(0x7F, 0xA0), 0xFFFD)  # delete and C1, where one character begins a sequence


class Terminal:
    """Streams a reply. Status lines appear only where stderr is a terminal, Markdown only where stdout is one."""

    def __init__(self, show_thought: bool, markdown: bool = False) -> None:
        self._show_thought = show_thought
        self._renders = markdown and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
        self._markdown: MarkdownStream | None = None
        self._interactive = sys.stderr.isatty()
        self._colour = self._interactive and "NO_COLOR" not in os.environ
        self._status = False
        self._open_line: TextIO | None = None

    def status(self, text: str) -> None:
        """Shows what is going on, in place of the last status."""
        if self._interactive:
            print(f"{CLEAR_LINE}{text} ...", end="", file=sys.stderr, flush=True)
            self._status = True

    def note(self, text: str) -> None:
        """Says something of its own, terminal or not."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def progress(self, done: int, total: int) -> None:
        """Shows how much of the prompt is read."""
        self.status(f"reading the prompt: {done} of {total} tokens")

    def show(self, response: "Response") -> None:
        """Prints a piece of the answer, or of the thought unless it is hidden."""
        self.clear()
        if response.channel == "answer" and self._renders:
            self._render(response.text)
        elif response.channel == "answer":
            self._write(sys.stdout, response.text)
        elif response.channel == "thought" and self._show_thought:
            self._write(sys.stderr, response.text)

    def show_call(self, call: "ToolCall") -> None:
        """A call that somebody else is to make, as one line of JSON."""
        self.end()
        self._write(sys.stdout, json.dumps(call_as_dict(call), ensure_ascii=False) + "\n")

    def show_result(self, result: "ToolResult") -> None:
        """A call that was made and what it came to, in short."""
        from gemma4_mlx.commands.tools import beginning, call_text

        self.end()
        came = beginning(" ".join(result.text.split()), 120)
        self.note(self._dimmed(f"{call_text(result.call)} -> {came}"))

    def end(self) -> None:
        """Ends the line that the reply left open."""
        self.clear()
        if self._markdown is not None:
            self._markdown.end()
            self._markdown = None
        if self._open_line is not None:
            print(file=self._open_line, flush=True)
            self._open_line = None

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
        self._markdown.feed(text.translate(CONTROL_SYMBOLS))

    def _dimmed(self, text: str) -> str:
        return f"{DIM}{text}{RESET}" if self._colour and text else text

    def _write(self, stream: TextIO, text: str) -> None:
        """Prints what a model said, dimmed on stderr."""
        if not text:
            return
        if self._markdown is not None:
            self.end()
        if self._open_line not in (None, stream):
            print(file=self._open_line, flush=True)
        plain = text.translate(CONTROL_SYMBOLS) if stream.isatty() else text
        print(self._dimmed(plain) if stream is sys.stderr else plain, end="", file=stream, flush=True)
        self._open_line = stream
