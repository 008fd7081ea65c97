"""The standard streams as every command needs them, whatever they are: closed, a full disk, a pipe nobody reads.

What can't be written to stdout is an error that names the stream, so that no answer is lost in silence; a reader that
has had enough is no news. What can't be written to stderr is dropped: no note is worth an answer. Apart from `common`,
as it knows nothing of commands.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

STDOUT = "standard output"
"""The file that an error of stdout names."""


class _Answers(io.TextIOWrapper):
    """Stdout, whose errors name it. (A raw file in Python would write again what a signal comes after.)"""

    def write(self, text: str) -> int:
        with _naming_stdout():
            return super().write(text)

    def flush(self) -> None:
        with _naming_stdout():
            super().flush()


class _Notes(io.TextIOWrapper):
    """Stderr, which drops what it can't write."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


@contextmanager
def _naming_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = STDOUT
        raise


def open_standard_streams() -> None:
    """Let each standard stream be there, and fail as it should.

    Python leaves None for a closed one, and the next file to be opened takes its number. In the place of a closed
    stdout comes one that can't be written.
    """
    for name, mode, access in (("stdin", "r", os.O_RDWR), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDWR)):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, access)
            os.set_inheritable(number, True)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    sys.stdout, sys.stderr = _guarded(sys.stdout, _Answers), _guarded(sys.stderr, _Notes)


def _guarded(stream: Any, kind: type[_Answers] | type[_Notes]) -> Any:
    """The same stream with writes of this kind; what somebody has put in its place stays."""
    if type(stream) is not io.TextIOWrapper or type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    stream.flush()
    return kind(
        io.BufferedWriter(io.FileIO(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )
