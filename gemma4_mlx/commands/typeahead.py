"""The terminal while the model answers: what is typed isn't echoed into the answer, it waits for the next prompt.

The terminal's own queue would hold it, but only a thousand characters on macOS, and Ctrl-C would empty it. Here Ctrl-C
stops the answer alone: lines that were sent before or after it are asked in their order.
"""

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import Any

from gemma4_mlx.commands.common import NO_PASTE_MARKS, takes_codes

PASTE_MARKS = "\x1b[?2004h"
CHUNK = 4096  # bytes
_LOCAL, _INPUT, _CONTROLS = 3, 0, 6
"""Places in what tcgetattr returns."""

Handler = Callable[[int, FrameType | None], None]


class Typeahead:
    """What is typed into the terminal behind `handle` while nobody reads it; nothing is done without a terminal.

    Attributes:
        stops: how often Ctrl-Z has stopped the process.
    """

    def __init__(self, handle: int | None) -> None:
        self._handle = handle
        self._before = _settings(handle)
        self._typed, self.stops = b"", 0
        self._quiet, self._wanted = False, False

    @classmethod
    def of_stdin(cls) -> "Typeahead":
        """That of standard input, if it is a terminal."""
        with suppress(OSError, ValueError):
            if sys.stdin.isatty():
                return cls(sys.stdin.fileno())
        return cls(None)

    def guarded(self) -> AbstractContextManager[None]:
        """Restore the terminal, whoever has set it, before the signal of Ctrl-\\ ends the process."""
        return _handled({} if self._before is None else {signal.SIGQUIT: self._give_way})

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is typed, without echo. The terminal is as before whenever the process ends, stops, or goes on."""
        if self._before is None:
            yield
            return
        with _handled({signal.SIGTSTP: self._give_way, signal.SIGCONT: self._go_on}):
            try:
                self._hush()
                yield
            finally:
                self._restore()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the terminal echo for a question. What was typed before is no answer to it."""
        was_wanted = self._wanted
        self._restore()
        try:
            yield
        finally:
            if was_wanted:
                self._hush()

    def collect(self) -> None:
        """Take in what was typed by now."""
        while self._quiet and self._handle is not None and select.select([self._handle], [], [], 0)[0]:
            data = b""
            with suppress(OSError):  # the terminal is gone
                data = os.read(self._handle, CHUNK)
            self._typed += data
            if not data:
                return

    def take(self) -> str:
        """What was typed, for whoever reads next: Enter is a carriage return."""
        typed, self._typed = self._typed, b""
        return typed.decode("utf-8", "surrogateescape")

    def _hush(self) -> None:
        assert self._handle is not None
        self._wanted = True
        if self._before is None or not _is_foreground(self._handle):
            return
        self._set(_hushed(self._before))
        self._quiet = True
        self._mark_pastes(PASTE_MARKS)

    def _restore(self) -> None:
        self.collect()
        self._wanted = False
        if self._quiet and self._before is not None:
            self._quiet = False
            self._mark_pastes(NO_PASTE_MARKS)
            self._set(self._before)

    def _set(self, settings: list[Any]) -> None:
        assert self._handle is not None
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(self._handle, termios.TCSANOW, settings)

    def _mark_pastes(self, code: str) -> None:
        if takes_codes(sys.stderr):
            print(code, end="", file=sys.stderr, flush=True)

    def _give_way(self, number: int, _: FrameType | None) -> None:
        """Do what the signal does by default. The process may go on after it."""
        was_wanted = self._wanted
        self._restore()
        if self._before is not None:
            self._set(self._before)
        handler = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, handler)
        self.stops += 1
        if was_wanted:
            self._hush()

    def _go_on(self, _: int, __: FrameType | None) -> None:
        if self._wanted and not self._quiet:
            self._hush()


@contextmanager
def _handled(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals that nobody else handles or ignores; only the main thread can."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [number for number in handlers if signal.getsignal(number) == signal.SIG_DFL]
        before = {number: signal.signal(number, handlers[number]) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def applied(typed: str) -> str:
    """Typed text with the keys applied that a terminal edits a line by; Enter is a line break."""
    text = ""
    for key in typed.replace("\x1b\r", "\n").replace("\r", "\n"):
        if key in "\x7f\b":
            text = text if text.endswith("\n") else text[:-1]
        elif key == "\x15":
            text = text[: text.rfind("\n") + 1]
        else:
            text += key
    return text


def _settings(handle: int | None) -> list[Any] | None:
    with suppress(termios.error, OSError):
        return None if handle is None else termios.tcgetattr(handle)
    return None


def _hushed(settings: list[Any]) -> list[Any]:
    """No echo, each key at once, Enter as it is; the keys for signals work, and don't empty the queue."""
    hushed = [*settings[:_CONTROLS], list(settings[_CONTROLS])]
    hushed[_LOCAL] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    hushed[_LOCAL] |= termios.NOFLSH
    hushed[_INPUT] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
    hushed[_CONTROLS][termios.VMIN], hushed[_CONTROLS][termios.VTIME] = 1, 0
    return hushed


def _is_foreground(handle: int) -> bool:
    """Whether the process may set the terminal: one in the background would be stopped for it."""
    try:
        return os.tcgetpgrp(handle) == os.getpgrp()
    except OSError:
        return False
