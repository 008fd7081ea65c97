"""What a line of a chat asks for, and how lines become messages."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx import api
from gemma4_mlx.commands import conversation
from gemma4_mlx.commands.line_input import read_message
from gemma4_mlx.commands.slash import Call, Dropped, Question, parse
from gemma4_mlx.errors import GemmaError

pytest_plugins = ["chatting"]
Talk = Callable[..., tuple[list[str], str]]

# {} is a folder with "a b.png", "c.WAV", "f.mov", "notes" and "n.txt"
LINES = [
    ("Hello", Question("Hello")),
    ("  /exit ", Question("/exit")),
    ("", Question("")),
    ("/exit", Call("/exit", "")),
    ("/Think  ON ", Call("/think", "ON")),
    ("/system Be brief.\nAnd kind.", Call("/system", "Be brief.\nAnd kind.")),
    ("/", Call("/", "")),
    ("/nonsense of a.png", Call("/nonsense", "of a.png")),
    ("/image {}/a b.png", Call("/image", "{}/a b.png")),
    ("/quit", Call("/exit", "")),
    ("/BYE", Call("/exit", "")),
    ("/new", Call("/clear", "")),
    ("/?", Call("/help", "")),
    ("exit", Call("/exit", "")),
    ("Quit ", Call("/exit", "")),
    ("quit()", Call("/exit", "")),
    (" exit", Question("exit")),
    ("exit the loop", Question("exit the loop")),
    ("{}/a b.png", Dropped((("image", "{}/a b.png"),))),
    ("{}/a\\ b.png ", Dropped((("image", "{}/a b.png"),))),
    ("'{}/a b.png' {}/c.WAV", Dropped((("image", "{}/a b.png"), ("audio", "{}/c.WAV")))),
    ("{}/a\\ b.png\n{}/c.WAV\n", Dropped((("image", "{}/a b.png"), ("audio", "{}/c.WAV")))),
    ("file://{}/a%20b.png", Dropped((("image", "{}/a b.png"),))),
    ('"{}/f.mov"', Dropped((("video", "{}/f.mov"),))),
    ("https://example.org/a.png?size=2", Dropped((("image", "https://example.org/a.png?size=2"),))),
    ("see https://example.org/a.png", Question("see https://example.org/a.png")),
    ("see {}/c.WAV", Question("see c.WAV", (("audio", "{}/c.WAV"),))),
    ("see {}/c.WAV and {}/c.WAV", Question("see c.WAV and c.WAV", (("audio", "{}/c.WAV"),))),
    ("{}/a b.png what is it?", Question("a b.png what is it?", (("image", "{}/a b.png"),))),
    ("don't", Question("don't")),
]


def in_folder(value: Any, folder: Path) -> Any:
    """The value with the folder's name in its texts."""
    if isinstance(value, str):
        return value.replace("{}", str(folder))
    if isinstance(value, tuple):
        return tuple(in_folder(part, folder) for part in value)
    return type(value)(*(in_folder(getattr(value, name), folder) for name in value.__slots__))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    heads = {"a b.png": b"\x89PNG\r\n\x1a\n", "c.WAV": b"RIFF....WAVE", "f.mov": b"\0\0\0\x14ftypqt  ", "notes": b""}
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head)
    (tmp_path / "n.txt").write_text("words")
    return tmp_path


@pytest.mark.parametrize(("line", "meaning"), LINES)
def test_what_a_line_asks_for(line: str, meaning: Any, folder: Path) -> None:
    assert parse(in_folder(line, folder)) == in_folder(meaning, folder)


