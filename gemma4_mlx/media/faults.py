"""Notes for files in which FFmpeg finds errors that it passes over: it only logs them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gemma4_mlx.media.sources import Source

# These say nothing of the data: codecs that are not probed, the joints of MP3s that were put together, tags, and a
# last byte or two that fill up a chunk of uncompressed sound.
_HARMLESS = ("not on whitelist", "Header missing", "BOM value", "Error reading", "Invalid PCM packet")
_JOINT = "invalid new backstep"  # an MP3 frame that continues one of before the file's beginning, or before a joint
_MOST_JOINTS = 2
_PICTURE_DECODERS = ("mjpeg", "png", "gif", "bmp", "webp")  # of covers


@contextmanager
def note_faults(source: Source, kind: str) -> Iterator[None]:
    """Note that the file is damaged if this thread's FFmpeg logs errors meanwhile, while it reads "audio" or "video".

    Only for demuxers and decoders without threads of their own: those would wait for Python to take their messages.
    """
    import av.logging

    before = av.logging.get_level(), av.logging.get_skip_repeated()
    _set_logging(av.logging.ERROR, skip_repeated=False)  # or what another file was told is not said again
    try:
        with av.logging.Capture() as messages:
            yield
    finally:
        _set_logging(before[0], skip_repeated=before[1])
    if any(_faults(messages, kind)):
        source.note_damage("parts of it can't be decoded; the others are used")


def _faults(messages: list[tuple[int, str, str]], kind: str) -> list[str]:
    sources = () if kind == "video" else _PICTURE_DECODERS
    texts = [text for _, name, text in messages if name not in sources]
    found = [text for text in texts if not any(part in text for part in _HARMLESS)]
    are_joints = len(found) <= _MOST_JOINTS and all(_JOINT in text for text in found)
    return [] if are_joints else found


def _set_logging(level: int | None, *, skip_repeated: bool) -> None:
    import av.logging

    av.logging.set_level(level)
    av.logging.set_skip_repeated(skip_repeated)
