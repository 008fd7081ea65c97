"""Signs in WAV, MP3 and Ogg files that their end is missing, which FFmpeg reads over in silence."""

import os
import struct
from typing import IO

_STREAMED_SIZE = 0x7FFF0000  # programs that write to a pipe state this much or more: the size is not known
_OGG_TAIL_BYTES = 2 * 65_307  # two pages of the largest size
_OGG_HEADER_BYTES = 27
_MP3_SLACK_BYTES = 4096  # some encoders count a frame or a tag too many


def is_cut_short(stream: IO[bytes]) -> bool:
    """Whether the sound file visibly ends too early; False for any other format."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(10)
    if head[:4] == b"RIFF":
        return _wav_is_cut(stream, size)
    if head[:4] == b"OggS":
        return _ogg_is_cut(stream, size)
    return _mp3_is_cut(stream, size, head)


def _wav_is_cut(stream: IO[bytes], end: int) -> bool:
    """Walk the chunks to "data" and compare its size with what is there."""
    position = 12
    while position + 8 <= end:
        stream.seek(position)
        name, size = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            return position + 8 + size > end and 0 < size < _STREAMED_SIZE
        position += 8 + size + size % 2
    return False


def _ogg_is_cut(stream: IO[bytes], end: int) -> bool:
    """Whether the last page is incomplete (RFC 3533, 6: a 27-byte header, a table of segment lengths, the segments)."""
    stream.seek(max(0, end - _OGG_TAIL_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < _OGG_HEADER_BYTES:
        return True
    table = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + page[26]]
    return len(page) < _OGG_HEADER_BYTES + page[26] + sum(table)


def _mp3_is_cut(stream: IO[bytes], end: int, head: bytes) -> bool:
    """Compare the size with the bytes that the "Xing" or "Info" header counts, if there is one."""
    tag_bytes = 0
    if len(head) == 10 and head[:3] == b"ID3":
        tag_bytes = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    stream.seek(tag_bytes)
    frame = stream.read(64)
    start = max(frame.find(b"Xing"), frame.find(b"Info"))
    if start < 0 or frame[0] != 0xFF or len(frame) < start + 16:
        return False
    flags, _, size = struct.unpack(">III", frame[start + 4 : start + 16])
    return flags & 3 == 3 and tag_bytes + size > end + _MP3_SLACK_BYTES
