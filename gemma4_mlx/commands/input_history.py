"""The lines that were typed into chats, kept in a file from one to the next, for the arrow keys and Ctrl-R.

Several chats may write at once: each entry is one write at the file's end, under a lock, and a file that has grown too
long is replaced by its end under the same lock.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory

from gemma4_mlx.errors import note, one_line
from gemma4_mlx.files import write_atomically
from gemma4_mlx.settings import uses_file

FILE_NAME = "chat_history"
MOST_BYTES, KEPT_BYTES = 1_000_000, 500_000
"""A longer file is cut to its last entries."""


def history_file() -> Path:
    """Where the lines are kept: beside the times when models were used."""
    return uses_file().with_name(FILE_NAME)


class InputHistory(FileHistory):
    """A history in a file that only its owner can read. If it can't be used, a note says so, once, and chats go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self._works = path, True
        self._try(self._prepare)

    def load_history_strings(self) -> Iterator[str]:
        """The entries, the latest first."""
        with suppress(OSError):
            yield from super().load_history_strings() if self._works else ()

    def store_string(self, string: str) -> None:
        """Append an entry."""
        lines = "".join(f"+{line}\n" for line in string.split("\n"))
        entry = f"\n{lines}".encode("utf-8", "replace")

        def append() -> None:
            with self._locked() as handle:
                os.write(handle, entry)

        if self._works:
            self._try(append)

    def _prepare(self) -> None:
        if not self._path.is_absolute():
            raise OSError("there is no home folder")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as handle:
            os.fchmod(handle, 0o600)
            if os.fstat(handle).st_size > MOST_BYTES:
                self._cut()

    def _cut(self) -> None:
        """Keep the last entries: from the first that is whole."""
        end = self._path.read_bytes()[-KEPT_BYTES:]
        write_atomically(self._path, b"\n" + end.partition(b"\n\n")[2], private=True)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open to append, which nobody replaces meanwhile. Raises OSError if it can't be written."""
        while True:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            handle = os.open(self._path, flags, 0o600)
            try:
                with suppress(OSError):  # a network volume may refuse locks
                    fcntl.flock(handle, fcntl.LOCK_EX)
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError("not an ordinary file")
                if os.path.samestat(status, os.stat(self._path)):
                    yield handle
                    return
            finally:
                os.close(handle)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._works = False
            note(f"lines are not kept for later chats: {self._path}: {one_line(error)} (--no-history asks for none)")
