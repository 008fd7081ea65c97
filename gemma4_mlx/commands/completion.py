"""What Tab completes in a chat: commands, what may follow them, and paths."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

_LAST_WORD = re.compile(r"(?:\\.|[^\s\\])*\Z")
_QUOTED = re.compile(r"""(?:^|\s)@?(["'])([^"']*)\Z""")
_SPECIAL = re.compile(r"""([\s\\'"()&;|<>*?$`!#\[\]{}])""")
_PATH_COMMANDS = ("/image", "/audio", "/video", "/save", "/load")
MOST_NAMES = 1000
"""Entries of a folder that are offered at once."""


class ChatCompleter(Completer):
    """Completes the names of commands at the beginning of a line, their words, and paths everywhere else."""

    def __init__(self, commands: Sequence[str], words: Mapping[str, Sequence[str]]) -> None:
        self._commands, self._words = commands, words

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may stand in the place of the word before the cursor."""
        text = document.text_before_cursor
        command, space, argument = text.partition(" ")
        if command.startswith("/") and not space and "/" not in command[1:]:
            names = [name for name in self._commands if name.startswith(command.lower())]
            yield from _matching(names, command)
            if names:
                return
        if space and command in self._words:
            yield from _matching(self._words[command], argument.lstrip())
            return
        yield from _paths(text, any_word=bool(space) and command in _PATH_COMMANDS)


def _matching(words: Sequence[str], begun: str) -> Iterator[Completion]:
    for word in words:
        if word.startswith(begun.lower()):
            yield Completion(word, -len(begun))


def _paths(text: str, *, any_word: bool) -> Iterator[Completion]:
    """Paths that go on from the last word, with the spaces in them escaped or within its quotes.

    A word without a slash is taken to be one only if `any_word` may be.
    """
    quoted = _QUOTED.search(text)
    word = quoted[2] if quoted else _last_word(text)
    typed = word if quoted else re.sub(r"\\(.)", r"\1", word)
    if not (any_word or quoted or "/" in typed):
        return
    folder, begun = os.path.split(typed)
    written = len(word.rpartition("/")[2])
    for name in _names(folder or ".", begun):
        yield Completion(name if quoted else _SPECIAL.sub(r"\\\1", name), -written, display=name)


def _last_word(text: str) -> str:
    found = _LAST_WORD.search(text)
    return found[0].removeprefix("@") if found else ""


def _names(folder: str, begun: str) -> list[str]:
    """Names in a folder that begin so, folders with a slash; hidden ones only if they are asked for."""
    try:
        with os.scandir(os.path.expanduser(folder)) as entries:
            found = [
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in entries
                if entry.name.startswith(begun) and (begun or not entry.name.startswith("."))
            ]
    except OSError:
        return []
    return sorted(found)[:MOST_NAMES]
