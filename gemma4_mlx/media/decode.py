"""Image files to decoded pixels: a decoder for each format, its limits, and what a damaged file still gives.

Sizes are checked before a decoder allocates anything. Pillow's global settings are left alone: its decoders are called
one by one, and what they miss is mended here.
"""

import contextlib
import io
import itertools
import math
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import heif, jpeg, webp
from gemma4_mlx.media.pixels import keep_levels, orientation_of
from gemma4_mlx.media.png import SIGNATURE, Png, metadata_png, plain_png, read_png
from gemma4_mlx.media.salvage import Decoded, Open, broken, completed, note_rows, salvaged
from gemma4_mlx.media.sources import MediaLimits, Source, size_text

if TYPE_CHECKING:
    from PIL import Image

LARGE = 32 * 10**6  # pixels; a larger image is never held twice
_DRAFT = 64 * 10**6  # pixels; of a larger JPEG every second row and column is enough
_MOST_SIDE = 2**18  # pixels; the tables for resizing a row are as large as the row
_MOST_BYTES = 2**30  # that an image may take while it is decoded
_MOST_OF_PILLOW = 2**30 // 6  # pixels; its TIFF decoder refuses more
_BOMB_BYTES = 400 * 10**6  # above this the file must be of a size to match
_PIXELS_A_BYTE = 100  # of the file, at most; real images of that size have fewer
_PIXELS_A_BYTE_OF = {"TIFF": 30, "GIF": 30, "BMP": 30, "PNG": 30}  # formats that compress less
_JPEG = ("JPEG", "MPO")  # as Pillow calls the file and one with more images behind the first
_BYTES_A_PIXEL = {"WEBP": 16, "AVIF": 8, "HEIF": 12}
_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
_TRIED_PIXELS = 256 * 10**6  # decoded in search of completions
_PADDINGS = (0, 255, 85)  # bytes in place of missing ones
_MOST_PADDING = 2**26  # bytes
_MOST_PAGES = 1000
_SUBFILE_TAG, _REDUCED_OR_MASK = 254, 5

ALL_FRAMES = "; give it as a video to use all of them"

_Decode = Callable[[], "Image.Image"]
"""Opens a file anew."""


def open_png(source: Source, stream: IO[bytes], limits: MediaLimits) -> Png | None:
    """The chunks of a PNG whose size is accepted; None for any other file."""
    stream.seek(0)
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        return None
    try:
        png = read_png(stream)
    except ValueError as error:
        raise _unknown(source) from error
    check_pixels(source.name, *png.size, limits)
    if png.is_damaged:
        source.note("is damaged: the check sum of its pixels is wrong, so that some of them may be wrong too")
    if png.is_animated:
        source.note(f"is animated: only its first frame is used{ALL_FRAMES}")
    return png


def decode_png(source: Source, png: Png, stream: IO[bytes], limits: MediaLimits) -> Decoded:
    """Decode in one piece: of a damaged file the rows that are there."""
    from PIL.PngImagePlugin import PngImageFile

    plain = plain_png(png, stream)
    image = _opened(source, plain, PngImageFile)
    check_memory(source.name, image, _size_of(stream), limits)
    return _loaded(source, lambda: PngImageFile(_rewound(plain)), _size_of(stream), png_orientation(png))


