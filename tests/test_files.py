"""Files are written whole or not at all, under names that nobody can foresee, and read by nobody else."""

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from filelock import FileLock

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.files import (
    byte_text,
    check_writable,
    cure,
    read_given_json,
    refused_locks_as_missing,
    try_lock,
    write_atomically,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def bits(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_bytes_and_what_a_function_writes(tmp_path: Path) -> None:
    assert write_atomically(tmp_path / "a", "caf\u00e9") == tmp_path.resolve() / "a"
    write_atomically(tmp_path / "b", b"\xff")
    write_atomically(
        tmp_path / "c", lambda part: mx.save_safetensors(str(part), {"x": mx.ones(3)}), ending=".safetensors"
    )
    assert (tmp_path / "a").read_bytes() == b"caf\xc3\xa9"
    assert (tmp_path / "b").read_bytes() == b"\xff"
    assert mx.load(str(tmp_path / "c"), format="safetensors")["x"].tolist() == [1, 1, 1]
    assert names(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize(("private", "expected"), [(True, 0o600), (False, 0o644)])
def test_a_new_file_is_ones_own_if_it_is_private(tmp_path: Path, private: bool, expected: int) -> None:
    write_atomically(tmp_path / "a", "new", private=private)
    assert bits(tmp_path / "a") == expected


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o700])
@pytest.mark.parametrize("private", [True, False])
def test_an_existing_file_keeps_its_permissions(tmp_path: Path, mode: int, private: bool) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)
    write_atomically(tmp_path / "a", "new", private=private)
    assert (bits(tmp_path / "a"), (tmp_path / "a").read_text()) == (mode, "new")


def test_while_it_is_written_nobody_else_reads_it_and_its_name_is_new_each_time(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def write(part: Path) -> None:
        part.write_text("new")
        seen.append((part.name, bits(part)))

    for _ in range(3):
        write_atomically(tmp_path / "a", write)
    assert {mode for _, mode in seen} == {0o600}
    assert len({name for name, _ in seen}) == 3


def test_the_users_own_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "victim")


def _broken_link(path: Path) -> None:
    path.symlink_to("/nowhere")


@pytest.mark.parametrize("plant", [_link, _broken_link, os.mkfifo, os.mkdir], ids=["link", "broken", "pipe", "folder"])
def test_what_somebody_planted_is_neither_followed_nor_removed(tmp_path: Path, plant: object) -> None:
    (tmp_path / "victim").write_text("mine")
    assert callable(plant)
    for name in (f".a.{os.getpid()}", f".a.{os.getpid()}.safetensors", ".gemma4_mlx-1.part"):
        plant(tmp_path / name)
    before = names(tmp_path)
    write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert names(tmp_path) == sorted([*before, "a"])


KILLED = """
import os, sys, time
from gemma4_mlx.files import refused_locks_as_missing, try_lock, write_atomically
def write(part):
    part.write_bytes(b"0" * 100_000)
    print("writing", flush=True)
    time.sleep(60)
write_atomically(sys.argv[1], write)
"""


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / name], stdout=subprocess.PIPE, cwd=ROOT)
        for name in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
    write_atomically(tmp_path / "c", "new")
    assert len(names(tmp_path)) == 3
    writers[0].kill()
    writers[0].wait()
    write_atomically(tmp_path / "c", "new")
    left = names(tmp_path)
    writers[1].send_signal(signal.SIGINT)  # an interrupt cleans up by itself
    writers[1].wait()
    assert len(left) == 2
    assert names(tmp_path) == ["c"]


def test_files_of_other_names_are_not_swept(tmp_path: Path) -> None:
    others = [".a.123", ".gemma4_mlx", "gemma4_mlx-1.part", ".gemma4_mlx-notes", "a.part"]
    for name in others:
        (tmp_path / name).write_text("somebody's")
        os.utime(tmp_path / name, (time.time() - 1e6,) * 2)
    write_atomically(tmp_path / "a", "new")
    assert names(tmp_path) == sorted([*others, "a"])


