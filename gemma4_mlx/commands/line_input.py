"""Reads what people type: with line editing and history in a terminal, plainly from a pipe or file."""

import sys
from collections.abc import Callable

from gemma4_mlx.errors import GemmaError

ReadLine = Callable[[str], str]
"""Takes a prompt, returns a line. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""


def line_reader() -> ReadLine:
    """The reader that suits standard input."""
    return _edited() if sys.stdin.isatty() and sys.stdout.isatty() else _plain


def read_message(read: ReadLine) -> str:
    """One message; a line that ends in a backslash goes on in the next one."""
    lines = [read("> ")]
    while (len(lines[-1]) - len(lines[-1].rstrip("\\"))) % 2:
        lines[-1] = lines[-1][:-1]
        try:
            lines.append(read(". "))
        except EOFError:
            break
    return "\n".join(lines)


def _plain(prompt: str) -> str:
    """A script sees no prompts."""
    try:
        return input()
    except UnicodeDecodeError:
        raise GemmaError("standard input is not UTF-8 text") from None


def _edited() -> ReadLine:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(key_bindings=keys)
    return session.prompt
