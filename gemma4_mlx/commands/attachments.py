"""The images, audio and videos that a command line names: several words an option, patterns and folders.

Apart from options.py because chat and generate attach files at different times.
"""

import argparse
import glob
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING

from gemma4_mlx.errors import GemmaError, UsageError, note, shortened, visible

if TYPE_CHECKING:
    from gemma4_mlx.media.signatures import FileKind, Medium
    from gemma4_mlx.prompt.processor import MediaOptions

STDIN = "-"
STDIN_NAMES = frozenset((STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))
_HELP = {
    "image": "files, patterns, folders, URLs or - (stdin)",
    "audio": "likewise; of a video its sound",
    "video": "likewise; animated images too",
}
_MOST_NAMED = 3  # files in a note
_LONGEST_CONTEXT = 262_144  # tokens
_MOST_FILES = _LONGEST_CONTEXT // 25  # a second of sound is the least that is given
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]*://|data:|file:)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)")


class _Attach(argparse.Action):
    """Keeps what an option names in the list of its kind, and with its kind in the list of all media."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        words = [STDIN if word in STDIN_NAMES else str(word) for word in _as_words(values)]
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *words])
        namespace.media = [*namespace.media, *((self.dest, word) for word in words)]


def _as_words(values: object) -> Sequence[object]:
    return values if isinstance(values, list) else [values]


def add_attachments(parser: argparse.ArgumentParser, group: argparse._ActionsContainer) -> None:
    """Add --image, --audio and --video; `find_media` reads them."""
    parser.set_defaults(media=[])
    for kind, said in _HELP.items():
        group.add_argument(f"--{kind}", action=_Attach, nargs="+", default=[], metavar="FILE", help=said)


def find_media(args: argparse.Namespace) -> "list[tuple[Medium, str | IO[bytes]]]":
    """What is attached, in its order: patterns and folders as their files. May be called again.

    Raises GemmaError for a path, pattern or folder that gives nothing.
    """
    args.media = [(kind, source) for kind, word in args.media for source in expand(kind, word)]
    return args.media


def expand(kind: "Medium", word: "str | IO[bytes]") -> "Sequence[str | IO[bytes]]":
    """The files of a kind that a word stands for; a note says which, unless it names one itself.

    Raises GemmaError if there are none.
    """
    if not isinstance(word, str) or _ADDRESS.match(word):
        return [word]
    if word == STDIN:
        return [_piped()]
    path = os.path.expanduser(word)
    if os.path.isdir(path):
        return _of_folder(kind, word, path)
    if not os.path.lexists(path) and glob.has_magic(word):
        return _matching(kind, word, path)
    if not os.path.exists(path):
        from gemma4_mlx.media.sources import read_source

        read_source(word)  # says why not, and what was meant
    return [word]


def _piped() -> IO[bytes]:
    if sys.stdin.isatty():
        raise UsageError("- reads a file from standard input, which is a terminal here: pipe the file in, or name it")
    return sys.stdin.buffer


def _of_folder(kind: "Medium", word: str, path: str) -> list[str]:
    try:
        names = sorted((name for name in os.listdir(path) if not name.startswith(".")), key=natural_key)
    except OSError as error:
        raise GemmaError(f"{visible(word)}: {(error.strerror or 'cannot be read').lower()}") from None
    return _chosen(kind, word, [os.path.join(word, name) for name in names], f"the folder has no {_PLURALS[kind]}")


def _matching(kind: "Medium", word: str, path: str) -> list[str]:
    found = sorted(glob.glob(path, recursive=True), key=natural_key)
    if not found:
        raise GemmaError(f"{visible(word)}: no file matches this pattern")
    return _chosen(kind, word, found, f"the pattern matches no {_PLURALS[kind]}")


_PLURALS = {"image": "images", "audio": "audio files", "video": "videos"}


def _chosen(kind: "Medium", word: str, paths: Sequence[str], nothing: str) -> list[str]:
    """Those of the paths that are of the kind. Raises GemmaError if there are none."""
    from gemma4_mlx.media.kinds import file_kind

    kinds = {path: file_kind(path) for path in paths}
    chosen = [path for path, found in kinds.items() if found.medium == kind or _moves(kind, path, found)]
    others = [f"{os.path.basename(path)} ({kinds[path].name})" for path in kinds if path not in chosen]
    left_out = f"; left out: {_some(others)}" if others else ""
    if not chosen:
        raise GemmaError(f"{visible(word)}: {nothing}{left_out.replace('left out', 'it has')}")
    if len(chosen) > _MOST_FILES:
        raise UsageError(f"{visible(word)}: {len(chosen)} files are more than any context holds: give some of them")
    count = f"1 {_PLURALS[kind].rstrip('s')}" if len(chosen) == 1 else f"{len(chosen)} {_PLURALS[kind]}"
    note(f"{word}: {count}: {_ends([os.path.basename(path) for path in chosen])}{left_out}")
    return chosen


def _moves(kind: "Medium", path: str, found: "FileKind") -> bool:
    """Whether an image can be watched as a video."""
    from gemma4_mlx.media.stills import is_animated

    return kind == "video" and found.medium == "image" and is_animated(path)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(shortened, names[:_MOST_NAMED])) + more


def _ends(names: Sequence[str]) -> str:
    few = len(names) <= _MOST_NAMED
    return ", ".join(names) if few else f"{names[0]}, {names[1]} ... {names[-1]}"


def natural_key(path: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts 2.png before 10.png, capital letters beside small ones, and accented ones beside bare ones."""
    pieces = _NUMBER.split(unicodedata.normalize("NFD", path.casefold()))
    return [(int(piece), "") if number % 2 else (-1, piece) for number, piece in enumerate(pieces)], path


def stray_question(args: argparse.Namespace) -> str | None:
    """The last of the attached words if it leads nowhere: a question may have been meant by it."""
    word = args.media[-1][1] if args.media else STDIN
    path = os.path.expanduser(word)
    is_source = word == STDIN or os.path.exists(path) or bool(_ADDRESS.match(word)) or bool(glob.glob(path))
    return None if is_source else word


def check_count(media: "Iterable[tuple[Medium, object]]", options: "MediaOptions") -> None:
    """Raise UsageError for images that no context holds, before they are decoded."""
    count = sum(1 for kind, _ in media if kind == "image")
    if count * options.image_tokens > 2 * _LONGEST_CONTEXT:
        raise UsageError(
            f"{count} images of {options.image_tokens} tokens are more than the {_LONGEST_CONTEXT} of the context: "
            "give fewer, or a smaller --image-tokens"
        )
