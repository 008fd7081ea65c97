"""Signs that a file's end is missing, which FFmpeg reads over in silence. Such a file is used as far as it goes."""

import os
import struct
from collections.abc import Callable
from typing import IO

from gemma4_mlx.media.sources import Source
from gemma4_mlx.media.tables import id3_bytes, top_boxes, top_elements

_STREAMED_SIZE = 1_900_000_000  # bytes; a WAV that states this much was written without knowing its size
_WAV_TOLERANCE = 0.5  # seconds; some recorders count their chunks' headers too, or twice
_AVI_SLACK_BYTES = 4096
_OGG_TAIL_BYTES = 2 * 65_307  # two pages of the largest size
_OGG_HEADER_BYTES = 27
_MP3_SLACK_BYTES = 4096  # some encoders count a frame or a tag too many
_LENGTH_TOLERANCE = 0.5  # seconds
_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip")  # of MP4 and MOV
# The headers of these state a length that is a fact; those of others hold guesses, or the recorder's clock.
_STATE_LENGTH = ("w64", "flac", "aiff", "au", "caf", "wv")


def note_cut(source: Source, format: str, seconds: float, stated: float | None) -> None:
    """Note that the file is cut short if it is: `seconds` are there, its header states `stated`."""
    is_short = stated is not None and seconds < stated - _LENGTH_TOLERANCE
    with source.opened() as file:
        is_stated = format in _STATE_LENGTH or (format == "mp3" and _is_one_mp3(file))
        if not (is_short and is_stated) and not is_cut_short(file):
            return
    if is_short:
        source.note(f"is cut short: only {seconds:.1f} of {stated:.1f} s are there")
    else:
        source.note(f"is cut short: the end of the file is missing; the {seconds:.1f} s before it are used")


def is_cut_short(file: IO[bytes]) -> bool:
    """Whether the file visibly ends inside something it has begun; False for a format that doesn't show it."""
    size = file.seek(0, os.SEEK_END)
    head = _first(file, 8)
    if head[4:] in _FIRST_BOXES:
        return any(box.end > size for box in top_boxes(file, size))
    return _CHECKS.get(head[:4], _mp3_is_cut)(file, size)


def _first(stream: IO[bytes], count: int) -> bytes:
    stream.seek(0)
    return stream.read(count).ljust(count, b"\0")


def _riff_is_cut(stream: IO[bytes], end: int) -> bool:
    """WAV by its chunks, AVI by the size of the whole."""
    size, kind = struct.unpack("<4xI4s", _first(stream, 12))
    return _wav_is_cut(stream, end) if kind == b"WAVE" else 8 + size > end + _AVI_SLACK_BYTES


def _wav_is_cut(stream: IO[bytes], end: int) -> bool:
    """Walk the chunks to "data" and compare its size with what is there."""
    position, byte_rate = 12, 0
    while position + 8 <= end:
        stream.seek(position)
        name, size = struct.unpack("<4sI", stream.read(8))
        if name == b"fmt ":
            byte_rate = int.from_bytes(stream.read(12)[8:], "little")
        if name == b"data":
            missing = position + 8 + size - end
            return missing > max(position + 8, byte_rate * _WAV_TOLERANCE) and size < _STREAMED_SIZE
        position += 8 + size + size % 2
    return False


def _caf_is_cut(stream: IO[bytes], end: int) -> bool:
    """Walk the chunks, each a name and a size of 64 bits; a size of -1 means up to the end."""
    position = 8
    while position + 12 <= end:
        stream.seek(position)
        _, size = struct.unpack(">4sq", stream.read(12))
        if size < 0:
            return False
        position += 12 + size
    return position > end


def _ogg_is_cut(stream: IO[bytes], end: int) -> bool:
    """Whether the last page is incomplete (RFC 3533, 6: a 27-byte header, a table of segment lengths, the segments)."""
    stream.seek(max(0, end - _OGG_TAIL_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < _OGG_HEADER_BYTES:
        return True
    table = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + page[26]]
    return len(page) < _OGG_HEADER_BYTES + page[26] + sum(table)


def _mp3_is_cut(stream: IO[bytes], end: int) -> bool:
    """Compare the size with the bytes that the header counts, if there is one."""
    header = _xing(stream)
    return header is not None and sum(header) > end + _MP3_SLACK_BYTES


def _is_one_mp3(stream: IO[bytes]) -> bool:
    """Whether a header counts the whole file: not its beginning only, as in files that were put together."""
    header, end = _xing(stream), stream.seek(0, os.SEEK_END)
    return header is not None and abs(sum(header) - end) <= _MP3_SLACK_BYTES


def _xing(stream: IO[bytes]) -> tuple[int, int] | None:
    """Where an MP3's sound begins, and the bytes of it that its "Xing" or "Info" header counts; None without one."""
    stream.seek(0)
    tag_bytes = id3_bytes(stream.read(10))
    stream.seek(tag_bytes)
    frame = stream.read(64)
    start = max(frame.find(b"Xing"), frame.find(b"Info"))
    if start < 0 or frame[0] != 0xFF or len(frame) < start + 16:
        return None
    flags, _, size = struct.unpack(">III", frame[start + 4 : start + 16])
    return (tag_bytes, size) if flags & 3 == 3 else None


def _w64_is_cut(stream: IO[bytes], end: int) -> bool:
    """Sony Wave64 begins with an identifier of 16 bytes and the size of the file."""
    return end < int.from_bytes(_first(stream, 24)[16:], "little") < _STREAMED_SIZE


def _matroska_is_cut(stream: IO[bytes], end: int) -> bool:
    return any(element.end is not None and element.end > end for element in top_elements(stream, end))


_CHECKS: dict[bytes, Callable[[IO[bytes], int], bool]] = {
    b"RIFF": _riff_is_cut,
    b"caff": _caf_is_cut,
    b"riff": _w64_is_cut,
    b"OggS": _ogg_is_cut,
    b"\x1a\x45\xdf\xa3": _matroska_is_cut,
}
