"""HEIC and AVIF files from outside: which of the two a file is, and how long it ought to be."""

import io
from typing import IO

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = set(
    b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf MiHE MiHB MiHA avci avcs jpeg jpgs j2ki".split()
)
_MOST_BOXES = 1000  # outermost ones; files have three to ten


def is_avif(head: bytes) -> bool:
    """Whether a file that begins like this is an AVIF image."""
    return bool(_brands(head) & _AVIF_BRANDS)


def is_heic(head: bytes) -> bool:
    """Whether a file that begins like this may be an image that libheif reads."""
    return bool(_brands(head) & _HEIC_BRANDS)


def stated_size(stream: IO[bytes]) -> int:
    """Bytes of the file as its boxes state them: more than there are if it is cut short."""
    size, position = stream.seek(0, io.SEEK_END), 0
    for _ in range(_MOST_BOXES):
        stream.seek(position)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        position = position + length if length >= 8 else size  # 0: up to the end
        if position >= size:
            break
    return max(position, size)


def _brands(head: bytes) -> set[bytes]:
    end = min(len(head), int.from_bytes(head[:4], "big"))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
