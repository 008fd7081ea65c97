"""The files that a line of a chat names: quoted, escaped, as file: addresses, dropped by a terminal, or as they are.

Terminals drop a file with backslashes (Terminal.app, iTerm, Ghostty), in quotes (VS Code, GNOME) or as it is
(Alacritty), and people write it into the middle of a sentence. So a name is a file's if the file is there. Only words
that look like one are tried: they begin like a path, are quoted, or end like a file's name.
"""

import os
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from gemma4_mlx.prompt.prompt import MediaKind

State = Literal["file", "folder", "device", "missing"]

ENDINGS: "dict[MediaKind, str]" = {
    "image": "png jpg jpeg jpe jfif webp gif apng bmp dib tif tiff heic heif hif avif",
    "audio": "wav wave mp3 flac ogg oga opus m4a m4b aac aif aiff aifc caf wma amr au snd ac3 mka weba",
    "video": "mp4 mov m4v mkv webm avi mpg mpeg 3gp 3g2 wmv flv ogv mts m2ts",
}

ENDS_AHEAD, AHEAD = 8, 300
"""Endings of media that are tried as the end of one name, and characters in which they are looked for."""

LONGEST = 1024
"""Characters of a path: more are no file's on macOS."""

_ENDING = re.compile(
    rf"(?<=[^\s/.])\.(?:{'|'.join(' '.join(ENDINGS.values()).split())})(?!\.?[A-Za-z0-9_]|[/\\-])", re.IGNORECASE
)
_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*:(?://|image/|audio/|video/)\S*", re.IGNORECASE)
_OPENING = r"""\s("'\[{<`=:,;*_"""
_START = re.compile(rf"""(?:(?<![^{_OPENING}])@?|(?<=[^\x00-\x7f])(?=[!-~]))(?=[^\s)\]}}>,;:!?@])""")
_EXPLICIT = re.compile(r"(?:/|~[\w.-]*/|\.{1,2}/|\$\{?\w+\}?/|file:/*)(?=[^\s/])")
_SHELL_WORD = re.compile(r"""(?:'[^'\n]*'|"(?:\\.|[^"\\\n])*"|\\.)+|(?:\\.|[^ \t\r\n\\])+""")
_WORD = re.compile(r"[^ \t\r\n]+")
_PART = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|(.)""", re.DOTALL)
_NAMED = re.compile(r"\.[A-Za-z]\w{0,9}\Z")
_LIKELY = re.compile(r"\.\w|[/'\"]\S")
_OPENERS = "([{<`“‘«„（「『"
_CLOSING = """ \t\r\n.,;:!?)]}>"'`*_…“”‘’«»„（）「」『』、。，：；！？"""


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a line that names a file.

    Attributes:
        start, stop: characters of the line.
        path: the file, as it can be opened.
        state: what is there.
    """

    start: int
    stop: int
    path: str
    state: State


def find_mentions(text: str) -> list[Mention]:
    """The files that a text names, in its order; one that isn't there only if it is named like media."""
    found: list[Mention] = []
    place = 0
    for line in text.splitlines(keepends=True):
        if _LIKELY.search(line):
            found += [replace(one, start=one.start + place, stop=one.stop + place) for one in _in_line(line)]
        place += len(line)
    return found


def _in_line(line: str) -> list[Mention]:
    ends = [match.end() for match in _ENDING.finditer(line)]
    there = _scan(line, 0, len(line), lambda start: _there(line, start, ends))
    edges = [0, *(edge for mention in there for edge in (mention.start, mention.stop)), len(line)]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    missing = [mention for start, stop in gaps if ends for mention in _scan(line, start, stop, partial(_missing, line))]
    return sorted(there + missing, key=lambda mention: mention.start)


def _scan(line: str, place: int, end: int, look: Callable[[int], Mention | None]) -> list[Mention]:
    """What `look` finds at the places where a name may begin; addresses hold none."""
    found: list[Mention] = []
    while (start := _START.search(line, place, end)) and (begin := start.end()) < end:
        address = _ADDRESS.match(line, begin)
        mention = None if address else look(begin)
        found += [mention] if mention else []
        place = max(begin + 1, mention.stop if mention else 0, address.end() if address else 0)
    return found


def is_alone(line: str, mentions: Sequence[Mention]) -> bool:
    """Whether a line holds nothing but files."""
    between = "".join(_between(line, mentions))
    return bool(mentions) and not between.strip(f"{_CLOSING}([{{<@")


def with_names(text: str, mentions: Sequence[Mention]) -> str:
    """The text with file names in the place of paths: folders tell a model nothing, and mislead a small one."""
    names = [*(os.path.basename(mention.path) for mention in mentions), ""]
    return "".join(part for pair in zip(_between(text, mentions), names, strict=True) for part in pair)