def _full(part: Path) -> None:
    part.write_text("some of it")
    raise OSError(28, "No space left on device")


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a", _full, r"a: can't be written \(.*No space left on device\); is the disk full\?$"),
        ("a", lambda _: _raise(RuntimeError("no")), r"a: can't be written \(no\); is the disk full\?$"),
        ("a", lambda _: _raise(GemmaError("said already")), "^said already$"),
        ("none/a", "new", "none/a: not written, as there is no folder .*none; make it first$"),
        ("folder", "new", r"folder: can't be written \(.*it is a folder\); choose another name or place$"),
        ("pipe", "new", r"pipe: can't be written \(.*it is a device or a pipe\); choose another name or place$"),
        ("loop", "new", r"loop: can't be written \(.*\); choose another name or place$"),
        ("x" * 300, "new", r"x: can't be written \(.*too long.*\); choose another name or place$"),
        ("a\0b", "new", "can't be written"),
    ],
)  # fmt: skip
def test_what_can_not_be_written_is_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, content: object, line: str
) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = names(tmp_path)
    with pytest.raises(GemmaError, match=line) as error:
        write_atomically(tmp_path / name, content)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert names(tmp_path) == before
    assert (tmp_path / "a").read_text() == "old"


def test_devices_are_never_replaced() -> None:
    with pytest.raises(GemmaError, match="it is a device or a pipe"):
        write_atomically("/dev/null", "new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("x" * 255), "new")
    assert names(tmp_path) == ["x" * 255]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_write_protected_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(GemmaError, match="write-protected"):
        write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"


REFUSED = ("ENOTSUP", "EOPNOTSUPP", "ENOLCK", "ENOSYS", "EBADF", "EINVAL")
"""What `flock` says on volumes of SMB, AFP, NFS and FUSE that know no locks, by system and version."""


@pytest.fixture(params=REFUSED)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(errno, request.param)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_a_volume_without_locks_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert caplog.messages == []
    with (tmp_path / "a").open() as file:
        assert try_lock(file.fileno(), "a")
    (said,) = caplog.messages
    assert said.startswith("a: this volume can't lock files (")


@pytest.mark.usefixtures("no_locks")
def test_a_download_goes_on_where_nothing_can_be_locked(tmp_path: Path) -> None:
    refuse = fcntl.flock
    lock, said = FileLock(tmp_path / "lock", timeout=1), pytest.warns(UserWarning, match="flock not supported")
    with refused_locks_as_missing(), said, lock:
        (tmp_path / "model").touch()
    assert fcntl.flock is refuse


def test_a_lock_that_another_one_holds_is_told_from_none(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as first, (tmp_path / "a").open() as second, refused_locks_as_missing():
        assert try_lock(first.fileno(), "a")
        assert not try_lock(second.fileno(), "a")
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("folder", r"folder: can't be written \(.*it is a folder\); choose another name or place$"),
        ("pipe", r"pipe: can't be written \(.*it is a device or a pipe\); choose another name or place$"),
        ("none/a", "none/a: there is no folder .*none; make it first$"),
        ("/proc/a", r"/proc/a: can't be written \([A-Z][a-z ]+\); choose another name or place$"),
        ("a\0b", "can't be written"),
    ],
)
def test_what_will_not_be_writable_is_found_out_before(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GemmaError, match=line):
        check_writable(tmp_path / name)
    assert names(tmp_path) == ["folder", "pipe"]


def test_room_for_a_file_is_found_out_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    check_writable(tmp_path / "a", 1000)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))
    check_writable(tmp_path / "a", 5_000_000)
    with pytest.raises(GemmaError, match="a: 7 MB are needed there, and 5 MB are free; make room, or give another"):
        check_writable(tmp_path / "a", 7_000_000)
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "is the disk full?"),
        (OSError(122, "Disk quota exceeded"), "is the disk full?"),
        (RuntimeError("[write] Unable to write 12 bytes to file."), "is the disk full?"),
        (RuntimeError("[save_safetensors] Failed to open file x"), "choose another name or place"),
        (PermissionError(13, "Permission denied"), "choose another name or place"),
        (OSError(30, "Read-only file system"), "choose another name or place"),
    ],
)
def test_a_full_disk_is_asked_for_if_it_can_be_one(error: Exception, said: str) -> None:
    assert cure(error) == said


@pytest.mark.parametrize(
    ("count", "text", "up"),
    [
        (0, "0 bytes", "0 bytes"),
        (999, "999 bytes", "999 bytes"),
        (1_500, "1 kB", "2 kB"),
        (2_500_000, "2 MB", "3 MB"),
        (7_312_345_678, "7.31 GB", "7.32 GB"),
    ],
)
def test_bytes_in_the_unit_that_shows_them(count: int, text: str, up: str) -> None:
    assert (byte_text(count), byte_text(count, up=True)) == (text, up)


def test_a_name_that_is_empty_is_no_folder() -> None:
    for fails in (lambda: check_writable(""), lambda: write_atomically(" ", "x"), lambda: read_given_json("", "x")):
        with pytest.raises(GemmaError, match=r"the name of a (JSON )?file is (empty|missing); give one"):
            fails()
