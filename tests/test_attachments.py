"""What --image, --audio and --video take: several words, patterns, folders, and in which order it comes."""

import argparse
import base64
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from media.media_files import image_bytes, picture, tone, video_bytes, wav_bytes

from gemma4_mlx.commands import attachments
from gemma4_mlx.commands.attachments import add_attachments, check_count, expand, find_media, natural_key
from gemma4_mlx.commands.generate import main, make_parser, messages
from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.prompt.processor import MediaOptions

PICTURE = picture(16, 16)
PNG = image_bytes(PICTURE, "PNG")
WAV = wav_bytes(tone(0.1))
FILES = {
    "photos/img10.png": PNG,
    "photos/img2.png": PNG,
    "photos/IMG1.PNG": PNG,
    "photos/cover.jpg": image_bytes(picture(16, 16), "JPEG"),
    "photos/.hidden.png": PNG,
    "photos/._img2.png": b"\0\5\x16\7",
    "photos/notes.txt": b"Notes.",
    "photos/note.wav": WAV,
    "photos/sub/deep.png": PNG,
    "one/only.png": PNG,
    "texts/a.txt": b"A.",
    "empty/.keep": b"",
    "a[1].png": PNG,
    "b c.png": PNG,
    "song.wav": WAV,
    "film.mp4": video_bytes(2),
    "films/b.mp4": video_bytes(2),
    "films/moving.gif": image_bytes(PICTURE, "GIF", save_all=True, append_images=[picture(16, 16, 1)]),
    "films/still.gif": image_bytes(PICTURE, "GIF"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompt", "-p")
    add_attachments(parser, parser)
    return parser.parse_args(words)


IN_ORDER = ["cover.jpg", "IMG1.PNG", "img2.png", "img10.png"]
LEFT_OUT = "left out: note.wav (a WAV audio file), notes.txt (a text file), sub (a folder)"
NAMED = "cover.jpg, IMG1.PNG ... img10.png"
# (kind, word, the files, the notes)
WORDS: list[tuple[Any, str, list[str], list[str]]] = [
    ("image", "b c.png", ["b c.png"], []),
    ("image", "a[1].png", ["a[1].png"], []),
    ("image", "a[[]1].png", ["a[1].png"], ["a[[]1].png: 1 image: a[1].png"]),
    ("image", "./photos/img2.png", ["./photos/img2.png"], []),
    ("image", "~/photos/img2.png", ["~/photos/img2.png"], []),
    ("image", "photos", [f"photos/{name}" for name in IN_ORDER], [f"photos: 4 images: {NAMED}; {LEFT_OUT}"]),
    ("image", "photos/", [f"photos/{name}" for name in IN_ORDER], [f"photos/: 4 images: {NAMED}; {LEFT_OUT}"]),
    ("image", "photos/*", [f"photos/{name}" for name in IN_ORDER], [f"photos/*: 4 images: {NAMED}; {LEFT_OUT}"]),
    (
        "image", "photos/i*.png", ["photos/img2.png", "photos/img10.png"],
        ["photos/i*.png: 2 images: img2.png, img10.png"],
    ),
    ("image", "photos/img?.png", ["photos/img2.png"], ["photos/img?.png: 1 image: img2.png"]),
    ("image", "*/only.png", ["one/only.png"], ["*/only.png: 1 image: only.png"]),
    ("image", "**/deep.png", ["photos/sub/deep.png"], ["**/deep.png: 1 image: deep.png"]),
    ("image", "one", ["one/only.png"], ["one: 1 image: only.png"]),
    (
        "audio",
        "photos",
        ["photos/note.wav"],
        ["photos: 1 audio file: note.wav; left out: cover.jpg (a JPEG image), IMG1.PNG (a PNG image), "
         "img2.png (a PNG image) and 3 more"],
    ),
    (
        "video", "films", ["films/b.mp4", "films/moving.gif"],
        ["films: 2 videos: b.mp4, moving.gif; left out: still.gif (a GIF image)"],
    ),
    ("image", "films", ["films/moving.gif", "films/still.gif"],
     ["films: 2 images: moving.gif, still.gif; left out: b.mp4 (an MP4 file)"]),
    ("video", "*.mp4", ["film.mp4"], ["*.mp4: 1 video: film.mp4"]),
    ("image", "https://host/*.png?x=[1]", ["https://host/*.png?x=[1]"], []),
    ("image", "data:image/png;base64,AA*", ["data:image/png;base64,AA*"], []),
    ("image", "FILE:///x*.png", ["FILE:///x*.png"], []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "word", "files", "notes"), WORDS)
def test_what_a_word_stands_for(
    kind: Any, word: str, files: list[str], notes: list[str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert expand(kind, word) == files
    assert [record.getMessage() for record in caplog.records] == notes


@pytest.mark.parametrize(
    ("kind", "word", "line"),
    [
        ("image", "b d.png", "b d.png: no such file or directory; did you mean b c.png?"),
        ("image", "", "an empty path was given for a media file"),
        ("image", "*.gif", "*.gif: no file matches this pattern"),
        ("image", "nowhere/*.png", "nowhere/*.png: no file matches this pattern"),
        ("image", "texts", "texts: the folder has no images; it has: a.txt (a text file)"),
        ("image", "texts/*", "texts/*: the pattern matches no images; it has: a.txt (a text file)"),
        ("image", "empty", "empty: the folder has no images"),
        ("video", "one", "one: the folder has no videos; it has: only.png (a PNG image)"),
    ],
)
def test_words_that_stand_for_nothing(kind: Any, word: str, line: str, folder: Path) -> None:
    with pytest.raises(GemmaError) as caught:
        expand(kind, word)
    assert str(caught.value) == line


def test_the_order_of_the_command_line_is_kept(folder: Path) -> None:
    args = parsed("--video", "film.mp4", "--image", "b c.png", "one", "--audio", "song.wav", "--image=a[1].png")
    wanted = [("video", "film.mp4"), ("image", "b c.png"), ("image", "one/only.png"), ("audio", "song.wav"),
              ("image", "a[1].png")]  # fmt: skip
    assert find_media(args) == wanted
    assert find_media(args) == wanted
    assert (args.image, args.audio, args.video) == (["b c.png", "one", "a[1].png"], ["song.wav"], ["film.mp4"])
    assert find_media(parsed("-p", "x")) == []
    assert parsed("-p", "x").image == []


def test_images_and_videos_stand_in_the_message_in_their_order(folder: Path) -> None:
    args = make_parser().parse_args(
        ["-p", "What?", "--audio", "song.wav", "--video", "film.mp4", "--image", "b c.png", "--video", "film.mp4"]
    )
    (message,) = messages(args, MediaOptions())
    assert [part["type"] for part in message["content"]] == ["video", "image", "video", "text", "audio"]


def test_names_sort_as_people_count() -> None:
    names = ["b", "a10", "A2", "a1b10", "a1b9", "7", "a01", "a1", "10", "äb", "ab"]
    assert sorted(names, key=natural_key) == ["7", "10", "a01", "a1", "a1b9", "a1b10", "A2", "a10", "ab", "äb", "b"]


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_under_all_its_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(PNG))
    monkeypatch.setattr("sys.stdin", stdin)
    assert find_media(parsed("--image", name)) == [("image", stdin.buffer)]


def test_a_terminal_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(UsageError, match="which is a terminal here: pipe the file in, or name it"):
        find_media(parsed("--image", "-"))


STRAY = "is no file, and --image takes every word that follows it; write the question before --image, after -- or after"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--image", "*.png", "Describe"], f"no prompt: 'Describe' {STRAY} --prompt"),
        (["--image", "one/only.png"], "no prompt: give --prompt TEXT, or --prompt - to read it from standard input"),
        (["--image", "*.png"], "no prompt: give --prompt TEXT, or --prompt - to read it from standard input"),
    ],
)
def test_a_question_among_the_files(
    words: list[str], line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_a_wrong_path_is_told_before_a_model_is_looked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-p", "x", "--model", "/nowhere", "--image", "b d.png"]) == 1
    assert capsys.readouterr().err == "error: b d.png: no such file or directory; did you mean b c.png?\n"


def test_more_files_than_any_context_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "_MOST_FILES", 3)
    with pytest.raises(UsageError, match="photos: 4 files are more than any context holds: give some of them"):
        expand("image", "photos")


MEDIA = {"image": PNG, "audio": WAV, "video": FILES["film.mp4"]}


@pytest.mark.parametrize("kind", MEDIA)
@pytest.mark.parametrize("way", ["-", "/dev/stdin", "/dev/fd", "pipe", "file:", "data:"])
def test_every_kind_on_the_command_line(kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pipe = tmp_path / "a.bin", tmp_path / "pipe"
    path.write_bytes(MEDIA[kind])
    os.mkfifo(pipe)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(MEDIA[kind])))
    if way == "pipe":
        threading.Thread(target=pipe.write_bytes, args=(MEDIA[kind],), daemon=True).start()
    with path.open("rb") as file:
        words = {
            "/dev/fd": f"/dev/fd/{file.fileno()}",
            "pipe": str(pipe),
            "file:": path.as_uri(),
            "data:": "data:;base64," + base64.b64encode(MEDIA[kind]).decode(),
        }
        args = make_parser().parse_args(["-p", "What?", f"--{kind}", words.get(way, way)])
        (message,) = messages(args, MediaOptions())
    (media,) = [part[kind] for part in message["content"] if part["type"] == kind]
    assert len(media.frames if kind == "video" else media) == {"image": 256, "audio": 1, "video": 2}[kind]


def test_more_images_than_the_context_holds() -> None:
    check_count([("image", "a")] * 1_800, MediaOptions())
    with pytest.raises(UsageError, match="2000 images of 280 tokens are more than the 262144 of the context"):
        check_count([("image", "a")] * 2_000, MediaOptions())
