"""What every command does alike: one-line errors, exit codes, and output that can be a pipe."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from gemma4_mlx.errors import GemmaError, one_line

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def run(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parses, runs, and turns every failure that a user can cause into one line on stderr and its exit code."""
    args = parser.parse_args(argv)
    try:
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


def add_debug(parser: argparse._ActionsContainer) -> None:
    """Adds --debug, which `run` reads."""
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")


def discard_stdout() -> None:
    """Sends what is still buffered for a closed pipe or a full disk nowhere, so that the interpreter ends quietly."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
