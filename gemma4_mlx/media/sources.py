"""Where media come from: a path, an http(s) address, a data URI, bytes or an open file. Checked before decoding.

A local file stays a path, however large; whatever has to be copied first (downloads, pipes, data URIs) has its own,
lower limit.
"""

import base64
import io
import mmap
import os
import re
import stat
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from gemma4_mlx.errors import GemmaError, note, visible
from gemma4_mlx.media.near import near_path
from gemma4_mlx.media.signatures import HEAD_BYTES, Medium, kind_by_head

_SPOOL_BYTES = 32 * 2**20  # copies up to this size stay in memory, larger ones go to a temporary file
_CHUNK_BYTES = 2**20
_SCHEME = re.compile(r"\s*(?:(data|file):|([a-z][a-z0-9+.-]*)://)", re.IGNORECASE)
_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_SCHEME_CHARACTERS = 100  # in which a scheme is looked for
_TO_STANDARD_BASE64 = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What an input may ask of this machine; everything above is refused with one line.

    Attributes:
        max_bytes: size of a local file.
        max_copied_bytes: size of a download, data URI, pipe or other stream that has to be copied first.
        max_pixels: width x height of an image, from its header.
        max_frame_pixels: width x height of a video.
        max_audio_seconds: the default is what fits the model's context (262,144 tokens at 25 a second).
        max_video_seconds: length of a video.
        max_video_frames: encoded frames in a video.
        fetch_seconds: total time of a download, name lookup included.
    """

    max_bytes: int = 16 * 10**9
    max_copied_bytes: int = 2 * 10**9
    max_pixels: int = 256 * 10**6
    max_frame_pixels: int = 8192 * 4320
    max_audio_seconds: float = 10_500.0
    max_video_seconds: float = 4 * 3600.0
    max_video_frames: int = 10**6
    fetch_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Source:
    """Something a decoder can open: a local path or a seekable binary stream. Messages call it `name`.

    `notes` gathers what was found in it that the user should know of.
    """

    name: str
    data: Path | IO[bytes]
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Note, once, that the file is used in another way than one would expect: in part, or repaired."""
        line = f"{self.name}: {text}"
        if line not in self.notes:
            self.notes.append(line)

    def log_notes(self) -> tuple[str, ...]:
        """Log the notes of a file that was read, and return them. One that is refused has its error only."""
        for line in self.notes:
            note(line)
        return tuple(self.notes)

    def note_damage(self, text: str) -> None:
        """Say that parts are damaged, unless another note says so already."""
        if not any("is damaged" in line for line in self.notes):
            self.note(f"is damaged: {text}")

    def refusal(self, wanted: Medium, otherwise: str) -> GemmaError:
        """The error for a file that can't be read as `wanted`: what it is instead, or else `otherwise`."""
        with self.opened() as file:
            kind = kind_by_head(file.read(HEAD_BYTES))
        return GemmaError(f"{self.name}: {kind.why_not(wanted) if kind.is_not(wanted) else otherwise}")

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The bytes from the beginning; a file opened here is closed again, a stream that was given stays open."""
        if isinstance(self.data, Path):
            with self.data.open("rb") as file:
                yield file
        else:
            self.data.seek(0)
            yield self.data


def read_source(source: Any, limits: MediaLimits = MediaLimits()) -> Source:
    """Check `source` (path, http(s) URL, data URI, bytes or binary file) and make it ready to decode.

    Raises:
        GemmaError: it does not exist, can't be read, is empty, too large, or of a kind that is not accepted.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str) and (scheme := _SCHEME.match(source)):
        return _from_address(source.strip(), (scheme[1] or scheme[2]).lower(), limits)
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fspath(source), limits)
    if isinstance(source, bytes | bytearray | memoryview | mmap.mmap):
        return _from_bytes(bytes(source), "bytes", limits)
    if callable(getattr(source, "read", None)):
        return _from_stream(source, limits)
    raise GemmaError(
        f"media can't be read from {type(source).__name__}: pass a path, an address, bytes or a binary file"
    )


def temporary_file() -> IO[bytes]:
    """An empty file for a copy: in memory while it is small, gone when nobody holds it any more."""
    return cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))


def printable(text: str, length: int = 120) -> str:
    """`text` on one line, without control characters, at most `length` characters long (the end is kept)."""
    line = visible(text)
    return line if len(line) <= length else "..." + line[-(length - 3) :]


def _from_address(address: str, scheme: str, limits: MediaLimits) -> Source:
    if scheme == "data":
        return _from_data_uri(address, limits)
    if scheme == "file":
        return _from_path(_local_path(address), limits)
    if scheme not in ("http", "https"):
        raise GemmaError(f"{printable(address)}: {scheme} addresses are not opened; use http or https, or pass a path")
    from gemma4_mlx.media.fetch import fetch

    name, stream = fetch(address, max_bytes=limits.max_copied_bytes, seconds=limits.fetch_seconds)
    return Source(name, stream)


