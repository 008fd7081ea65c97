"""What every command does alike: one-line errors, exit codes, and output that can be a pipe."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from gemma4_mlx.errors import LOGGER, GemmaError, UsageError, one_line, shortened

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
CLEAR_LINE = "\r\x1b[K"


class NoteHandler(logging.Handler):
    """Prints notes to stderr, each on a line of its own, in the place of a status line."""

    def emit(self, record: logging.LogRecord) -> None:
        clear = CLEAR_LINE if sys.stderr.isatty() else ""
        print(f"{clear}note: {record.getMessage()}", file=sys.stderr, flush=True)


def run(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parses, runs, and turns every failure that a user can cause into one line on stderr and its exit code."""
    args = parser.parse_args(argv)
    notes = NoteHandler()
    LOGGER.addHandler(notes)
    try:
        check_text(sys.argv[1:] if argv is None else argv)
        code = command(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return EXIT_FAILED
    except (GemmaError, OSError, MemoryError, RuntimeError) as error:
        if args.debug:
            traceback.print_exc()
        discard_stdout()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, GemmaError) else EXIT_FAILED
    finally:
        LOGGER.removeHandler(notes)


def check_text(words: Sequence[str]) -> None:
    """Raises UsageError for a word that is not UTF-8 text: Python reads stray bytes as what no tokenizer takes."""
    for word in words:
        if not is_text(word):
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
