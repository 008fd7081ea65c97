"""Open sound and video files with a short list of demuxers and decoders, and turn FFmpeg's errors into one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.sources import MediaLimits, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

_MOVIE_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"
_SOUND_DEMUXERS = "wav,w64,flac,mp3,ogg,aac,aiff," + _MOVIE_DEMUXERS
_DEMUXERS = {"audio": _SOUND_DEMUXERS, "video": _MOVIE_DEMUXERS}
_NAMES = {
    "audio": "a WAV, FLAC, MP3, OGG, Opus, M4A, AAC or AIFF file, nor an MP4, MOV, WebM or MKV with sound",
    "video": "an MP4, MOV, WebM or MKV video",
}
_CODECS = {
    "audio": ("aac", "alac", "flac", "mp3", "opus", "vorbis", "ac3", "eac3"),
    "video": ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores"),
}
_DECODERS = ",".join(
    (*_CODECS["audio"], *_CODECS["video"], "mp3float", "libdav1d")
)  # some codecs' decoders have other names
# Formats whose headers state a length that can be trusted; others derive it from the file's size.
_STATE_LENGTH = ("wav", "w64", "flac", "aiff", "mov")
_LENGTH_TOLERANCE = 0.5  # seconds


@contextmanager
def open_container(source: Source, kind: str, limits: MediaLimits) -> "Iterator[InputContainer]":
    """Open `source` for its "audio" or "video"; FFmpeg's errors, also those of the `with` block, become GemmaErrors.

    Nothing but listed demuxers and decoders touches the data, and they can open no other file or address.
    """
    import av

    options = {
        "format_whitelist": _DEMUXERS[kind],
        "codec_whitelist": _DECODERS,
        "protocol_whitelist": "file",
        "max_pixels": str(limits.max_frame_pixels),
    }
    # av before 19 raises for metadata that are no UTF-8 unless told otherwise; later ones replace what they can't read
    metadata: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    target: Any = f"file:{source.data}" if isinstance(source.data, Path) else source.data
    try:
        container = av.open(target, "r", format=_demuxer(source), options=options, **metadata)
    except av.ArgumentError as error:  # what a demuxer outside the list gives
        raise GemmaError(f"{source.name}: is not {_NAMES[kind]}") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        raise GemmaError(f"{source.name}: is not {_NAMES[kind]}, or it is broken") from error
    try:
        with container:
            if not any(stream.codec_context for stream in container.streams):
                raise GemmaError(f"{source.name}: is not {_NAMES[kind]}, or it is broken")
            yield container
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise GemmaError(f"{source.name}: the {kind} is damaged and can't be decoded") from error


def _demuxer(source: Source) -> str | None:
    """A movie's, by its first bytes; None lets FFmpeg look, for which it loads the code of every demuxer it has."""
    with source.opened() as file:
        head = file.read(8)
        file.seek(0)
    if head[4:] == b"ftyp":
        return "mov"
    return "matroska" if head[:4] == b"\x1a\x45\xdf\xa3" else None


def pick_stream(container: "InputContainer", kind: str, name: str) -> "Stream | None":
    """The file's best stream of a kind, checked against the list of codecs; None if it has none."""
    streams = [s for s in container.streams if s.type == kind and not s.disposition & s.disposition.attached_pic]
    if not streams:
        return None
    best = container.streams.best(kind)  # type: ignore[arg-type]
    stream = best if best in streams else streams[0]
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "an unknown codec"
    if codec not in _CODECS[kind] and not codec.startswith("pcm_"):
        raise GemmaError(
            f"{name}: its {kind} is encoded as {codec}, which is not decoded here; convert it to MP4 first"
        )
    return stream


def check_length(seconds: float, kind: str, name: str, limit: float) -> None:
    """Refuse what is longer than the limit."""
    if seconds > limit:
        raise GemmaError(f"{name}: the {kind} is longer than the limit of {limit:g} s; cut it first")


def stated_seconds(container: "InputContainer", stream: "Stream") -> float | None:
    """The stream's length by its header, where the format has one that is not a guess from the file's size."""
    if container.format.name.startswith("matroska") and len(container.streams) == 1:
        # its header states when the file ends, not how long it is
        return (container.duration - (container.start_time or 0)) / 1e6 if container.duration else None
    if not stream.duration or not stream.time_base or not container.format.name.startswith(_STATE_LENGTH):
        return None
    return float(stream.duration * stream.time_base)


def check_complete(seconds: float, stated: float | None, name: str) -> None:
    """Refuse a file that ends well before the length its header states."""
    if stated is not None and seconds < stated - _LENGTH_TOLERANCE:
        raise GemmaError(f"{name}: is cut short: only {seconds:.1f} of {stated:.1f} s are there")
