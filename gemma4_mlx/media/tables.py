"""Count what an MP4, MOV, MKV or WebM file says it holds, before FFmpeg makes room for it; see whether it can be read.

A few bytes can state hundreds of millions of samples, frames or tracks, and FFmpeg allocates an entry for each.
"""

import itertools
import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.sources import Source

_MAX_SAMPLES = 2_500_000  # a million frames of video and three hours of sound; FFmpeg takes up to 100 bytes for each
_MAX_BOXES = 1_000_000  # a box for a tenth of a second, in four hours of fragments
_MAX_DEPTH = 10  # FFmpeg's own limit
_PCM_SAMPLES = 1024  # FFmpeg makes one entry of this many
_PARENTS = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"meta", b"dinf")
)
_TRACK = b"trak"
_ENCRYPTED = (b"encv", b"enca", b"drms", b"drmi")  # sample descriptions of streaming services and shops
_MAX_DESCRIPTIONS = 16  # that are looked at
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT, _TRACKS, _ATTACHMENTS = 0x18538067, 0x1654AE6B, 0x1941A469
# FFmpeg takes up to 40 bytes for each byte of these: Tracks, Cues, Tags, Chapters, SeekHead
_LIST_IDS = frozenset((_TRACKS, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x114D9B74))
_MAX_LIST_BYTES = 4_000_000
_MAX_CHILDREN = 1_000  # tracks or attachments
_MAX_CHUNKS = 10_000
_MAX_TAG_BYTES = 64_000_000  # ID3 tags and the metadata of FLAC; FFmpeg keeps the pictures in them


class Box(NamedTuple):
    """One box of an MP4 file.

    Attributes:
        kind: its four letters.
        start: where its content begins.
        end: where it ends, as it states; beyond the file's end if the file is cut.
    """

    kind: bytes
    start: int
    end: int


class Element(NamedTuple):
    """One element of a Matroska file; `end` is None if it states no size."""

    id: int
    start: int
    end: int | None


def check_tables(source: Source) -> None:
    """Raise GemmaError if the file is encrypted, or states more samples, boxes, tracks or tags than any real one."""
    with source.opened() as file:
        size = file.seek(0, os.SEEK_END)
        if _read(file, 0, 4) == _EBML:
            _check_elements(file, size, source.name)
        elif _tag_bytes(file) > _MAX_TAG_BYTES:
            raise GemmaError(f"{source.name}: begins with more tags than any player reads; convert it first")
        elif _read(file, 0, 4) == b"RIFF":
            _check_chunks(file, size, source.name)
        else:
            _Counter(file, source.name).walk(0, size)


def top_boxes(file: IO[bytes], size: int) -> Iterator[Box]:
    """The boxes of an MP4 file's outermost level; none for other formats."""
    return _boxes(file, 0, size)


def top_elements(file: IO[bytes], size: int) -> Iterator[Element]:
    """The segments of a Matroska file, and the elements in them up to one without a size."""
    position = 0
    while (element := _element(file, position)) and position < size:
        yield element
        if element.end is None and element.id != _SEGMENT:
            return
        position = element.start if element.id == _SEGMENT else element.end or size


