"""Streamed text with its lines broken at words: a terminal alone would break them wherever they reach its edge."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

# Scripts that are written without spaces: a line may end after each character, but closing marks stay with it.
_UNSPACED = (
    "\u2e80-\u3007\u3012\u3013\u3018-\u312f\u3190-\u4dbf\u4e00-\ua4cf\uf900-\ufaff\uff00-\uff60\U00020000-\U0003fffd"
)
_CLOSERS = (
    "\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u3015\u3017\u30fc\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d"
)
_TOKEN = re.compile(f"\n|[ \t]+|[{_UNSPACED}][{_CLOSERS}]*|[^ \t\n{_UNSPACED}]+")
_FENCE = re.compile(r"```|~~~")
_DATA = ("{", "[")
_ROW = "|"
UNKNOWN_WIDTH = 80


class WordWrap:
    """One text that comes in pieces. `feed` gives what can be printed by now, `end` the rest.

    The last word is held back until it is whole, as it may have to begin the next line. Blocks of code, rows of tables
    and JSON are left as they are; a word that is longer than a line is the terminal's to break.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self._width, self._held, self._spaces, self._column = width, "", "", 0
        self._begins_text, self._begins_line = True, True
        self._is_data, self._fenced, self._is_row, self._is_long = False, False, False, False

    def feed(self, text: str) -> str:
        """What can be printed by now."""
        if not text:
            return ""
        *whole, last = _TOKEN.findall(self._held + text)
        printed, self._held = "".join(map(self._place, whole)), ""
        if last == "\n" or self._is_raw:
            return printed + self._place(last)
        if len(last) > self._width():  # it needs more than a line in any case
            printed, self._is_long = printed + self._place(last), True
        else:
            self._held = last
        return printed

    def end(self) -> str:
        """What was held back."""
        rest, self._held = self._held, ""
        return "".join(map(self._place, _TOKEN.findall(rest))) + self._spaces

    @property
    def _is_raw(self) -> bool:
        return self._is_data or self._is_row or (self._fenced and not self._begins_line)

    def _place(self, token: str) -> str:
        """What is printed for a word, spaces or the end of a line."""
        if token == "\n":
            ended, self._spaces, self._column = f"{self._spaces}\n", "", 0
            self._begins_line, self._is_row, self._is_long = True, False, False
            return ended
        if not token.strip(" \t"):
            self._spaces, self._is_long = self._spaces + token, False
            return ""
        self._look(token)
        return self._unbroken(token) if self._is_raw else self._broken(token)

    def _look(self, word: str) -> None:
        """Notice where code, tables and JSON begin and end: at the first word of a line."""
        if not self._begins_line:
            return
        self._is_data = self._is_data or (self._begins_text and word.startswith(_DATA))
        is_fence = bool(_FENCE.match(word))
        self._fenced = self._fenced != is_fence
        self._is_row = is_fence or word.startswith(_ROW)
        self._begins_text = self._begins_line = False

    def _unbroken(self, word: str) -> str:
        printed, self._spaces = self._spaces + word, ""
        return printed

    def _broken(self, word: str) -> str:
        from rich.cells import cell_len

        width = max(1, self._width())
        size, gap = cell_len(word), cell_len(self._spaces.expandtabs(8))
        spaces, self._spaces = self._spaces, ""
        if self._column and self._column + gap + size > width >= size and not self._is_long:
            self._column = size
            return f"\n{word}"
        self._column = (self._column + gap + size - 1) % width + 1
        return spaces + word


def wrapped(text: str, stream: TextIO) -> str:
    """A whole text for a stream; as it is if that is no terminal."""
    wrap = WordWrap(lambda: columns(stream))
    return wrap.feed(text) + wrap.end() if stream.isatty() else text


def columns(stream: TextIO) -> int:
    """Characters in a line of the terminal, which may be resized at any time."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or UNKNOWN_WIDTH
    return UNKNOWN_WIDTH
