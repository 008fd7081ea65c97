"""What every command does alike: one-line errors, exit codes, notes, and standard streams that can be anything."""

import argparse
import difflib
import io
import logging
import os
import re
import signal
import sys
import termios
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

from gemma4_mlx.characters import replace_hidden, symbol
from gemma4_mlx.commands import start
from gemma4_mlx.commands.streams import STDOUT, open_standard_streams
from gemma4_mlx.commands.word_wrap import wrapped
from gemma4_mlx.errors import LOGGER, GemmaError, Terminated, UsageError, one_line, shortened, visible
from gemma4_mlx.files import cure, system_reason

EXIT_FAILED, EXIT_SIGNAL, EXIT_INTERRUPTED = 1, 128, start.EXIT_INTERRUPTED
ENDING = (signal.SIGTERM, signal.SIGHUP)
NO_PASTE_MARKS, SHOW_CURSOR = "\x1b[?2004l", "\x1b[?25h"
CLEAR_LINE = "\r\x1b[K"
UNKNOWN = "unrecognized arguments: "
"""What argparse says of options that there are none of."""

FLAGS: dict[str, str] = {}
"""What the command that runs calls the library's arguments."""
OTHER_NAMES = {
    "images": "--image",
    "videos": "--video",
    "path_or_repo": "--model",
    "template_variables": "--chat-template-config",
    "drafter": "--draft-model",
    "soundtrack": "--no-soundtrack",
    "tools": "--mcp",
}
"""Flags that are not called as the argument is."""


class NoteHandler(logging.Handler):
    """Prints notes to stderr, each once, on a line of its own, in the place of a status line."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = with_flags(record.getMessage(), getattr(record, "arguments", ()))
        clear = CLEAR_LINE if takes_codes(sys.stderr) else ""
        if message not in self._said:
            print(clear + wrapped(f"note: {message}", sys.stderr), file=sys.stderr, flush=True)
        self._said.add(message)


def run(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parse, run, and turn every failure into one line on stderr and its exit code.

    SIGTERM and SIGHUP end the command like an exception, so that it restores the terminal and removes what is
    unfinished; the exit code is 128 more than the signal's number.
    """
    terminal = terminal_settings()
    with told_to_end() as signals:
        code = EXIT_FAILED
        try:
            code = _run(command, parser, argv)
        except BaseException:
            if not signals:
                raise
        if signals:
            restore_terminal(terminal)
            discard_stdout()
            return EXIT_SIGNAL + signals[0]
        return code


@contextmanager
def told_to_end() -> Iterator[list[int]]:
    """Raise Terminated at the first SIGTERM or SIGHUP, unless it is ignored; the list has its number then."""
    received: list[int] = []

    def end(number: int, _: object) -> None:
        if not received:
            received.append(number)
            raise Terminated(EXIT_SIGNAL + number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if received else handler)  # one more must not cut the ending short


def terminal_settings() -> list[Any] | None:
    """How the terminal of standard input is set; None if there is none."""
    with suppress(termios.error, OSError):
        return termios.tcgetattr(0)
    return None


def restore_terminal(settings: list[Any] | None) -> None:
    """Set the terminal as it was: a signal may come in the midst of the line editor's own restoring."""
    if settings is None or terminal_settings() in (None, settings):
        return
    with suppress(termios.error, OSError):
        termios.tcsetattr(0, termios.TCSANOW, settings)
        if takes_codes(sys.stdout):
            sys.stdout.write(NO_PASTE_MARKS + SHOW_CURSOR)


def takes_codes(stream: TextIO) -> bool:
    """Whether a stream is a terminal that obeys escape codes: a shell in Emacs and a typescript keep them as text."""
    plain = os.environ.get("TERM") in (None, "", "dumb", "unknown")
    emacs = "comint" in os.environ.get("INSIDE_EMACS", "")
    return stream.isatty() and not (plain or emacs or os.environ.get("SCRIPT"))


