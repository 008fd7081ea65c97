"""Notes for files in which FFmpeg finds errors that it passes over: it only logs them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gemma4_mlx.media.sources import Source

# These say nothing of the data: codecs that are not probed, and the joints of MP3s that were put together.
_HARMLESS = ("not on whitelist", "Header missing")


@contextmanager
def note_faults(source: Source) -> Iterator[None]:
    """Note that the file is damaged if this thread's FFmpeg logs errors meanwhile.

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
    faults = [text for _, _, text in messages if not any(part in text for part in _HARMLESS)]
    if faults:
        source.note_damage("parts of it can't be decoded; the others are used")


def _set_logging(level: int | None, *, skip_repeated: bool) -> None:
    import av.logging

    av.logging.set_level(level)
    av.logging.set_skip_repeated(skip_repeated)
