"""What a mistyped path probably means."""

from pathlib import Path

import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.near import near_names, near_path
from gemma4_mlx.media.sources import read_source

NAMES = ["photo.png", "Holiday Photo.JPG", "a b.wav", ".hidden.png", "notes.txt", "Bäume.png"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("phto.png", "photo.png"),
        ("photo.jpg", "photo.png"),
        ("photo", "photo.png"),
        ("Photo.PNG", "photo.png"),
        ("photos.png", "photo.png"),
        ("holiday photo.jpg", "Holiday Photo.JPG"),
        ("./phto.png", "photo.png"),
        ("~/phto.png", "~/photo.png"),
        ("picture/one.png", "pictures/one.png"),
        ("pictures/on.png", "pictures/one.png"),
        ("picture/on.png", None),
        ("'photo.png'", "photo.png"),
        ("\u201cphoto.png\u201d", "photo.png"),
        ("photo.png ", "photo.png"),
        ("a\\ b.wav", "a b.wav"),
        ("Ba\u0308ume.png", "Bäume.png"),
        ("hidden.png", None),
        ("www.example.org/a.png", "https://www.example.org/a.png"),
        ("www.png", None),
        ("What is in this picture?", None),
        ("", None),
        ("a\0b", None),
        ("x" * 5000, None),
        ("photo.png/x", None),
    ],
)
def test_near_paths(given: str, meant: str | None, folder: Path) -> None:
    assert near_path(given) == meant


def test_the_nearest_comes_first() -> None:
    assert near_names("img.png", ["imgs.png", "image.png", "img.jpg", "IMG.PNG"]) == [
        "IMG.PNG",
        "img.jpg",
        "imgs.png",
        "image.png",
    ]
    assert near_names("a.png", []) == []


def test_an_error_asks_whether_it_was_meant(folder: Path) -> None:
    with pytest.raises(GemmaError) as caught:
        read_source("phto.png")
    assert str(caught.value) == "phto.png: no such file or directory; did you mean photo.png?"
    with pytest.raises(GemmaError) as caught:
        read_source(folder / "other.mp3")
    assert str(caught.value) == f"{folder}/other.mp3: no such file or directory"
