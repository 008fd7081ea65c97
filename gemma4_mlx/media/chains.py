"""Chained Ogg files, as radio streams and recorders write them: one stream after the other, each read by itself.

FFmpeg gives up if the sample rate or the number of channels changes from one to the next.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from gemma4_mlx.media.sources import Source

_FIRST_PAGE = re.compile(rb"OggS\0[\x02\x03\x06\x07]")  # RFC 3533, 6: the bit 2 marks the beginning of a stream
_HEADER_BYTES = 27
_CHUNK_BYTES = 2**20
_NO_TIME = (bytes(8), b"\xff" * 8)  # of a page of headers, and of one in which no packet ends


@contextmanager
def open_links(source: Source) -> Iterator[list[Source]]:
    """The file's streams that follow one another, each as a source; the source itself if there is only one."""
    with source.opened() as file:
        starts = _link_starts(file) if file.read(4) == b"OggS" else [0]
        if len(starts) < 2:
            yield [source]
            return
        ends = [*starts[1:], file.seek(0, io.SEEK_END)]
        spans = [span for span in zip(starts, ends, strict=True) if _has_sound(file, *span)]
        links = [Source(source.name, cast(IO[bytes], _Span(file, *span)), source.notes) for span in spans]
        yield links or [source]


def _has_sound(file: IO[bytes], start: int, end: int) -> bool:
    """Whether there is more than headers, which some encoders write twice: a page that ends after time zero."""
    while start + _HEADER_BYTES <= end:
        file.seek(start)
        head = file.read(_HEADER_BYTES + 255)
        if head[6:14] not in _NO_TIME:
            return True
        count = head[_HEADER_BYTES - 1]
        start += _HEADER_BYTES + count + sum(head[_HEADER_BYTES : _HEADER_BYTES + count])
    return False


def _link_starts(file: IO[bytes]) -> list[int]:
    """Where links begin: at first pages, except for those that follow another one (streams side by side)."""
    starts, end_of_last = [], -1
    for position in list(_first_pages(file)):
        if position != end_of_last:
            starts.append(position)
        file.seek(position)
        head = file.read(_HEADER_BYTES + 255)
        count = head[_HEADER_BYTES - 1] if len(head) >= _HEADER_BYTES else 0
        end_of_last = position + _HEADER_BYTES + count + sum(head[_HEADER_BYTES : _HEADER_BYTES + count])
    return starts


def _first_pages(file: IO[bytes]) -> Iterator[int]:
    file.seek(0)
    base, kept = 0, b""
    while chunk := file.read(_CHUNK_BYTES):
        data = kept + chunk
        yield from (base + found.start() for found in _FIRST_PAGE.finditer(data))
        kept = data[-5:]  # a mark may lie across two chunks
        base += len(data) - len(kept)


class _Span(io.RawIOBase):
    """The bytes of a file from `start` to `end` as a file of their own."""

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        self.file, self.start, self.end, self.position = file, start, end, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self.position, self.end - self.start)[whence]
        self.position = max(0, base + offset)
        return self.position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.end - self.start - self.position)
        self.file.seek(self.start + self.position)
        data = self.file.read(left if size < 0 else min(size, left))
        self.position += len(data)
        return data
