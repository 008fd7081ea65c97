"""The files that a line of a chat names, in the ways that terminals and people write them."""

import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma4_mlx.commands.mentions import find_mentions, is_alone, split_paths

PNG = b"\x89PNG\r\n\x1a\n"
NAMES = [
    "photo.png",
    "my photo.png",
    "Bram's cube.png",
    "c.WAV",
    "IMG (1).jpg",
    "at 3.04.05\u202fPM.png",
    "été.png",
    "a&b;c.png",
    "dollar$1.png",
    'q"uote.png',
    "日本.png",
    "100%.png",
    "#1.png",
    "a,b.png",
    "[x].png",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("media")
    (made / "sub dir").mkdir()
    for name in (*NAMES, "sub dir/in.png", "notes", "IMG_0001", "3.14", "v1.0", unicodedata.normalize("NFD", "né.png")):
        (made / name).write_bytes(PNG)
    return made


def backslashed(path: str) -> str:
    """As Terminal.app, iTerm and Ghostty drop a file."""
    return "".join(c if c.isalnum() or c in "/._-\u202f" or not c.isascii() else f"\\{c}" for c in path)


def quoted(path: str) -> str:
    """As VS Code and GNOME drop it."""
    return "'" + path.replace("'", "'\\''") + "'"


def in_double_quotes(path: str) -> str:
    return '"' + path.replace('"', '\\"').replace("$", "\\$") + '"'


def address(path: str) -> str:
    return f"file://{quote(path)}"


def files(line: str) -> list[str]:
    return [mention.path for mention in find_mentions(line) if mention.state == "file"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("written", [str, backslashed, quoted, in_double_quotes, address])
def test_a_file_is_found_however_it_is_written(folder: Path, name: str, written: type[str]) -> None:
    path = f"{folder}/{name}"
    typed = written(path)
    for line in (typed, f"{typed} ", f"{typed}\n"):
        assert files(line) == [path]
        assert is_alone(line, find_mentions(line))
    for line in (f"what is in {typed}?", f"{typed} what is it", f"see {typed}, please"):
        assert files(line) == [path]
        assert not is_alone(line, find_mentions(line))


AROUND = ['"{}"', "“{}”", "‘{}’", "`{}`", "«{}»", "({})", "[{}]", "<{}>", "@{}", "{}.", "{}!", "{}:", "{}'s", "*{}*"]
WITHIN = [
    ("请描述{}/photo.png的内容", ["{}/photo.png"]),
    ("photo.pngは何ですか", ["photo.png"]),
    ("请描述photo.png的内容", ["photo.png"]),
    ("describe my photo.png", ["my photo.png"]),
    ("my photo.png", ["my photo.png"]),
    ("photo.png, c.WAV", ["photo.png", "c.WAV"]),
    ("photo.png,c.WAV", ["photo.png", "c.WAV"]),
    ("~/photo.png", ["~/photo.png"]),
    ("see ~/my\\ photo.png", ["~/my photo.png"]),
    ("./photo.png", ["./photo.png"]),
    ("what is in $HOME/photo.png?", ["{}/photo.png"]),
    ('"${HOME}/my photo.png"', ["{}/my photo.png"]),
    ("![the photo](photo.png)", ["photo.png"]),
    ('<img src="photo.png">', ["photo.png"]),
    ("file://{}/my%20photo.png\r\nfile://{}/c.WAV\r\n", ["{}/my photo.png", "{}/c.WAV"]),
    ("what is in 'sub dir/in.png'?", ["sub dir/in.png"]),
    ("sub dir/in.png", ["sub dir/in.png"]),
    ("what is in {}/IMG_0001?", ["{}/IMG_0001"]),
    ("what is in ./3.14", ["./3.14"]),
    ("né.png", [unicodedata.normalize("NFD", "né.png")]),
    ('don\'t you like "photo.png"?', ["photo.png"]),
    ("It's 'photo.png', isn't it?", ["photo.png"]),
    ("'{}/Bram's cube.png'", ["{}/Bram's cube.png"]),
    ("one\n'photo.png'\nthree", ["photo.png"]),
    ("file:{}/photo.png or file://localhost{}/c.WAV", ["{}/photo.png", "{}/c.WAV"]),
    *((f"What is {around.format('photo.png')} here", ["photo.png"]) for around in AROUND),
    *(
        (text, [])
        for text in (
            "what is 3.14 times 2?",
            "since v1.0",
            "3.14",
            "notes",
            "see notes",
            "don't",
            "and/or",
            "e.g. this",
            "https://example.org/photo.png",
        )
    ),
    *(
        (text, [])
        for text in ("see http://x/photo.png", "photo.pngx", "a .png file", "PHOTO", "*.png", "~", "..", "/s")
    ),
]


@pytest.mark.parametrize(("line", "found"), WITHIN)
def test_a_file_within_a_sentence(folder: Path, line: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    assert files(line.replace("{}", str(folder))) == [path.replace("{}", str(folder)) for path in found]


@pytest.mark.parametrize("part", ["a.png ", "word. ", "/x ", "'", "é.", "é/a", '"a ', "a.png", "日本語で。"])
def test_the_work_grows_with_the_text(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr("gemma4_mlx.commands.mentions._state", lambda path: tried.append(len(path)) or "missing")
    find_mentions(part * 500)
    assert len(tried) <= 20 * 500
    assert max(tried, default=0) <= 2 * 1024


@given(st.lists(st.text("ab '\"\\$", min_size=1), min_size=1, max_size=3))
def test_escaped_paths_come_back(names: list[str]) -> None:
    wanted = [f"/none/{name}" for name in names]
    typed = " ".join("".join(f"\\{c}" if c in " '\"\\$" else c for c in path) for path in wanted)
    assert split_paths(typed) == wanted
