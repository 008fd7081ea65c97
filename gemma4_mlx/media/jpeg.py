"""JPEG files that end early: what of the pixels is there.

libjpeg fills what is missing with grey and says nothing that Pillow passes on.
"""

import io
import os
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MOST_SEGMENTS = 10_000  # with profiles and texts of hundreds of megabytes
_WINDOW = 2**20  # bytes
_PIXELS = b"\x5a\xa5\x33\xcc\x0f\x71" * 8
_RESTARTS = b"".join(bytes((0xFF, 0xD0 + number)) + _PIXELS for number in range(8))
_MORE_DATA = _PIXELS + _RESTARTS + _END
"""Coded pixels of no meaning, without and with restart marks, and an end."""

_MANY_ZEROS = 64  # bytes
_ROWS = 64  # looked at together
_FILLER = (127, 128)  # of an absent block, in each channel; CMYK is stored inverted


class EndedStream(io.RawIOBase):
    """A JPEG file, or its first `size` bytes, to which an end can be added.

    Attributes:
        adds_end: whether `end` follows the last byte; without it the decoder stops there.
        was_added: whether a decoder has read `end`, for want of the file's own end mark.
    """

    def __init__(self, stream: IO[bytes], size: int | None = None, end: bytes = _END) -> None:
        super().__init__()
        self._stream, self._size = stream, _size_without_zeros(stream) if size is None else size
        self._end, self.adds_end, self.was_added = end, False, False
        stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._stream.tell())
        data = self._stream.read(left if size < 0 else min(size, left))
        if data or not size or not self.adds_end or self.was_added:
            return data
        self.was_added = True
        return self._end

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def rows_there(image: Any) -> int:
    """Rows at the top of an image that is known to be cut short, as libjpeg filled it up."""
    block, rows = _rows_of_a_block(image), image.height - _filler_rows(image)
    if rows < image.height:
        rows -= rows % block  # colours of the last row reach one row down
    in_last_row = (image.width - 1, rows - block // 2 - 1, image.width, rows - block // 2)
    if rows and _is_filler(image.crop(in_last_row)):
        rows -= rows % block or block
    return max(0, rows)


def scale_of(image: Any) -> int:
    """How many times larger the image in the file is."""
    scale: int = image.decoderconfig[0] if image.decoderconfig else 1
    return max(1, scale)


def lacks_scans(stream: IO[bytes], image: Any) -> bool:
    """Whether a progressive image has its end mark, but not all scans before it."""
    found = list(_markers(stream, _first_scan(stream))) if "progressive" in image.info else []
    scans = [offset for code, offset in found if code == _START_OF_SCAN]
    return bool(found) and found[-1][0] == _END_OF_IMAGE and not _has_all_scans(stream, scans)


def continued(stream: IO[bytes], image: Any) -> EndedStream | None:
    """The file with more data before its end mark, which change the image if pixels are missing there.

    None if the last pixel shows that none are, or if there is no end mark.
    """
    is_filled = _is_filler(image.crop((image.width - 1, image.height - 1, *image.size)))
    if "progressive" not in image.info and not is_filled:
        return None
    code, offset = next(reversed(list(_markers(stream, _first_scan(stream)))), (None, 0))
    return EndedStream(stream, offset, _MORE_DATA) if code == _END_OF_IMAGE else None


def check_sum(image: Any) -> int:
    """A number that tells images apart, so that no two of them are held at once."""
    found = 0
    for top in range(0, image.height, _ROWS):
        found = zlib.crc32(image.crop((0, top, image.width, min(image.height, top + _ROWS))).tobytes(), found)
    return found


def has_many_segments(stream: IO[bytes]) -> bool:
    """Whether there are more before the pixels than in any real file: Pillow would look at each for its own."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        stream.seek(position)
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == _START_OF_SCAN:
            return False
        position += 2 + int.from_bytes(head[2:], "big")
    return True


def _first_scan(stream: IO[bytes]) -> int:
    """Offset of the marker with which the first scan begins; of the file's end if there is none."""
    position = 2
    while True:
        stream.seek(position)
        head = stream.read(4)
        if len(head) < 4 or head[:2] == b"\xff\xda":
            return position
        is_segment = head[0] == 0xFF and head[1] not in (0, 0xFF)
        position += 2 + int.from_bytes(head[2:], "big") if is_segment else 1


def _markers(stream: IO[bytes], start: int) -> Iterator[tuple[int, int]]:
    """Each marker from the offset `start`, up to the end of the image: its code and its offset."""
    tail, position = b"", start
    stream.seek(start)
    while piece := stream.read(_WINDOW):
        window = tail + piece
        for match in _MARKER.finditer(window):
            yield match[1][0], position - len(tail) + match.start()
            if match[1][0] == _END_OF_IMAGE:
                return
        position += len(piece)
        tail = window[-1:] if window.endswith(b"\xff") else b""


def _has_all_scans(stream: IO[bytes], scans: list[int]) -> bool:
    """Whether the scans of a progressive image, at these offsets, give every bit of its 64 coefficients."""
    missing: dict[int, np.ndarray] = {}
    for offset in scans:
        stream.seek(offset + 4)
        body = stream.read(1 + 2 * 4 + 3)
        count = body[0] if body else 0
        if len(body) < 4 + 2 * count:
            return False
        first, last, approximation = body[1 + 2 * count : 4 + 2 * count]
        for component in body[1 : 1 + 2 * count : 2]:
            missing.setdefault(component, np.full(64, 99))[first : last + 1] = approximation & 15
    return bool(missing) and not any(bits.any() for bits in missing.values())


def _rows_of_a_block(image: Any) -> int:
    """Rows that are coded together, in pixels of the image as it was decoded."""
    return max(1, 8 * max((layer[2] for layer in image.layer), default=1) // scale_of(image))


def _is_filler(image: Any) -> bool:
    return bool(np.isin(np.asarray(image), _FILLER).all())


def _filler_rows(image: Any) -> int:
    """How many rows at the bottom are nothing but filler."""
    for bottom in range(image.height, 0, -_ROWS):
        top = max(0, bottom - _ROWS)
        is_filler = np.isin(np.asarray(image.crop((0, top, image.width, bottom))), _FILLER)
        rows = is_filler.reshape(bottom - top, -1).all(axis=1)
        if not rows.all():
            return image.height - (top + int(np.flatnonzero(~rows)[-1]) + 1)
    return image.height


def _size_without_zeros(stream: IO[bytes]) -> int:
    """Bytes of the file without a long run of zeros at its end: what a broken-off copy fills files with."""
    size = end = stream.seek(0, io.SEEK_END)
    while end:
        start = max(0, end - _WINDOW)
        stream.seek(start)
        rest = stream.read(end - start).rstrip(b"\0")
        if rest:
            end = start + len(rest)
            break
        end = start
    return end if size - end >= _MANY_ZEROS else size
