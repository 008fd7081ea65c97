"""What a path leads to: an image, audio, a video, or something else that messages can call by its name."""

import os
import stat
from dataclasses import replace
from pathlib import Path

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.signatures import HEAD_BYTES, UNKNOWN, FileKind, Medium, kind_by_head
from gemma4_mlx.media.sources import MediaLimits, read_source
from gemma4_mlx.media.tables import check_tables

_FOLDER = FileKind(None, "a folder")
_DEVICE = FileKind(None, "a device")
_PIPE = FileKind(None, "a pipe")  # which can be read only once, so that its beginning can't be looked at
_MISSING = FileKind(None, "no file")

# Names that tell what a container holds, or what a file is whose beginning doesn't.
_ENDINGS: dict[str, Medium] = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".3gp"), "video"),
    **dict.fromkeys((".m4a", ".m4b", ".mka", ".weba", ".wma", ".mp3", ".aac", ".ac3", ".dts"), "audio"),
}
_DOCUMENTS = {
    ".docx": "a Word document",
    ".xlsx": "an Excel workbook",
    ".pptx": "a PowerPoint presentation",
    ".doc": "a Word document",
    ".xls": "an Excel workbook",
    ".ppt": "a PowerPoint presentation",
    ".key": "a Keynote presentation",
    ".pages": "a Pages document",
    ".numbers": "a Numbers document",
}


def kind_of(path: str | os.PathLike[str]) -> Medium | None:
    """As what a local file can be read; None if it can't, or if there is none."""
    return file_kind(path).medium


def file_kind(path: str | os.PathLike[str]) -> FileKind:
    """What a path leads to, by what is in the file; its name only tells video from audio. Never raises."""
    try:
        expanded = Path(path).expanduser()
        mode = expanded.stat().st_mode
        if not stat.S_ISREG(mode):
            return _FOLDER if stat.S_ISDIR(mode) else _PIPE if stat.S_ISFIFO(mode) else _DEVICE
        with expanded.open("rb") as file:
            kind = kind_by_head(file.read(HEAD_BYTES))
    except (OSError, ValueError, RuntimeError):
        return _MISSING
    return _by_name(kind, expanded)


def _by_name(kind: FileKind, path: Path) -> FileKind:
    ending = path.suffix.lower()
    if kind.medium is None:
        if kind is UNKNOWN and ending in _ENDINGS:  # such as an MP3 with something in front
            return FileKind(_ENDINGS[ending], f"a file named {ending}")
        is_packed = kind.name in ("a ZIP archive", "an Office document")
        return replace(kind, name=_DOCUMENTS[ending]) if is_packed and ending in _DOCUMENTS else kind
    return replace(kind, medium=_held_medium(path)) if kind.holds else kind


def _held_medium(path: Path) -> Medium:
    """What is in a container that may hold audio only; its name decides if that can't be found out."""
    from gemma4_mlx.media.container import open_container, pick_stream

    limits = MediaLimits()
    try:
        source = read_source(path, limits)
        check_tables(source)
        with open_container(source, "video", limits) as container:
            return "video" if pick_stream(container, "video", source.name) else "audio"
    except GemmaError:
        return _ENDINGS.get(path.suffix.lower(), "video")
