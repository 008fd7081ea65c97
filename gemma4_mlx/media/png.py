"""PNG files chunk by chunk: pixels apart from texts and profiles, which may be large, and large images in strips.

Pillow refuses a whole file for one text of more than 1 MB, and always decodes it whole.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from gemma4_mlx.media.sources import temporary_file

if TYPE_CHECKING:
    from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIECE = 2**18  # bytes of compressed pixels read at a time
_INFLATED = 2**16  # bytes into and out of zlib at a time
_STRIP = 2**23  # bytes of pixels unpacked at a time
_MOST_CHUNKS = 250_000  # two gigabytes in pieces of the usual 8 kB
_MOST_OF_FRAME = 2**28  # bytes of compressed pixels in one chunk of an animation
_METADATA = 2**20  # bytes; the largest chunk that is looked at for an orientation
_ONE_PIXEL = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
_LAST_FILTER = 4
_PIXELS_AND_COLOURS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_FRAMES = (b"acTL", b"fcTL", b"fdAT")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_TEXTS_WITH_ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
# Filters work on whole bytes: rows of any kind are unfiltered as rows of the 8-bit kind with as many bytes a pixel.
_KIND_OF_BYTES = {1: 0, 2: 4, 3: 2, 4: 6}  # bytes a pixel: colour type


@dataclass(frozen=True, slots=True, kw_only=True)
class Png:
    """What counts in a PNG file.

    Attributes:
        header: the 13 bytes of IHDR.
        colours: PLTE and tRNS, as chunks.
        metadata: what may state an orientation, as chunks.
        data: offset and length of each piece of compressed pixels.
        is_animated: whether there are more frames than the first.
        is_damaged: whether the check sum of a chunk with pixels or colours is wrong.
    """

    header: bytes
    colours: bytes
    metadata: bytes
    data: tuple[tuple[int, int], ...]
    is_animated: bool
    is_damaged: bool

    @property
    def size(self) -> tuple[int, int]:
        return struct.unpack_from(">II", self.header)

    @property
    def bits(self) -> int:
        """Bits a pixel."""
        return self.header[8] * _CHANNELS[self.header[9]]

    @property
    def is_interlaced(self) -> bool:
        return self.header[12] != 0

    @property
    def has_strips(self) -> bool:
        """Whether `strips` can read it: rows in order, of at most four bytes a pixel."""
        return not self.is_interlaced and self.bits <= 32


def read_png(stream: IO[bytes]) -> Png:
    """Walk over the chunks, up to where the file ends or stops making sense.

    Raises:
        ValueError: no usable header.
    """
    found: dict[bytes, list[bytes]] = {}
    data: list[tuple[int, int]] = []
    is_animated = is_damaged = False
    for name, offset, length in _chunks(stream):
        if name in _PIXELS_AND_COLOURS:
            is_damaged = is_damaged or not _has_right_sum(stream, name, length)
            stream.seek(offset)
        if name == b"IDAT":
            data.append((offset, length))
        elif name == b"acTL":
            is_animated = int.from_bytes(stream.read(4), "big") > 1
        elif name in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt") and length <= _METADATA:
            found.setdefault(name, []).append(stream.read(length))
    header = _checked_header(found.get(b"IHDR", [b""])[0])
    colours = [_chunk(b"PLTE", content) for content in found.get(b"PLTE", ())[:1]]
    colours += [_chunk(b"tRNS", _as_read(header, content)) for content in found.get(b"tRNS", ())[:1]]
    return Png(
        header=header,
        colours=b"".join(colours),
        metadata=_metadata(found),
        data=tuple(data),
        is_animated=is_animated,
        is_damaged=is_damaged,
    )


def plain_png(png: Png, stream: IO[bytes]) -> IO[bytes]:
    """A copy with nothing in it but the pixels, and with right check sums."""
    copy = temporary_file()
    copy.write(SIGNATURE + _chunk(b"IHDR", png.header) + png.colours)
    width, height = png.size
    left = 2 * height * (width * png.bits // 8 + 2) + 2**16  # no more than pixels could ever need
    for piece in _pieces(png, stream):
        copy.write(_chunk(b"IDAT", piece[:left]))
        left -= len(piece)
        if left <= 0:
            break
    copy.write(_chunk(b"IEND", b""))
    copy.seek(0)
    return copy


def animated_png(stream: IO[bytes]) -> IO[bytes]:
    """A copy with nothing in it but the pixels and times of all frames, and with right check sums."""
    copy = temporary_file()
    copy.write(SIGNATURE)
    for name, offset, length in _chunks(stream):
        if name in (*_PIXELS_AND_COLOURS, *_FRAMES):
            stream.seek(offset)
            copy.write(_chunk(name, stream.read(min(length, _MOST_OF_FRAME))))
    copy.write(_chunk(b"IEND", b""))
    copy.seek(0)
    return copy


def metadata_png(png: Png) -> bytes:
    """One pixel with the file's metadata, to ask Pillow for their meaning."""
    pixel = _chunk(b"IDAT", zlib.compress(b"\0\0"))
    return SIGNATURE + _chunk(b"IHDR", _ONE_PIXEL) + png.metadata + pixel + _chunk(b"IEND", b"")


