"""WebP files that are cut short: libwebp decodes them in one piece or not at all, so that they have to be completed."""

from collections.abc import Iterator

_PICTURES = (b"VP8 ", b"VP8L")
_FRAME_HEADER = 16  # bytes


def canvas_size(head: bytes) -> tuple[int, int] | None:
    """Width and height from the first 30 bytes of a file; None if it is no WebP."""
    kind, low = head[12:16], int.from_bytes(head[21:25], "little")
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        return (low & 0x3FFF) + 1, (low >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def whole_part(data: bytes) -> bytes | None:
    """A file that ends after the last whole frame of a cut one; None if there is no such frame."""
    ends = [after for name, _, after in _chunks(data) if name in (*_PICTURES, b"ANMF") and after <= len(data)]
    return _file(data[12 : ends[-1]]) if ends else None


def completions(data: bytes, room: int) -> Iterator[bytes]:
    """Files that begin as the cut one does and go on with `room` bytes of one value, another one for each file."""
    for name, start, after in _chunks(data):
        if name == b"ANMF":
            yield from completions(_file(data[start + 8 + _FRAME_HEADER :]), room)
        elif name in _PICTURES and after > len(data):
            size = (len(data) - start - 8 + room) // 2 * 2
            for value in range(256):
                body = data[start + 8 :].ljust(size, bytes((value,)))
                yield _file(data[12:start] + name + size.to_bytes(4, "little") + body)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name and offset of each chunk, and where the next one is or would be."""
    position = 12
    while position + 8 <= len(data):
        after = position + 8 + (int.from_bytes(data[position + 4 : position + 8], "little") + 1) // 2 * 2
        yield data[position : position + 4], position, after
        position = after


def _file(chunks: bytes) -> bytes:
    return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WEBP" + chunks