def png_orientation(png: Png) -> int:
    """The orientation that a PNG states; 1 if it states none."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        return orientation_of(PngImageFile(io.BytesIO(metadata_png(png))))
    except Exception:  # broken metadata beside sound pixels
        return 1


def decode_file(source: Source, stream: IO[bytes], limits: MediaLimits) -> Decoded:
    """Decode an image that is no PNG.

    Raises:
        GemmaError: not an image of a known format, broken, or larger than the limits.
    """
    stream.seek(0)
    head = stream.read(256)
    if head.startswith(b"RIFF"):
        return _decode_webp(source, stream, limits)
    if head[4:8] == b"ftyp":
        return _decode_heif(source, stream, _heif_decoder(source, head), limits)
    if head.startswith(b"\xff\xd8\xff"):
        return _decode_jpeg(source, stream, limits)
    decoder = _decoder(source, head)
    image = _opened(source, stream, decoder)
    if getattr(image, "shares_colours", False):
        raise GemmaError(f"{source.name}: the pixels of this TIFF share colours: not read here; save it as PNG first")
    check_memory(source.name, image, _size_of(stream), limits)
    _note_pages(source, image)
    return _loaded(source, lambda: decoder(_rewound(stream)), _size_of(stream))


def check_pixels(name: str, width: int, height: int, limits: MediaLimits, most: float = math.inf) -> None:
    """Raise GemmaError for an image without pixels, or with more than `most` or the limit."""
    if min(width, height) < 1:
        raise GemmaError(f"{name}: an image of {width} x {height} pixels shows nothing")
    most = min(limits.max_pixels, most)
    if width * height > most:
        limit = f"{most / 10**6:.3g} megapixels"
        raise GemmaError(f"{name}: {width} x {height} pixels are more than the limit of {limit}; make it smaller first")
    if max(width, height) > _MOST_SIDE:
        limit = f"{_MOST_SIDE} pixels a side"
        raise GemmaError(f"{name}: {width} x {height} pixels are more than the limit of {limit}; make it smaller first")


def _unknown(source: Source) -> GemmaError:
    return source.refusal("image", "is not a PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC image, or it is broken")


def _decoder(source: Source, head: bytes) -> Open:
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.GifImagePlugin import GifImageFile

    from gemma4_mlx.media.tiff import CheckedTiff

    if head[:6] in (b"GIF87a", b"GIF89a"):
        return GifImageFile
    if head[:2] == b"BM":
        return BmpImageFile
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*"):
        return CheckedTiff
    raise _unknown(source)


def _heif_decoder(source: Source, head: bytes) -> Open:
    if heif.is_avif(head):
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile
    if not heif.is_heic(head):
        raise _unknown(source)
    from pillow_heif import HeifImageFile

    return HeifImageFile


def _decode_heif(source: Source, stream: IO[bytes], decoder: Open, limits: MediaLimits) -> Decoded:
    try:
        image = decoder(_rewound(stream))
    except Exception as error:
        raise broken(source.name) from error
    size, stated = _size_of(stream), heif.stated_size(stream)
    check_memory(source.name, image, size, limits)
    _note_pages(source, image)
    if image.format == "HEIF" and size < stated <= 2 * size + _MOST_PADDING and image.width * image.height <= LARGE:
        data = _rewound(stream).read()
        files = (data.ljust(stated, bytes((value,))) for value in _PADDINGS)
        return completed(source, files, decoder)
    return _loaded(source, lambda: decoder(_rewound(stream)), size)


def _decode_jpeg(source: Source, stream: IO[bytes], limits: MediaLimits) -> Decoded:
    if jpeg.has_many_segments(stream):
        raise broken(source.name)
    ended, size = jpeg.EndedStream(stream), _size_of(stream)

    def decode(ended: jpeg.EndedStream) -> Any:
        image = _open_jpeg(source, ended, limits, size)
        ended.adds_end = True
        try:
            image.load()
        except Exception as error:  # a decoder may raise anything on hostile data
            raise broken(source.name) from error
        return image

    image = decode(ended)
    is_cut = ended.was_added or jpeg.lacks_scans(stream, image)
    if not is_cut and (continued := jpeg.continued(stream, image)):
        before = jpeg.check_sum(image)
        del image  # or two of them are held at once
        image = decode(continued)
        if is_cut := jpeg.check_sum(image) != before:
            del image
            image = decode(jpeg.EndedStream(stream))
    decoded = Decoded(image, orientation_of(image))
    return _without_filler(source, decoded) if is_cut else decoded


def _open_jpeg(source: Source, ended: jpeg.EndedStream, limits: MediaLimits, size: int) -> Any:
    from PIL.JpegImagePlugin import jpeg_factory

    image: Any = _opened(source, ended, jpeg_factory)
    check_memory(source.name, image, size, limits)
    if image.width * image.height > _DRAFT:
        image.draft(None, (image.width // 2, image.height // 2))
    return image


def _without_filler(source: Source, decoded: Decoded) -> Decoded:
    image = decoded.image
    rows = jpeg.rows_there(image)
    if rows < 1:
        raise broken(source.name)
    if rows == image.height:
        source.note("is cut short: its end is missing; all that is there is used")
        return decoded
    scale = jpeg.scale_of(image)
    note_rows(source, rows * scale, image.height * scale)
    return Decoded(image.crop((0, 0, image.width, rows)), decoded.orientation)


def _decode_webp(source: Source, stream: IO[bytes], limits: MediaLimits) -> Decoded:
    from PIL.WebPImagePlugin import WebPImageFile

    stream.seek(0)
    head = stream.read(32)
    canvas = webp.canvas_size(head)
    if canvas is None:
        raise _unknown(source)
    check_pixels(source.name, *canvas, limits, _MOST_BYTES / _BYTES_A_PIXEL["WEBP"])
    stated, size = int.from_bytes(head[4:8], "little") + 8, _size_of(stream)
    stream.seek(0)
    data = stream.read(min(stated, _MOST_BYTES))
    if stated > size:
        return _decode_cut_webp(source, data, canvas)
    image = _opened(source, io.BytesIO(data), WebPImageFile)
    check_memory(source.name, image, size, limits)
    _note_pages(source, image)
    return _loaded(source, lambda: WebPImageFile(io.BytesIO(data)), size)


def _decode_cut_webp(source: Source, data: bytes, canvas: tuple[int, int]) -> Decoded:
    from PIL.WebPImagePlugin import WebPImageFile

    whole = webp.whole_part(data)
    if whole is not None:
        source.note("is cut short: all that is there is used")
        _opened(source, io.BytesIO(whole), WebPImageFile)
        return _loaded(source, lambda: WebPImageFile(io.BytesIO(whole)), len(data))
    if canvas[0] * canvas[1] > LARGE:
        raise broken(source.name)
    tries = max(1, _TRIED_PIXELS // (canvas[0] * canvas[1]))
    files = itertools.islice(webp.completions(data, canvas[0] * canvas[1]), tries)
    return completed(source, files, WebPImageFile)


def _opened(source: Source, stream: Any, decoder: Any) -> "Image.Image":
    """Read the header only."""
    try:
        image: Image.Image = decoder(_rewound(stream))
        keep_levels(image)
    except Exception as error:  # a decoder may raise anything on a hostile header
        raise _unknown(source) from error
    return image


def check_memory(name: str, image: "Image.Image", size: int, limits: MediaLimits) -> None:
    """Check the pixels in a file of `size` bytes against what their decoder needs for them."""
    each = _bytes_a_pixel(image)
    check_pixels(
        name, image.width, image.height, limits, _MOST_OF_PILLOW if image.format == "TIFF" else _MOST_BYTES / each
    )
    pixels = image.width * image.height
    is_large = pixels * each > _BOMB_BYTES or (image.format in _JPEG and pixels > LARGE)
    if is_large and pixels > _PIXELS_A_BYTE_OF.get(str(image.format), _PIXELS_A_BYTE) * size:
        raise GemmaError(
            f"{name}: {image.width} x {image.height} pixels in {size_text(size)} would fill the memory to no use; "
            "make the image smaller first"
        )


def _bytes_a_pixel(image: Any) -> float:
    """While the image is decoded."""
    if image.format in _JPEG:
        drafted = 1 if image.width * image.height > _DRAFT else 4
        return drafted + (_bytes_of_coefficients(image) if "progressive" in image.info else 0)
    return _BYTES_A_PIXEL.get(image.format, _BYTES_OF_MODE.get(image.mode, 4))


def _bytes_of_coefficients(image: Any) -> float:
    """A progressive JPEG is held whole as 16-bit coefficients."""
    sampled = [(layer[1], layer[2]) for layer in image.layer]
    full = max(across for across, _ in sampled) * max(down for _, down in sampled)
    return 2 * sum(across * down for across, down in sampled) / full


def _note_pages(source: Source, image: Any) -> None:
    """Say that there are more frames or pages than the one that is used. Small copies of a page are none."""
    with contextlib.suppress(Exception):
        if image.format != "TIFF" and image.is_animated:
            several = "holds several images" if image.format == "HEIF" else "is animated"
            used = "the main one" if image.format == "HEIF" else "its first frame"
            more = "" if image.format == "HEIF" else ALL_FRAMES
            source.note(f"{several}: only {used} is used{more}")
        elif image.format == "TIFF" and (pages := _pages(image)) > 1:
            at_least = "at least " if pages == _MOST_PAGES else ""
            source.note(f"has {at_least}{pages} pages: only the first one is used")


def _pages(image: Any) -> int:
    pages = 1
    with contextlib.suppress(Exception):
        for number in range(1, _MOST_PAGES):
            image.seek(number)
            pages += not image.tag_v2.get(_SUBFILE_TAG, 0) & _REDUCED_OR_MASK
    return pages


def _loaded(source: Source, decode: _Decode, size: int, orientation: int | None = None) -> Decoded:
    """Decode a file of `size` bytes that could be opened; if it is damaged, take what is there."""
    image = decode()
    keep_levels(image)
    try:
        image.load()
    except Exception as error:  # a decoder may raise anything on hostile data
        if image.width * image.height > max(LARGE, _PIXELS_A_BYTE * size):
            raise broken(source.name) from error
        return salvaged(source, decode(), decode(), orientation)
    return Decoded(image, orientation_of(image) if orientation is None else orientation)


def _rewound(stream: Any) -> Any:
    stream.seek(0)
    return stream


def _size_of(stream: IO[bytes]) -> int:
    return stream.seek(0, io.SEEK_END)