# (a line that holds nothing but a path, what is said of it)
REFUSED = [
    ("{}/none.png", "{}/none.png: there is no such file"),
    ("'{}/no such.png'", "{}/no such.png: there is no such file"),
    ("{}/no such.png", "{}/no such.png: there is no such file"),
    ("{}/a\\ c.png", "{}/a c.png: there is no such file; did you mean {}/a b.png?"),
    ("file://{}/a%20c.png", "{}/a c.png: there is no such file; did you mean {}/a b.png?"),
    ("none.png", "none.png: there is no such file"),
    ("~/none-of-it.mp4", "~/none-of-it.mp4: there is no such file"),
    ("./none-of-it", "./none-of-it: there is no such file"),
    ("/none.png", "/none.png: there is no such file"),
    ("{}/a\\ b.png {}/none.png", "{}/none.png: there is no such file"),
    ("{}", "{}: is a folder; /image, /audio or /video attaches the files in it"),
    ("'{}/notes'", "{}/notes: is an empty file, not an image, audio or video"),
    ("{}/n.txt", "{}/n.txt: is a text file, not an image, audio or video"),
    ("/dev/null", "/dev/null: is a device or a pipe, not a file"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED)
def test_a_path_alone_on_a_line_that_cannot_be_attached(line: str, said: str, folder: Path) -> None:
    with pytest.raises(GemmaError) as error:
        parse(in_folder(line, folder))
    assert str(error.value) == in_folder(said, folder)


# (question, the paths that it names but that can't be attached)
UNREAD = [
    ("what is in {}/none.png?", ["{}/none.png"]),
    ("summarize {}/n.txt", ["{}/n.txt"]),
    ("what is in {} now", ["{}"]),
    ("what is in 'no such.png'?", ["no such.png"]),
    ("use *.png or a .png of node.js, e.g. 1.5 and/or 24/7", []),
]


@pytest.mark.parametrize(("line", "unread"), UNREAD)
def test_a_question_goes_without_what_cannot_be_attached(line: str, unread: list[str], folder: Path) -> None:
    asked = parse(in_folder(line, folder))
    assert isinstance(asked, Question)
    assert asked.files == ()
    assert [mention.path for mention in asked.unread] == [in_folder(path, folder) for path in unread]


# (a message that begins with a command, what is said of it in order)
MESSAGES = [
    ("/think on\\\n/set seed 3\\\n\\\n/think off", ["thinking is on", "seed is 3", "thinking is off"]),
    ("/set seed x\\\n/think on", ["error: seed", "thinking is on"]),
    ("/retry x", ["error: /retry takes nothing after it, so it was not done; a space before it makes it a question"]),
    ("/exit now\n/think on", ["error: /exit takes nothing after it, ", "thinking is on"]),
    ("/quit now", ["error: /exit takes nothing"]),
    ("/tokens\\\nWho are you?", ["error: /tokens takes nothing after it, "]),
    ("/think on\\\nWho are you?", ["error: /think ends with its line, and more lines follow: send them apart"]),
    ("/set seed 3\\\nWho are you?", ["error: /set ends with its line, "]),
    ("/system Be brief.\\\nBe kind.", ["from now on these are the instructions"]),
    ("/exit\\\n/tokens", []),
]


@pytest.mark.parametrize(("message", "said"), MESSAGES)
def test_nothing_after_a_command_is_dropped(
    talk: Talk, asked: list[dict[str, Any]], message: str, said: list[str]
) -> None:
    _, err = talk(message, code=int(any(line.startswith("error") for line in said)))
    lines = err.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True)), lines
    assert asked == []


def test_read_message_takes_one_line_or_more() -> None:
    lines = iter(["a\\", "b", "c"])
    prompts = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines)

    assert [read_message(read), read_message(read)] == ["a\nb", "c"]
    assert prompts == ["> ", ". ", "> "]


