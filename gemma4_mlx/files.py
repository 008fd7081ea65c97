"""Files read within limits, and written whole or not at all: no reader sees a part of a new one.

The unfinished file lies in the same folder under a name that nobody can foresee, so that no link can wait for it. It is
locked as long as its writer lives; whoever writes into the folder later removes those of writers that were killed.
"""

import codecs
import errno
import fcntl
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.errors import GemmaError, note, one_line

PREFIX, SUFFIX = ".gemma4_mlx-", ".part"
UNITS = ((10**8, 10**9, "GB", 2), (10**6, 10**6, "MB", 0), (10**3, 10**3, "kB", 0), (0, 1, "bytes", 0))
"""From how many bytes on a unit is used, its bytes, name and decimals."""

ANYONES = 0o666
"""Permission bits before the umask takes its own away."""

FULL = {errno.ENOSPC, errno.EDQUOT}
HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
"""What `flock` says of a lock that somebody else holds; EACCES on some network volumes."""


def write_atomically(
    path: str | Path, content: str | bytes | Callable[[Path], None], *, private: bool = False, ending: str = ""
) -> Path:
    """Write a file in the place of the one that is there, if there is one; return where, links followed.

    `content` may be a function that writes the file it is given, whose name ends in `ending`. A file of one's own keeps
    its permission bits; a new one is its owner's alone if `private`, else as the umask says.

    Raises:
        GemmaError: it can't be written. Nothing is left behind then.
    """
    try:
        target = _target(path, "not written, as ")
        mode = _mode(target, private)
        with device_errors_named(), _unfinished(target.parent, ending) as (part, handle):
            _fill(part, content)
            os.fchmod(handle, mode)
            os.fsync(handle)
            os.replace(part, target)
    except (OSError, RuntimeError, ValueError) as error:  # MLX raises RuntimeError, whatever the reason
        raise GemmaError(f"{path}: can't be written ({system_reason(error)}); {cure(error)}") from None
    return target


def check_writable(path: str | Path, size: int = 0) -> None:
    """Find out now whether `write_atomically` can put a file of `size` bytes there later. Raises GemmaError."""
    try:
        target = _target(path)
        _mode(target, private=True)
        with _unfinished(target.parent, ""):
            free = shutil.disk_usage(target.parent).free
    except (OSError, RuntimeError, ValueError) as error:
        raise GemmaError(f"{path}: can't be written ({system_reason(error)}); {cure(error)}") from None
    check_room(path, free, size)


def _target(path: str | Path, so: str = "") -> Path:
    """Where a path leads, links followed. Raises GemmaError if it is empty, or its folder is not there."""
    if not str(path).strip():
        raise GemmaError("the name of a file is empty; give one")
    target = Path(os.path.realpath(os.path.expanduser(path)))
    if not target.parent.is_dir():
        raise GemmaError(f"{path}: {so}there is no folder {target.parent}; make it first")
    return target


def check_room(place: str | Path, free: int, size: int) -> None:
    """Raise GemmaError unless `size` bytes find room in a place with so many `free`."""
    if free < size:
        left = f"{byte_text(size, up=True)} are needed there, and {byte_text(free)} are free"
        raise GemmaError(f"{place}: {left}; make room, or give another place")


def byte_text(count: int, *, up: bool = False) -> str:
    """Bytes in the unit that shows them: 12 bytes, 7 kB, 240 MB, 7.31 GB; `up` never shows less than there are."""
    unit, name, digits = next(row[1:] for row in UNITS if count >= row[0])
    shown = count / unit * 10**digits
    return f"{(math.ceil(shown) if up else math.floor(shown)) / 10**digits:,.{digits}f} {name}"


def _fill(part: Path, content: str | bytes | Callable[[Path], None]) -> None:
    if callable(content):
        content(part)
    else:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _mode(target: Path, private: bool) -> int:
    """Permission bits of the file to come. Raises OSError if what is there is not to be replaced."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return 0o600 if private else ANYONES & ~_umask()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is write-protected")
    if status.st_uid != os.geteuid():  # somebody else chose those bits
        return 0o600 if private else ANYONES & ~_umask()
    return stat.S_IMODE(status.st_mode) & 0o777


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextmanager
def _unfinished(folder: Path, ending: str) -> Iterator[tuple[Path, int]]:
    """A new file in the folder and its handle; afterwards it is gone, if it was not renamed."""
    _sweep(folder)
    handle, name = _locked_file(folder, ending)
    try:
        yield Path(name), handle
    finally:
        with suppress(OSError):
            os.unlink(name)
        os.close(handle)


def _locked_file(folder: Path, ending: str) -> tuple[int, str]:
    """A new file that is locked as long as its handle is open."""
    while True:
        handle, name = tempfile.mkstemp(f"{SUFFIX}{ending}", PREFIX, folder)
        with suppress(OSError):  # where files can't be locked, none is swept either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # it was swept before it was locked


def try_lock(handle: int, name: str) -> bool:
    """Lock an open file or folder; False if somebody else holds it. A note if its volume knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        note(f"{name}: this volume can't lock files ({one_line(error)}); let only one program at a time write there")
    return True