def id3_bytes(head: bytes) -> int:
    """Length of the ID3 tag that begins with these ten bytes; 0 if none does."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _read(file: IO[bytes], position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _boxes(file: IO[bytes], position: int, end: int) -> Iterator[Box]:
    while position + 8 <= end:
        head = _read(file, position, 16)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        start = position + 8
        if length == 1 and len(head) == 16:
            (length,), start = struct.unpack(">Q", head[8:]), position + 16
        stop = end if length == 0 else position + length
        if stop < start or not kind.isascii():
            return
        yield Box(kind, start, stop)
        position = stop


class _Counter:
    """Adds up the entries that FFmpeg would make, over all tracks and fragments."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        self.boxes = self.samples = 0

    def walk(self, position: int, end: int, depth: int = 0, track: "dict[bytes, Box] | None" = None) -> None:
        for box in _boxes(self.file, position, end):
            self.boxes += 1
            if self.boxes > _MAX_BOXES:
                raise GemmaError(f"{self.name}: is made of more than {_MAX_BOXES} boxes; convert it first")
            self._enter(box, min(box.end, end), depth, track)

    def _enter(self, box: Box, end: int, depth: int, track: "dict[bytes, Box] | None") -> None:
        if box.kind == b"cmov":
            raise GemmaError(f"{self.name}: its index is compressed, which is not read here; convert it first")
        if box.kind == b"trun":
            self._add(self._count(box, 4))
        elif box.kind == _TRACK:
            tables: dict[bytes, Box] = {}
            self.walk(box.start, end, depth + 1, tables)
            self._check_encryption(tables.get(b"stsd"))
            self._add(self._entries(tables))
        elif box.kind in _PARENTS and depth < _MAX_DEPTH:
            self.walk(box.start, end, depth + 1, track)
        elif track is not None:
            track[box.kind] = box

    def _check_encryption(self, descriptions: Box | None) -> None:
        entries = _boxes(self.file, descriptions.start + 8, descriptions.end) if descriptions else ()
        if any(entry.kind in _ENCRYPTED for entry in itertools.islice(entries, _MAX_DESCRIPTIONS)):
            raise GemmaError(f"{self.name}: is encrypted (DRM), and can't be decoded without its key")

    def _add(self, samples: int) -> None:
        self.samples += samples
        if self.samples > _MAX_SAMPLES:
            raise GemmaError(
                f"{self.name}: its tables state more than {_MAX_SAMPLES} frames and packets of sound; convert it first"
            )

    def _entries(self, track: dict[bytes, Box]) -> int:
        """How many entries FFmpeg makes for a track: one a sample, or one for each 1024 of uncompressed sound."""
        times = self._table(track.get(b"stts"), 8)
        largest = max(self._count(box, 4) for box in track.values() if box.kind in _LISTS) if _LISTS & set(track) else 0
        if len(times) == 1 and times[0, 1] == 1 and self._is_sound(track.get(b"hdlr")):
            return max(largest, self._pcm_entries(track))
        samples = self._count(track[b"stsz"], 8) if b"stsz" in track else 0
        repeats = self._count(track[b"elst"], 4) if b"elst" in track else 1
        shifts = self._table(track.get(b"ctts"), 8)
        return max(largest, samples, int(times[:, 0].sum()), int(shifts[:, 0].sum())) * max(1, repeats)

    def _pcm_entries(self, track: dict[bytes, Box]) -> int:
        chunks = self._count(track[b"stco"], 4) if b"stco" in track else 0
        chunks = self._count(track[b"co64"], 4) if b"co64" in track else chunks
        runs = self._table(track.get(b"stsc"), 12)
        each = -(-runs[:, 1] // _PCM_SAMPLES)
        return int((np.diff(runs[:, 0], append=chunks + 1).clip(0) * each).sum())

    def _is_sound(self, box: Box | None) -> bool:
        return box is not None and _read(self.file, box.start + 8, 4) == b"soun"

    def _count(self, box: Box, offset: int) -> int:
        """The number that a table states, `offset` bytes into its content."""
        return int.from_bytes(_read(self.file, box.start + offset, 4))

    def _table(self, box: Box | None, width: int) -> np.ndarray:
        """A table's rows of 32-bit numbers, as far as they are there: int64 (rows, width / 4)."""
        rows = min(self._count(box, 4), _MAX_SAMPLES, (box.end - box.start - 8) // width) if box else 0
        data = _read(self.file, box.start + 8, rows * width) if box and rows > 0 else b""
        whole = data[: len(data) // width * width]
        return np.frombuffer(whole, ">u4").reshape(-1, width // 4).astype(np.int64)


_LISTS = {b"stts", b"ctts", b"stsc", b"stco", b"co64", b"stss"}


def _element(file: IO[bytes], position: int) -> Element | None:
    """The element at `position`; None if there is none."""
    head = _read(file, position, 12)
    id_length = 9 - head[0].bit_length() if head and head[0] else 9
    if id_length > 4 or len(head) <= id_length or not head[id_length]:
        return None
    length = 9 - head[id_length].bit_length()
    start = id_length + length
    unknown = (1 << 7 * length) - 1
    stated = int.from_bytes(head[id_length:start]) & unknown
    end = None if stated == unknown else position + start + stated
    return Element(int.from_bytes(head[:id_length]), position + start, end)


def _check_elements(file: IO[bytes], size: int, name: str) -> None:
    listed = children = 0
    for number, element in enumerate(top_elements(file, size)):
        end = size if element.end is None else min(element.end, size)
        listed += end - element.start if element.id in _LIST_IDS else 0
        children += _children(file, element.start, end) if element.id in (_TRACKS, _ATTACHMENTS) else 0
        if number > _MAX_BOXES or listed > _MAX_LIST_BYTES or children > _MAX_CHILDREN:
            raise GemmaError(f"{name}: its list of tracks or its index is larger than any film needs; convert it first")


def _children(file: IO[bytes], position: int, end: int) -> int:
    """How many elements there are, up to one more than is accepted."""
    count = 0
    while position < end and count <= _MAX_CHILDREN and (element := _element(file, position)):
        count, position = count + 1, element.end or end
    return count


def _check_chunks(file: IO[bytes], size: int, name: str) -> None:
    """Of WAV and AVI files, which have three to a hundred."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        head = _read(file, position, 8)
        length = int.from_bytes(head[4:], "little")
        position += 8 + length + length % 2
        if len(head) < 8 or position >= size:
            return
    raise GemmaError(f"{name}: is made of more than {_MAX_CHUNKS} chunks; convert it first")


def _tag_bytes(file: IO[bytes]) -> int:
    """Length of the ID3 tags at the beginning and of a FLAC file's metadata; too large if there are many tags."""
    position, tags = 0, 0
    while size := id3_bytes(head := _read(file, position, 10)):
        position, tags = position + size, tags + 1
        if tags > _MAX_CHILDREN:
            return _MAX_TAG_BYTES + 1
    if head[:4] != b"fLaC":
        return position
    position, last = position + 4, False
    while not last and position <= _MAX_TAG_BYTES and len(head := _read(file, position, 4)) == 4:
        position, last = position + 4 + int.from_bytes(head[1:]), head[0] >= 128
    return position