def _from_path(text: str | bytes, limits: MediaLimits) -> Source:
    name = printable(os.fsdecode(text))
    if not text:
        raise GemmaError("an empty path was given for a media file")
    try:
        path = Path(os.fsdecode(text)).expanduser()
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise GemmaError(f"{name}: is a folder, not a media file; give the files in it")
        if stat.S_ISFIFO(status.st_mode):
            with path.open("rb") as pipe:
                return _copied(pipe, name, limits)
        if not stat.S_ISREG(status.st_mode):
            raise GemmaError(f"{name}: is a device, not a media file")
        file = path.open("rb")
        if str(path).startswith(_DESCRIPTORS):  # each opening of these goes on where the last one stopped, on macOS
            return _from_stream(file, limits)
        file.close()
    except OSError as error:
        meant = near_path(os.fsdecode(text)) if isinstance(error, FileNotFoundError | NotADirectoryError) else None
        question = f"; did you mean {printable(meant)}?" if meant else ""
        raise GemmaError(f"{name}: {(error.strerror or 'cannot be read').lower()}{question}") from error
    except (ValueError, RuntimeError) as error:
        raise GemmaError(f"{name}: is not a usable path") from error
    _check_size(status.st_size, name, limits.max_bytes)
    return Source(name, path.absolute())


def _local_path(address: str) -> str:
    """The path in file:///path, file://localhost/path or file:/path."""
    rest = address.partition(":")[2]
    host, path = "", rest
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        path = slash + path
    if host.lower() not in ("", "localhost") or not path.startswith("/"):
        raise GemmaError(f"{printable(address)}: is no file on this computer; write file:///path, or pass the path")
    return urllib.parse.unquote(path, errors="surrogateescape")


def _from_data_uri(uri: str, limits: MediaLimits) -> Source:
    head, comma, payload = uri.partition(",")
    if not comma:
        raise GemmaError("a data URI without a comma: expected data:<type>;base64,<data>")
    if len(payload) > 3 * limits.max_copied_bytes:  # a percent-encoded byte takes three characters
        raise GemmaError(f"data URI: is larger than the limit of {size_text(limits.max_copied_bytes)}")
    if payload[:_SCHEME_CHARACTERS].lstrip().lower().startswith("data:"):  # given where bare base64 was expected
        return _from_data_uri(payload, limits)
    data = urllib.parse.unquote_to_bytes(payload)
    is_base64 = "base64" in (parameter.strip().lower() for parameter in head.split(";")[1:])
    return _from_bytes(_from_base64(data) if is_base64 else data, "data URI", limits)


def _from_base64(text: bytes) -> bytes:
    """Decode either alphabet, padded or not, with white space anywhere."""
    bare = b"".join(text.split()).translate(_TO_STANDARD_BASE64).rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except ValueError as error:
        raise GemmaError("data URI: its base64 data are malformed") from error


def _from_bytes(data: bytes, name: str, limits: MediaLimits) -> Source:
    _check_size(len(data), name, limits.max_copied_bytes)
    return Source(name, io.BytesIO(data))


def _from_stream(stream: Any, limits: MediaLimits) -> Source:
    label = getattr(stream, "name", None)
    name = printable(label) if isinstance(label, str) else "stream"
    try:
        if not stream.seekable():
            return _copied(stream, name, limits)
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if not isinstance(stream.read(0), bytes):
            raise GemmaError(f"{name}: is open as text; open it in binary mode")
    except (OSError, ValueError, AttributeError) as error:
        raise GemmaError(f"{name}: cannot be read as a binary file") from error
    _check_size(size, name, limits.max_bytes)
    return Source(name, stream)


def _copied(stream: IO[bytes], name: str, limits: MediaLimits) -> Source:
    copy = temporary_file()
    size = 0
    while chunk := stream.read(_CHUNK_BYTES):
        if not isinstance(chunk, bytes):
            raise GemmaError(f"{name}: is open as text; open it in binary mode")
        size += len(chunk)
        if size > limits.max_copied_bytes:
            break
        copy.write(chunk)
    _check_size(size, name, limits.max_copied_bytes)
    return Source(name, copy)


def _check_size(size: int, name: str, limit: int) -> None:
    if size == 0:
        raise GemmaError(f"{name}: is empty")
    if size > limit:
        raise GemmaError(f"{name}: is larger than the limit of {size_text(limit)}")


def size_text(size: int) -> str:
    """A number of bytes for people: "2 GB", "500 bytes"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
