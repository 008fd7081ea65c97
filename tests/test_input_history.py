"""The lines of earlier chats: one's own, whole, and kept by several chats at once."""

import os
import stat
from pathlib import Path

import pytest

from gemma4_mlx.commands import input_history
from gemma4_mlx.commands.input_history import InputHistory, history_file


def entries(path: Path) -> list[str]:
    """The oldest first."""
    return list(InputHistory(path).load_history_strings())[::-1]


@pytest.mark.parametrize(
    ("environment", "platform", "path"),
    [
        ({}, "linux", "{}/.local/state/gemma4_mlx/chat_history"),
        ({}, "darwin", "{}/Library/Application Support/gemma4_mlx/chat_history"),
        ({"XDG_STATE_HOME": "/state"}, "linux", "/state/gemma4_mlx/chat_history"),
        ({"XDG_STATE_HOME": "/state"}, "darwin", "/state/gemma4_mlx/chat_history"),
        ({"XDG_STATE_HOME": "not/absolute"}, "linux", "{}/.local/state/gemma4_mlx/chat_history"),
        ({"XDG_STATE_HOME": ""}, "linux", "{}/.local/state/gemma4_mlx/chat_history"),
    ],
)
def test_where_it_lies(
    environment: dict[str, str], platform: str, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"HOME": str(tmp_path), "XDG_STATE_HOME": "", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert str(history_file()) == path.replace("{}", str(tmp_path))


def test_lines_are_kept_for_the_next_chat_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "state" / "chat_history"
    history = InputHistory(path)
    for line in ("one", "two\nlines", "+three", "# é 日本", "\udcff"):
        history.store_string(line)
    assert entries(path) == ["one", "two\nlines", "+three", "# é 日本", "?"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "h").touch(mode=0o644)
    InputHistory(tmp_path / "h")
    assert stat.S_IMODE((tmp_path / "h").stat().st_mode) == 0o600


def test_several_chats_keep_all_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h"
    chats = [InputHistory(path) for _ in range(3)]
    for number in range(30):
        chats[number % 3].store_string(f"line {number}")
    monkeypatch.setattr(input_history, "MOST_BYTES", 200)
    monkeypatch.setattr(input_history, "KEPT_BYTES", 100)
    InputHistory(path)  # cuts the file that the others have in use
    chats[0].store_string("after")
    kept = entries(path)
    assert kept[-3:] == ["line 28", "line 29", "after"]
    assert kept == [f"line {number}" for number in range(30 - len(kept) + 1, 30)] + ["after"]
    assert len(kept) > 5
    assert [child.name for child in tmp_path.iterdir()] == ["h"]


@pytest.mark.parametrize("kind", ["folder", "below a file", "pipe", "no home"])
def test_a_chat_goes_on_without_its_history(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "h"
    if kind == "folder":
        path.mkdir()
    elif kind == "no home":
        path = Path("~/h")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        path = path / "below"
    history = InputHistory(path)
    history.store_string("one")
    history.store_string("two")
    assert list(history.load_history_strings()) == []
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "lines are not kept for later chats"
    ]