def _between(text: str, mentions: Sequence[Mention]) -> list[str]:
    """What stands before, between and after the mentions."""
    edges = [0, *(edge for mention in mentions for edge in (mention.start, mention.stop)), len(text)]
    return [text[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def lone_path(line: str) -> Mention | None:
    """The only thing on a line, if it is written like a path that isn't there."""
    word = _SHELL_WORD.match(line)
    whole = word is not None and word.end() == len(line)
    ends = [match.end() for match in _ENDING.finditer(line)]
    if _EXPLICIT.match(_unquoted(line)) and (whole or ends[-1:] == [len(line)]):
        return Mention(0, len(line), _local(_unquoted(line)), "missing")
    return None


def split_paths(text: str) -> list[str]:
    """The paths in the argument of a command: one just as it is, or several as a shell would read them."""
    there = _existing(text)
    if there:
        return [there[0]]
    words = [match[0] for match in _SHELL_WORD.finditer(text)]
    return [there[0] if (there := _existing(word)) else _local(_unquoted(word)) for word in words]


def named_kind(path: str) -> "MediaKind | None":
    """The medium that the ending of a name stands for; of an address, that of its path."""
    name = urlsplit(path).path if _ADDRESS.match(path) else path
    ending = os.path.splitext(name)[1].lower().removeprefix(".")
    return next((kind for kind, endings in ENDINGS.items() if ending and ending in endings.split()), None)


def is_media_address(line: str) -> bool:
    """Whether a line is an http address and nothing else, and ends like media."""
    return line.lower().startswith(("http://", "https://")) and not re.search(r"\s", line) and bool(named_kind(line))


def why_unread(mention: Mention) -> str:
    """Why what a mention names can't be attached, and what to do."""
    from gemma4_mlx.media.kinds import file_kind
    from gemma4_mlx.media.near import near_path

    if mention.state == "folder":
        return "is a folder; /image, /audio or /video attaches the files in it"
    if mention.state == "device":
        return "is a device or a pipe, not a file"
    if mention.state == "missing":
        meant = near_path(mention.path)
        return f"there is no such file{f'; did you mean {meant}?' if meant else ''}"
    if not os.access(os.path.expanduser(mention.path), os.R_OK):
        return "can't be read: permission denied"
    kind, named = file_kind(mention.path), named_kind(mention.path)
    cure = f": {kind.advice}" if kind.advice else ""
    return kind.why_not(named) if named else f"is {kind.name}, not an image, audio or video{cure}"


def _there(line: str, start: int, ends: Sequence[int]) -> Mention | None:
    """The longest name that begins here and is a file's, or a folder's if it is written like a path.

    `ends` are the places in the line where the ending of a media file ends.
    """
    explicit = bool(_EXPLICIT.match(line, start)) or line[start] in "'\""
    for stop in _stops(line, start, ends, explicit):
        there = _existing(line[start:stop])
        if there and (explicit or there[1] == "file"):
            return Mention(start, stop, *there)
    return None


def _stops(line: str, start: int, ends: Sequence[int], explicit: bool) -> list[int]:
    """Where a name that begins here may end, the longest first."""
    first = bisect_right(ends, start)
    ahead = {end for end in ends[first : first + ENDS_AHEAD] if end - start <= AHEAD}
    matches = (pattern.match(line, start, start + LONGEST) for pattern in (_SHELL_WORD, _WORD))
    words = {match.end() for match in matches if match}
    words |= {start + len(line[start:stop].rstrip(_CLOSING)) for stop in words}
    words = {stop for stop in words if stop > start and (explicit or _NAMED.search(line, start, stop))}
    return sorted(ahead | words, reverse=True)


def _missing(line: str, start: int) -> Mention | None:
    """A word that is named like media, though there is no such file."""
    word = _SHELL_WORD.match(line, start, start + LONGEST)
    quoted = line[start] in "'\""
    ends = list(_ENDING.finditer(word[0].rstrip(_CLOSING) if quoted else word[0])) if word else []
    if not word or not ends or "*" in word[0] or line[start] in _OPENERS:
        return None
    stop = word.end() if quoted else start + ends[-1].end()
    return Mention(start, stop, _local(_unquoted(line[start:stop])), "missing")


def _existing(text: str) -> tuple[str, State] | None:
    """What a text names, in any of the ways to write it, and what that is."""
    forms = [text, _unquoted(text)]
    forms += [os.path.expandvars(forms[1])] if "$" in text and text[0] != "'" else []
    if not text.isascii():
        forms += [unicodedata.normalize(form, text) for form in ("NFC", "NFD") for text in forms]
    for path in dict.fromkeys(_local(form) for form in forms):
        state = _state(path)
        if state != "missing":
            return path, state
    return None


def _state(path: str) -> State:
    try:
        there = Path(path).expanduser()
        if there.is_file():
            return "file"
        return "folder" if there.is_dir() else "device" if there.exists() else "missing"
    except (OSError, ValueError, RuntimeError):  # no name that a file can have, or no such home
        return "missing"


def _local(text: str) -> str:
    """The path in a file: address of this computer; any other text as it is."""
    match = re.match(r"file:(?://(?:localhost)?)?(?=/)", text, re.IGNORECASE)
    return unquote(text[match.end() :]) if match else text


def _unquoted(text: str) -> str:
    """A text without the quotes and backslashes that a shell takes away."""
    if text[:1] not in "'\"" and "\\" not in text:
        return text
    return _PART.sub(_plain, text)


def _plain(part: re.Match[str]) -> str:
    single, double, escaped, other = part.groups()
    if double is not None:
        return re.sub(r'\\(["\\$`])', r"\1", double)
    return next(text for text in (single, escaped, other) if text is not None)
