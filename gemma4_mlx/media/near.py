"""The file or address that a mistyped path probably means."""

import difflib
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_MOST_NAMES = 10_000  # in a folder; more are not looked at
_LIKENESS = 0.75  # of 1; two letters exchanged in a short name are near, another word is not
_QUOTES = "'\"\u2018\u2019\u201c\u201d"
_WEB = re.compile(r"www\.[\w.-]+/\S", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


def near_path(text: str) -> str | None:
    """What exists and is written nearly as `text`, which leads nowhere; None if there is nothing. Never raises.

    An address that lacks its beginning gets it.
    """
    try:
        bare = _ESCAPED.sub(r"\1", text.strip().strip(_QUOTES))
        if _WEB.match(bare):
            return f"https://{bare}"
        return bare if bare != text and _exists(bare) else _corrected(Path(bare))
    except (OSError, ValueError, RuntimeError):
        return None


def _exists(text: str) -> bool:
    return bool(text) and os.path.exists(os.path.expanduser(text))


def _corrected(path: Path) -> str | None:
    """The path with the first of its names that isn't there replaced by one that is."""
    parts = path.parts
    for number, name in enumerate(parts):
        folder = Path(*parts[:number])
        if _exists(str(folder / name)):
            continue
        for near in near_names(name, _names_in(folder.expanduser())):
            corrected = str(folder.joinpath(near, *parts[number + 1 :]))
            if _exists(corrected):
                return corrected
        return None
    return None


def _names_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in itertools.islice(entries, _MOST_NAMES) if not entry.name.startswith(".")]


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are spelt nearly the same, or without their ending, the nearest first."""
    wanted, plain = _plain(name), {other: _plain(other) for other in sorted(names)}
    alike = difflib.get_close_matches(wanted, plain.values(), len(plain) or 1, _LIKENESS)
    places = {other: place for place, other in reversed(list(enumerate(alike)))}

    def distance(other: str) -> tuple[bool, bool, int]:
        return other != wanted, _stem(other) != _stem(wanted), places.get(other, len(places))

    near = [name for name, other in plain.items() if other in places or _stem(other) == _stem(wanted)]
    return sorted(near, key=lambda name: distance(plain[name]))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