def _run(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    open_standard_streams()
    write_any_text()
    FLAGS.clear()
    FLAGS.update(flags_of(parser))
    args = argparse.Namespace(debug=False)
    notes = NoteHandler()
    LOGGER.addHandler(notes)
    try:
        args = parse(parser, argv)
        check_text(sys.argv[1:] if argv is None else argv)
        code = command(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        LOGGER.warning("stopped by Ctrl-C")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the answer has had enough of it
        discard_stdout()
        return EXIT_FAILED
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic in a Rust library is no Exception
        if args.debug:
            traceback.print_exc()
        discard_stdout()
        print(f"{CLEAR_LINE if takes_codes(sys.stderr) else ''}error: {explained(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, GemmaError) else EXIT_FAILED
    finally:
        LOGGER.removeHandler(notes)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; wrong ones are one line. It repeats them, and names of files can be somebody else's."""
    said, help_text = io.StringIO(), io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(help_text):
            return _parsed(parser, sys.argv[1:] if argv is None else argv)
    except SystemExit:
        if help_text.getvalue():  # argparse would ignore that it can't be written
            print(help_text.getvalue(), end="", flush=True)
        problem = said.getvalue().partition(f"{parser.prog}: error: ")[2]
        if problem:
            shown = replace_hidden(" ".join(problem.split()), symbol)
            print(f"error: {shown}{_flag_meant(parser, problem)}", file=sys.stderr)
        raise


def _flag_meant(parser: argparse.ArgumentParser, problem: str) -> str:
    """The flag that is like one that there is none of, as a question; else where all are."""
    unknown = problem.partition(UNKNOWN)[2].split()
    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    given = unknown[0].partition("=")[0] if unknown else ""
    close = difflib.get_close_matches(given, flags, 1) if given.startswith("--") else []
    return f"; did you mean {close[0]}? --help lists all" if close else "; see --help"


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The options, with the words of a question wherever they stand; after -- all are words."""
    if not any(action.dest == "words" for action in parser._actions):
        return parser.parse_args(argv)
    end = next((place for place, word in enumerate(argv) if word == "--"), len(argv))
    args = parser.parse_intermixed_args(argv[:end])
    args.words += argv[end + 1 :]
    return args


def explained(error: BaseException) -> str:
    """What an error says to the user, in one line; one that nobody foresaw asks for a report."""
    said = one_line(error)
    if isinstance(error, GemmaError):
        return with_flags(said, error.arguments)
    if isinstance(error, OSError | UnicodeError):
        return _of_the_system(error)
    if isinstance(error, ImportError):
        return f"a package can't be imported ({said}); install gemma4_mlx again, with what it needs"
    if isinstance(error, MemoryError):
        return f"out of memory ({said}); close other programs, or ask for less at once"
    if type(error) is RuntimeError:  # what MLX says, of memory for example
        from gemma4_mlx.device_errors import named_error

        named = named_error(error)
        return said if named is None else with_flags(str(named), named.arguments)
    return f"{type(error).__name__}: {said}; this is a fault of gemma4_mlx: please report it with what --debug prints"


def _of_the_system(error: OSError | UnicodeError) -> str:
    """What the system says, in our words: the file, why it can't be used, and what to do."""
    reason, file = system_reason(error), getattr(error, "filename", None)
    if file == STDOUT:
        return f"the output can't be written ({reason}); {cure(error, 'send it elsewhere')}"
    if not isinstance(file, str | bytes):
        return reason
    return f"{visible(os.fsdecode(file))}: can't be used ({reason}); {cure(error, 'give another file or folder')}"


def show(text: str) -> int:
    """Print a text and do nothing else; return the exit code."""
    parser = argparse.ArgumentParser()
    add_debug(parser)
    return run(lambda _: print(text) or 0, parser, [])


def flags_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """What a command's options are called, by the argument of the library that each sets."""
    words = [(action.dest, flag) for action in parser._actions for flag in action.option_strings]
    own = {name: flag for name, flag in reversed(words) if flag.startswith("--")}
    flags = set(own.values())
    return own | {name: flag for name, flag in OTHER_NAMES.items() if flag in flags}


def with_flags(text: str, arguments: Sequence[str]) -> str:
    """A message of the library with flags in the place of the arguments that it names, as they follow in it.

    An argument that the command has no flag for keeps its name.
    """
    done = ""
    for name in arguments:
        found = re.search(rf"\b{re.escape(name)}\b(=?)", text)
        if found is None:
            continue
        flag = FLAGS[name] + (" " if found[1] else "") if name in FLAGS else found[0]
        done, text = done + text[: found.start()] + flag, text[found.end() :]
    return done + text


def write_any_text() -> None:
    """Let text be UTF-8 in pipes and files whatever the locale, and let terminals of less show escapes for the rest."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if not stream.isatty() and stream.encoding.lower() not in ("utf-8", "utf8"):
            stream.reconfigure(encoding="utf-8")
        if stream is not sys.stdin:
            stream.reconfigure(errors="backslashreplace")


def check_text(words: Sequence[str]) -> None:
    """Raise UsageError for a word that is not UTF-8 text: Python reads stray bytes as what no tokenizer takes."""
    for word in words:
        if is_text(word):
            continue
        if is_text(os.fsencode(word).decode("utf-8", "surrogateescape")):
            raise UsageError(f"{shortened(ascii(word))} is UTF-8, but the locale is not: set PYTHONUTF8=1")
        raise UsageError(f"{shortened(ascii(word))} is not UTF-8 text; write it in UTF-8")


def is_text(words: str) -> bool:
    """Whether all of it are characters: bytes that are none come out of shells, terminals and pipes as half a pair."""
    return not any("\ud800" <= character <= "\udfff" for character in words)


def add_debug(parser: argparse._ActionsContainer) -> None:
    """Adds --debug, which `run` reads."""
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")


def discard_stdout() -> None:
    """Sends what is still buffered for a closed pipe or a full disk nowhere, so that the interpreter ends quietly."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