@contextmanager
def refused_locks_as_missing() -> Iterator[None]:
    """Let `flock` say "not implemented" for any volume that knows no locks.

    That is the one answer after which the package filelock, and so a download, goes on with a lock of another kind.
    """
    real = fcntl.flock

    def flock(handle: Any, operation: int) -> None:
        try:
            real(handle, operation)
        except OSError as error:
            if error.errno in {*HELD, errno.EINTR}:
                raise
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error

    fcntl.flock = flock
    try:
        yield
    finally:
        fcntl.flock = real


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of writers that were killed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and SUFFIX in entry.name:
                with suppress(OSError):
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    """Remove an ordinary file of one's own that no writer holds. Raises OSError if it can't be opened or locked."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(handle)


REASONS = {
    errno.EBADF: "it is closed",
    errno.EPIPE: "nobody reads it any more",
    errno.EISDIR: "it is a folder",
}
"""Why a file can't be used, where the system's own words are none for people."""


def system_reason(error: BaseException) -> str:
    """What is wrong, in words: without the number of the system's error and the name of a file."""
    if not isinstance(error, OSError):
        return one_line(error)
    return REASONS.get(error.errno or 0) or error.strerror or one_line(error)


def cure(error: BaseException, otherwise: str = "choose another name or place") -> str:
    """What to do. MLX says only whether it could not open a file or not write it."""
    full = error.errno in FULL if isinstance(error, OSError) else isinstance(error, RuntimeError)
    full = full and "Failed to open" not in str(error)
    return "is the disk full?" if full else otherwise


JSON_BYTES = 8_000_000
"""Bytes that a JSON file may have at most: a checkpoint's index has 0.1 MB."""

TOKENIZER_BYTES = 64_000_000
"""The same for a tokenizer.json: the published one has 32 MB."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file to read.

    Raises:
        OSError: it can't be opened.
        ValueError: it is a device or a pipe.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  # whoever asked closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("a device or a pipe; give an ordinary file")
    return file


def read_limited(path: str | Path, most: int) -> bytes:
    """Read a regular file. Raise OSError or ValueError if it can't be read, or has more than `most` bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > most else file.read(most + 1)
    if max(len(data), size) > most:
        raise ValueError(f"more than the {most / 1e6:g} MB that it may have")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody to write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_given_json(
    path: str | Path, name: str, most: int = JSON_BYTES, *, pairs: Callable[[list[tuple[str, Any]]], Any] = dict
) -> Any:
    """The JSON in a file that somebody gave, of at most `most` bytes; errors call it by `name`.

    `pairs` makes the value of an object, and may raise ValueError. Raises GemmaError if there is no JSON in it.
    """
    if not str(path).strip():
        raise GemmaError("the name of a JSON file is missing; give one")
    try:
        return json.loads(decode(read_limited(Path(path).expanduser(), most)), object_pairs_hook=pairs)
    except FileNotFoundError:
        raise GemmaError(f"{name}: there is no such file") from None
    except (OSError, ValueError, RecursionError, RuntimeError) as error:  # the last where there is no home folder
        raise GemmaError(f"{name}: not a readable JSON file ({system_reason(error)})") from None


def read_json(path: Path, most: int = JSON_BYTES) -> dict[str, Any]:
    """The JSON object in a checkpoint's file. Raises GemmaError where there is none."""
    if not path.exists():
        where = f"{path.parent}: no {path.name} there"
        raise GemmaError(f"{where}; give the folder of a checkpoint, or a Hub repository's name")
    value = read_given_json(path, str(path), most)
    if not isinstance(value, dict):
        raise GemmaError(f"{path}: a JSON object is expected, not {type(value).__name__}")
    return value


LFS_POINTER = b"version https://git-lfs.github.com/spec"


def check_content(beginning: bytes) -> None:
    """Raises ValueError for the beginning of a Git LFS pointer, which a clone has in place of a large file."""
    if beginning.startswith(LFS_POINTER):
        raise ValueError("only a Git LFS pointer to it; run git lfs pull there")


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or what a byte order mark at its beginning says. Raises ValueError."""
    check_content(data)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")
