"""The errors a user can cause. Each is one line that says what, why and what to do instead, and carries its exit code.

Exit codes of every command: 0 done, 1 failed, 2 wrong usage, 3 does not fit into memory, 130 interrupted,
129 and 143 hung up and told to end.

What can be used as far as it goes is no error but a note: `note` logs it, as a warning of the logger "gemma4_mlx".
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real

from gemma4_mlx.characters import replace_hidden

LOGGER = logging.getLogger("gemma4_mlx")
"""Where notes go. Without a handler Python writes them to stderr; the commands show each as a line there."""


class GemmaError(Exception):
    """A file, a checkpoint or an input that can't be used.

    Attributes:
        arguments: the library's arguments that the message names, as they follow in it: commands call them by flags.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, arguments: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.arguments = tuple(arguments)


class UsageError(GemmaError):
    """Options that contradict each other or are out of range."""

    exit_code = 2


class DoesNotFitError(GemmaError):
    """What is asked for needs more memory than may be used."""

    exit_code = 3


class MissingPackageError(GemmaError):
    """What is asked for needs a package that is not installed with the others."""

    def __init__(self, what: str, requirement: str) -> None:
        super().__init__(f"{what} need one more package: pip install '{requirement}'")


class Terminated(SystemExit):
    """The process was told to end. Tools may raise SystemExit, which ends only their call."""


def note(text: str, *, arguments: Sequence[str] = ()) -> None:
    """Says, in one line, what was found and what was made of it; `arguments` as in GemmaError."""
    LOGGER.warning("%s", visible(text), extra={"arguments": tuple(arguments)})


@contextmanager
def only_errors(logger: str = LOGGER.name) -> Iterator[None]:
    """Let a logger log errors only in the block: notes about files that are only looked at, a library's warnings."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(level)


def visible(text: str) -> str:
    """Text with "?" for each line break, tab and hidden character that no emoji or word is spelt with."""
    return replace_hidden(text, lambda _: "?").replace("\n", "?").replace("\t", "?")


def shortened(text: str) -> str:
    """Text of somebody else's in one line without control characters, its beginning and its end where it is long."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-90:]}"


def one_line(error: BaseException) -> str:
    """What an error says, in one line without control characters; its kind if it says nothing, or fails to."""
    try:
        said = str(error)
    except (Exception, SystemExit):  # the error of a tool can be of any kind
        said = ""
    return visible(" ".join(said.split())) or type(error).__name__


def check_argument(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise UsageError that names an argument, unless it is as it must be."""
    if not holds:
        given = f"the text {value!r}" if isinstance(value, str) else str(value)
        raise UsageError(f"{name} must be {allowed}, not {shortened(given)}", arguments=[name])


def is_whole(value: object, least: int, most: float = math.inf) -> bool:
    """Whether a value is a whole number from `least` to `most`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def is_real(value: object, least: float, most: float = math.inf) -> bool:
    """Whether a value is a finite number from `least` to `most`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and least <= value <= most  # type: ignore[arg-type, operator]
