"""Open sound and video files with a short list of demuxers and decoders, and turn FFmpeg's errors into one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.endings import is_cut_short
from gemma4_mlx.media.signatures import Medium
from gemma4_mlx.media.sources import MediaLimits, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

_MOVIE_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv"
_SOUND_DEMUXERS = "wav,w64,flac,mp3,ogg,aac,aiff,amr,au,caf,ac3,eac3,dts,wv,voc," + _MOVIE_DEMUXERS
_DEMUXERS = {"audio": _SOUND_DEMUXERS, "video": _MOVIE_DEMUXERS}
_NAMES = {
    "audio": "a WAV, FLAC, MP3, OGG, Opus, M4A, AAC or AIFF file, nor an MP4, MOV, WebM or MKV with sound",
    "video": "an MP4, MOV, WebM or MKV video",
}
# What phones, cameras, recorders and broadcasts write. Uncompressed sound ("pcm_...") and ADPCM are accepted too.
_CODECS = {
    "audio": (
        *("aac", "aac_latm", "alac", "flac", "mp3", "mp2", "opus", "vorbis", "ac3", "eac3", "dts", "truehd", "wavpack"),
        *("amr_nb", "amr_wb", "gsm", "gsm_ms", "speex", "wmav1", "wmav2", "wmapro", "wmavoice", "wmalossless"),
    ),
    "video": (
        *("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores"),
        *("h263", "flv1", "mpeg1video", "mpeg2video", "dvvideo", "wmv1", "wmv2", "wmv3", "vc1", "msmpeg4v3"),
    ),
}
_CODEC_FAMILIES = ("pcm_", "adpcm_")
_LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "truehd", "wmalossless")
# Some codecs' decoders have other names.
_DECODERS = ",".join(
    (*_CODECS["audio"], *_CODECS["video"], "mp3float", "mp2float", "dca", "amrnb", "amrwb", "libdav1d")
)


class LimitError(GemmaError):
    """A file that holds more than the limits allow."""


@contextmanager
def open_container(source: Source, kind: Medium, limits: MediaLimits) -> "Iterator[InputContainer]":
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
        raise source.refusal(kind, f"is not {_NAMES[kind]}") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        raise source.refusal(kind, _why_unreadable(source, kind)) from error
    try:
        with container:
            if not any(stream.codec_context for stream in container.streams):
                raise source.refusal(kind, _why_unreadable(source, kind))
            yield container
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise GemmaError(f"{source.name}: the {kind} is damaged and can't be decoded") from error


def _why_unreadable(source: Source, kind: str) -> str:
    with source.opened() as file:
        if is_cut_short(file):
            return "is cut short: the end of the file is missing, and nothing can be read without it"
    return f"is not {_NAMES[kind]}, or it is broken"


def _demuxer(source: Source) -> str | None:
    """A movie's, by its first bytes; None lets FFmpeg look, for which it loads the code of every demuxer it has."""
    with source.opened() as file:
        head = file.read(8)
        file.seek(0)
    if head[4:] == b"ftyp":
        return "mov"
    return "matroska" if head[:4] == b"\x1a\x45\xdf\xa3" else None


def pick_stream(container: "InputContainer", kind: str, name: str) -> "Stream | None":
    """The file's best stream of a kind that is decoded here; None if it has none of the kind.

    Raises:
        GemmaError: there are such streams, but all of codecs outside the list.
    """
    streams = [s for s in container.streams if s.type == kind and not s.disposition & s.disposition.attached_pic]
    accepted = [stream for stream in streams if is_accepted(codec_name(stream), kind)]
    if streams and not accepted:
        raise GemmaError(
            f"{name}: its {kind} is encoded as {codec_name(streams[0])}, which is not decoded here; "
            "convert it to MP4 first"
        )
    best = container.streams.best(kind)  # type: ignore[arg-type]
    return best if best in accepted else next(iter(accepted), None)


def codec_name(stream: "Stream") -> str:
    """The codec's name, as in "aac"."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else "an unknown codec"


def is_accepted(codec: str, kind: str) -> bool:
    """Whether a codec is on the list."""
    return codec in _CODECS[kind] or (kind == "audio" and codec.startswith(_CODEC_FAMILIES))


def is_lossless(stream: "Stream") -> bool:
    """Whether the codec keeps samples as they are, and so doesn't pad the sound."""
    return codec_name(stream).startswith(_LOSSLESS)


def read_packets(container: "InputContainer", stream: "Stream | None", source: Source) -> "Iterator[Packet[Any]]":
    """The packets of one stream or of all, as far as the file can be read."""
    import av

    while True:
        try:
            packets = container.demux(stream) if stream else container.demux()
            yield from (packet for packet in packets if packet.size)
        except IndexError:
            continue  # a stream began in mid-file (MPEG-TS, FLV): av knows none of it and stops, but can go on
        except av.FFmpegError:
            source.note("is damaged and can't be read to its end; what comes before is used")
        return


def check_length(seconds: float, kind: str, name: str, limit: float) -> None:
    """Raise LimitError if the file is longer than the limit."""
    if seconds > limit:
        raise LimitError(f"{name}: the {kind} is longer than the limit of {limit:g} s; cut it first")


def stated_seconds(container: "InputContainer", stream: "Stream") -> float | None:
    """The length that the header states for the stream, or for a Matroska file as a whole; it may be wrong."""
    if container.format.name.startswith("matroska"):
        return container.duration / 1e6 if container.duration else None
    if not stream.duration or not stream.time_base:
        return None
    return float(stream.duration * stream.time_base)