def test_a_picture_inside_a_question_is_attached_and_said(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    out, err = talk(f"What colour is the circle in '{photo}'?", "What shape is the object?")
    assert out == ["blue", "circle"]
    assert err == "attached: my photo.png\n"
    assert [part["type"] for part in asked[0]["messages"][0]["content"]] == ["image", "text"]
    assert asked[0]["messages"][0]["content"][1]["text"] == "What colour is the circle in my photo.png?"


def test_a_named_picture_that_gets_no_answer_is_not_attached_twice(
    talk: Talk, asked: list[dict[str, Any]], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, errors = api.stream_generate, [RuntimeError("full")]

    def run(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return stream(*args, **options)

    monkeypatch.setattr(api, "stream_generate", run)
    question = f"What colour is it? {photo}"
    talk(question, question, code=1)
    assert [part["type"] for part in asked[0]["messages"][0]["content"]] == ["image", "text"]


def test_a_mistyped_path_leaves_what_is_attached(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    mistyped = str(photo).replace("my photo", "my foto")
    out, err = talk(f"/image {photo}", mistyped, f"'{mistyped}'", str(photo.parent), "What colour is it?", code=1)
    assert out[0] == "blue"
    assert len(asked) == 1
    assert err.splitlines()[1:] == [
        *[f"error: {mistyped}: there is no such file; did you mean {photo}?"] * 2,
        f"error: {photo.parent}: is a folder; /image, /audio or /video attaches the files in it",
    ]


def test_a_file_that_may_not_be_read_is_told_so(talk: Talk, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo.chmod(0)
    monkeypatch.setattr("gemma4_mlx.media.kinds.kind_of", lambda path: None)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    _, err = talk(f"'{photo}'", code=1)
    assert err == f"error: {photo}: can't be read: permission denied\n"


def test_a_question_says_what_goes_without(talk: Talk, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    _, err = talk(f"Hello {tmp_path}/report.pdf and ~/none-of-it.mp3")
    assert err.splitlines() == [
        f"not attached: {tmp_path}/report.pdf: is a PDF document, not an image, audio or video: "
        "save its pages as images first",
        "not attached: ~/none-of-it.mp3: there is no such file",
    ]
    assert asked[0]["messages"][0]["content"] == f"Hello {tmp_path}/report.pdf and ~/none-of-it.mp3"


def test_a_script_does_not_overwrite_what_it_did_not_write(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text("mine")
    _, err = talk(
        "Hello", f"/save {tmp_path}/own.json", f"/save {tmp_path}/new.json", f"/save {tmp_path}/new.json", code=1
    )
    assert (tmp_path / "own.json").read_text() == "mine"
    lines = err.splitlines()
    refused = "not saved, as there is a file already; remove it first, or choose another name"
    assert lines[0] == f"error: {tmp_path}/own.json: {refused}"
    assert lines[1:] == [f"saved 2 messages in {tmp_path}/new.json"] * 2


def test_a_loaded_conversation_is_saved_where_it_came_from(talk: Talk, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    for name in ("old.json", "other.json"):
        (tmp_path / name).write_text(json.dumps(said))
    (tmp_path / "link.json").symlink_to("old.json")
    load, save = f"/load {tmp_path}/link.json", f"/save {tmp_path}/old.json"
    _, err = talk(load, "Hello", save, save, f"/save {tmp_path}/other.json", code=1)
    assert err.splitlines()[1:3] == [f"saved 4 messages in {tmp_path}/old.json"] * 2
    assert err.splitlines()[3].startswith(f"error: {tmp_path}/other.json: not saved")
    _, err = talk(load, "/clear", "Hello", save, code=1)
    assert f"error: {tmp_path}/old.json: not saved" in err
    assert len(json.loads((tmp_path / "old.json").read_text())) == 4


def test_what_another_program_wrote_there_meanwhile_is_not_overwritten(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = conversation.save, []

    def spoil(*args: Any) -> Path:
        saved.append(save(*args))
        return saved[-1]

    def stream(*args: Any, **options: Any) -> Any:
        for path in saved:
            path.write_text("theirs")
        return original(*args, **options)

    original = api.stream_generate
    monkeypatch.setattr(conversation, "save", spoil)
    monkeypatch.setattr(api, "stream_generate", stream)
    _, err = talk("Hello", f"/save {tmp_path}/a.json", "Hello", f"/save {tmp_path}/a.json", code=1)
    assert (tmp_path / "a.json").read_text() == "theirs"
    assert err.endswith("remove it first, or choose another name\n")


def test_a_question_may_follow_the_picture_of_a_command(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    out, err = talk(f"/image '{photo}' What colour is it?", f"/image '{photo}' none", code=1)
    assert out == ["blue"]
    assert err.splitlines() == ["attached: my photo.png", "error: none: no such file or directory"]
    assert asked[0]["messages"][0]["content"][1]["text"] == "What colour is it?"


@pytest.mark.parametrize(
    ("typed", "kept", "said"), [("y", False, "saved 2"), ("n", True, "not saved"), ("", True, "not")]
)
def test_a_terminal_is_asked_before_a_file_is_overwritten(
    talk: Talk, tmp_path: Path, typed: str, kept: bool, said: str
) -> None:
    (tmp_path / "own.json").write_text("mine")
    (tmp_path / "link.json").symlink_to("own.json")
    _, err = talk("Hello", f"/save {tmp_path}/link.json", typed, terminal=True)
    question, _, rest = err.partition("overwrite it? [y]es, [n]o: ")
    assert question == f"{tmp_path}/link.json is there already, and not from this chat; "
    assert rest.startswith(said)
    assert ((tmp_path / "own.json").read_text() == "mine") is kept


@pytest.mark.parametrize("end", ["exit", "quit", "/quit", "/bye", "/q", ":q"])
def test_ways_to_end_a_chat(talk: Talk, asked: list[dict[str, Any]], end: str) -> None:
    assert talk(end, "never said") == ([], "")
    assert asked == []


def test_a_mistyped_command_is_told_the_right_one(talk: Talk) -> None:
    _, err = talk("/imge x.png", code=1)
    assert err == "error: there is no /imge; did you mean /image? a space before it makes it a question\n"
    _, err = talk("/Nowhere/T/Photo.png", code=1)
    assert err == "error: /Nowhere/T/Photo.png: there is no such file\n"
    _, err = talk("/Nonsense", code=1)
    assert err.startswith("error: there is no /Nonsense; ")
    _, err = talk("/temp 0.3", code=1)
    assert err == "error: there is no /temp; did you mean /set temp? a space before it makes it a question\n"


def test_a_folder_or_a_pattern_attaches_its_pictures(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    (photo.parent / "notes.txt").write_text("words")
    talk(f"/image '{photo.parent}'", f"/image '{photo.parent}/*.png'", "/image -", "What colour is it?", code=1)
    assert [part["type"] for part in asked[0]["messages"][0]["content"]] == ["image", "image", "text"]


@pytest.mark.parametrize("word", ["*.png", ""])
def test_what_cannot_be_read_of_a_folder_or_pattern_is_left_out(
    talk: Talk, asked: list[dict[str, Any]], photo: Path, word: str
) -> None:
    cut = photo.parent / "a cut.png"
    cut.write_bytes(photo.read_bytes()[:30])
    _, err = talk(f"/image '{photo.parent}/{word}'", "What colour is it?")
    lines = err.splitlines()[1:]
    assert lines[0].startswith(f"left out: {cut}: ")
    assert lines[1:] == ["attached to the next question: my photo.png"]
    assert [part["type"] for part in asked[0]["messages"][0]["content"]] == ["image", "text"]


def test_a_named_file_that_cannot_be_read_attaches_nothing(talk: Talk, photo: Path) -> None:
    cut = photo.parent / "a cut.png"
    cut.write_bytes(photo.read_bytes()[:30])
    for paths in (f"'{photo}' '{cut}'", f"'{photo.parent}/*.png' '{cut}'"):
        _, err = talk(f"/image {paths}", "/detach", code=1)
        assert err.splitlines()[-2].startswith(f"error: {cut}: ")
        assert err.splitlines()[-1] == "error: nothing is attached"
    photo.unlink()
    _, err = talk(f"/image '{cut.parent}'", "/detach", code=1)
    assert err.splitlines()[1].startswith(f"error: {cut}: ")
    assert err.splitlines()[-1] == "error: nothing is attached"


def test_think_alone_tells_the_state(talk: Talk) -> None:
    _, err = talk("/think", "/think on", "/think")
    assert err.splitlines() == [
        "thinking is off; /think on or /think off changes it",
        "thinking is on",
        "thinking is on; /think on or /think off changes it",
    ]


def test_one_message_is_no_messages(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('[{"role": "user", "content": "Hello"}]')
    _, err = talk(f"/load {tmp_path}/one.json", f"/save {tmp_path}/two.json")
    assert err.splitlines() == [
        "1 message of one.json; it takes the place of what was said here",
        f"saved 1 message in {tmp_path}/two.json",
    ]
