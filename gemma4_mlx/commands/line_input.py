"""Reads what people type: with line editing, completion and history in a terminal, plainly from a pipe or file."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from gemma4_mlx.commands.common import is_text, takes_codes
from gemma4_mlx.commands.typeahead import Typeahead, applied
from gemma4_mlx.errors import GemmaError

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPress

ReadLine = Callable[[str], str]
"""Takes a prompt, returns a line. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""


def line_reader(typeahead: Typeahead, helpers: "Callable[[], tuple[Completer, History]]") -> ReadLine:
    """The reader that suits standard input; `helpers` makes completion and history, if there is a use for them."""
    screen = next((stream for stream in (sys.stdout, sys.stderr) if stream.isatty()), None)
    if not sys.stdin.isatty() or screen is None:
        return _plain
    return _edited(typeahead, screen, *helpers()) if takes_codes(screen) else _unedited(typeahead, screen)


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
    """A script sees no prompts. Raises GemmaError at the first line that is no text: media were piped in by mistake."""
    line = _next_line()
    if not line:
        raise EOFError
    if not (is_text(line) or sys.stdin.isatty()):
        raise GemmaError(
            "a line of standard input is not UTF-8 text, so the chat ends there; "
            "media are attached with --image, --audio or --video FILE"
        )
    return line.removesuffix("\n")


def _next_line() -> str:
    """The next line of standard input; "" at its end. Raises GemmaError if it is no text."""
    try:
        return sys.stdin.readline()
    except UnicodeDecodeError:
        raise GemmaError("standard input is not UTF-8 text") from None


def _unedited(typeahead: Typeahead, screen: TextIO) -> ReadLine:
    """The terminal's own line editing, for one that obeys no codes. What was typed ahead is shown at the prompt."""
    waiting = ""

    def read(prompt: str) -> str:
        nonlocal waiting
        waiting += applied(typeahead.take())
        line, ended, waiting = waiting.partition("\n")
        print(prompt + line, end="\n" if ended else "", file=screen, flush=True)
        if ended:
            return line
        rest = _next_line()
        if not rest and not line:
            print(file=screen)
            raise EOFError
        return line + rest.removesuffix("\n")

    return read


def _edited(typeahead: Typeahead, screen: TextIO, completer: "Completer", history: "History") -> ReadLine:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input.typeahead import store_typeahead
    from prompt_toolkit.output import create_output

    session: PromptSession[str] = PromptSession(
        key_bindings=_keys(completer),
        completer=completer,
        complete_while_typing=False,
        history=history,
        enable_suspend=True,
        output=create_output(stdout=screen),
    )

    def read(prompt: str) -> str:
        store_typeahead(session.input, key_presses(typeahead.take()))
        return session.prompt(prompt)

    return read


def _keys(completer: "Completer") -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("tab")
    def _complete(event: KeyPressEvent) -> None:
        complete(event.current_buffer, completer)

    return keys


def complete(buffer: "Buffer", completer: "Completer") -> None:
    """Complete at once, so that keys typed right after Tab come after what it inserts: a menu only for a choice."""
    from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix

    if buffer.complete_state:
        buffer.complete_next()
        return
    found = list(completer.get_completions(buffer.document, CompleteEvent(completion_requested=True)))
    common = get_common_complete_suffix(buffer.document, found)
    if len(found) == 1:
        buffer.apply_completion(found[0])
        buffer.insert_text("" if found[0].text.endswith("/") else " ")
    elif common:
        buffer.insert_text(common)
    elif found:
        buffer.start_completion()


def key_presses(typed: str) -> "list[KeyPress]":
    """Typed text as the line editor's keys."""
    from prompt_toolkit.input.vt100_parser import Vt100Parser

    keys: list[KeyPress] = []
    parser = Vt100Parser(keys.append)
    parser.feed_and_flush(typed)
    return keys