def strips(png: Png, stream: IO[bytes]) -> "Iterator[Image.Image]":
    """The image from its top, a few rows at a time, as far as the file goes."""
    last, row_bytes = b"", _row_bytes(png)
    for rows in _sound_rows(_filtered_rows(png, stream), row_bytes + 1):
        image = _unfiltered(rows, last, row_bytes, max(1, png.bits // 8))
        last = image.crop((0, image.height - 1, image.width, image.height)).tobytes()
        yield image if _is_plain(png) else _as_image(png, np.asarray(image).reshape(image.height, row_bytes))


def _is_plain(png: Png) -> bool:
    """Whether pixels are what their bytes say, without a palette or a transparent colour."""
    return png.header[8] == 8 and not png.colours


def _row_bytes(png: Png) -> int:
    return (png.size[0] * png.bits + 7) // 8


def _sound_rows(parts: Iterator[bytes], row: int) -> Iterator[bytes]:
    """Rows of `row` bytes up to the first one whose filter does not exist, as in damaged data."""
    for rows in parts:
        unknown = np.flatnonzero(np.frombuffer(rows, np.uint8)[::row] > _LAST_FILTER)
        if not len(unknown):
            yield rows
            continue
        if unknown[0]:
            yield rows[: unknown[0] * row]
        return


def _filtered_rows(png: Png, stream: IO[bytes]) -> Iterator[bytes]:
    """Whole rows with their filter bytes, many at a time, and no more than the header states."""
    row = _row_bytes(png) + 1
    left, size, held = png.size[1] * row, max(row, _STRIP // row * row), bytearray()
    for part in _unpacked(png, stream):
        held += part[: left - len(held)]
        while len(held) >= min(size, left) > 0:
            taken = min(size, left)
            yield bytes(held[:taken])
            del held[:taken]
            left -= taken
        if not left:
            return
    if len(held) >= row:
        yield bytes(held[: len(held) // row * row])


def _unpacked(png: Png, stream: IO[bytes]) -> Iterator[bytes]:
    """Decompressed bytes in small parts, up to the end or to damage: zlib drops the part in which it meets that."""
    inflate = zlib.decompressobj()
    for piece in _pieces(png, stream):
        for start in range(0, len(piece), _INFLATED):
            data = piece[start : start + _INFLATED]
            while True:
                try:
                    part = inflate.decompress(data, _INFLATED)
                except zlib.error:
                    return
                yield part
                data = inflate.unconsumed_tail
                if not data and len(part) < _INFLATED:
                    break


def _unfiltered(rows: bytes, last: bytes, row_bytes: int, pixel_bytes: int) -> "Image.Image":
    """Bytes of the rows as pixels: Pillow undoes the filters. `last` is the row before, without its filter."""
    before = b"\0" + last if last else b""
    count = (len(before) + len(rows)) // (row_bytes + 1)
    kind = _KIND_OF_BYTES[pixel_bytes]
    image = _decoded(struct.pack(">IIBBBBB", row_bytes // pixel_bytes, count, 8, kind, 0, 0, 0), b"", before + rows)
    return image.crop((0, 1, image.width, count)) if last else image


def _as_image(png: Png, rows: np.ndarray) -> "Image.Image":
    header = png.header[:4] + struct.pack(">I", len(rows)) + png.header[8:]
    return _decoded(header, png.colours, np.pad(rows, ((0, 0), (1, 0))).tobytes())


def _decoded(header: bytes, colours: bytes, rows: bytes) -> "Image.Image":
    from PIL.PngImagePlugin import PngImageFile

    data = _chunk(b"IHDR", header) + colours + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
    image = PngImageFile(io.BytesIO(SIGNATURE + data))
    image.load()
    return image


def _chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset and length of each chunk; the stream stands at the chunk's content."""
    position = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8 or not head[4:].isalpha() or head[4:] == b"IEND":
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], position + 8, length
        position += length + 12


def _has_right_sum(stream: IO[bytes], name: bytes, length: int) -> bool:
    """Whether the chunk at whose content the stream stands is whole and unchanged, or ends with the file."""
    sum_of_all, left = zlib.crc32(name), length
    while left and (piece := stream.read(min(left, _PIECE))):
        sum_of_all, left = zlib.crc32(piece, sum_of_all), left - len(piece)
    stated = stream.read(4)
    return len(stated) < 4 or int.from_bytes(stated, "big") == sum_of_all


def _pieces(png: Png, stream: IO[bytes]) -> Iterator[bytes]:
    for start, length in png.data:
        offset, end = stream.seek(start), start + length
        while piece := stream.read(min(end - offset, _PIECE)):
            offset += len(piece)
            yield piece


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _checked_header(header: bytes) -> bytes:
    if len(header) != 13 or header[9] not in _CHANNELS or header[8] not in (1, 2, 4, 8, 16):
        raise ValueError("no usable IHDR")
    return header


def _as_read(header: bytes, content: bytes) -> bytes:
    """A tRNS chunk in the bits that Pillow gives grey and RGB: it compares its value with them as it is.

    Of 16-bit RGB it keeps the upper 8 bits; grey of 2 and 4 bits it scales to 8.
    """
    bits, kind = header[8], header[9]
    if kind == 2 and bits == 16 and len(content) == 6:
        return b"".join(bytes((0, high)) for high in content[::2])
    if kind == 0 and bits in (2, 4) and len(content) == 2:
        return bytes((0, content[1] * 255 // (2**bits - 1) & 255))
    return content


def _metadata(found: dict[bytes, list[bytes]]) -> bytes:
    """The EXIF chunk, or else texts that may hold an orientation."""
    if b"eXIf" in found:
        return _chunk(b"eXIf", found[b"eXIf"][0])
    texts = [(name, text) for name in (b"tEXt", b"zTXt", b"iTXt") for text in found.get(name, ())]
    return b"".join(_chunk(name, text) for name, text in texts if text.startswith(_TEXTS_WITH_ORIENTATION))
