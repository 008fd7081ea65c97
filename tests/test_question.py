"""What is asked, in all the forms that a shell can give it."""

import argparse
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.commands import question
from gemma4_mlx.commands.common import parse
from gemma4_mlx.commands.generate import main, make_parser
from gemma4_mlx.commands.question import out_of_file, read_question, reads_stdin, settle_question
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.errors import GemmaError, UsageError

ROOT = Path(__file__).resolve().parent.parent
NO_PROMPT = "no prompt: give --prompt TEXT, or --prompt - to read it from standard input"
EMPTY = "the prompt is empty, and there is no image, audio or video: ask something"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files to ask about, in the working folder; nothing at standard input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(question, "PATIENCE", 0.05)
    files = {"q.txt": b"Why?\n", "bom.txt": b"\xef\xbb\xbfWhy?", "wide.txt": "Why?".encode("utf-16"), "empty": b" \n"}
    files |= {"latin.txt": b"caf\xe9", "photo.png": b"\x89PNG\r\n", "What is it?": b"", "notes": b""}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield tmp_path


def asked(*argv: str) -> argparse.Namespace:
    args = parse(make_parser(), argv)
    settle_question(args)
    read_question(args, Terminal(show_thought=False), stdin_is_free=not reads_stdin(args.prompt))
    return args


def pipe_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("argv", "prompt"),
    [
        (["What is 2+2?"], "What is 2+2?"),
        (["What", "is", "2+2"], "What is 2+2"),
        (["--temp", "0", "What?"], "What?"),
        (["What?", "--temp", "0"], "What?"),
        (["--json", "What", "--temp", "0", "is it"], "What is it"),
        (["--temp", "-1", "--", "-5", "--json"], "-5 --json"),
        (["-p", "- one\n- two"], "- one\n- two"),
        (["-p", "@q.txt"], "Why?"),
        (["@q.txt"], "Why?"),
        (["-p", "@bom.txt"], "Why?"),
        (["-p", "@wide.txt"], "Why?"),
        (["-p", "@@q.txt"], "@q.txt"),
        (["-p", "\\@q.txt"], "@q.txt"),
        (["-p", "me@q.txt"], "me@q.txt"),
        (["what", "is", "in", "notes"], "what is in notes"),
    ],
)
def test_a_question_in_any_form(argv: list[str], prompt: str) -> None:
    assert asked(*argv).prompt == prompt


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], NO_PROMPT),
        (["-p", ""], EMPTY),
        (["-p", " \n\t"], EMPTY),
        ([""], EMPTY),
        (["-p", "-"], EMPTY),
        (["-p", "-", "--image", "photo.png"], "standard input brought no question; --prompt '' asks none on purpose"),
        (["-p", "@empty"], "--prompt @empty: the file is empty; write the text into it"),
        (["-p", "@empty", "--image", "photo.png"], "--prompt @empty: the file is empty;"),
        (["-p", "@nobody"], "--prompt @nobody: there is no such file; @@nobody is a question that begins with an @"),
        (["-p", "@."], "--prompt @.: it is a folder; give another file"),
        (["-p", "@"], "--prompt @: a name must follow; @@ is"),
        (["-p", "@latin.txt"], "latin.txt is not UTF-8 text; media go to --image, --audio or --video, and iconv"),
        (["-p", "x", "y"], "two questions, --prompt 'x' and 'y': leave one out, or put quotes around both"),
        (["photo.png"], "photo.png is a file: give it to --image, --audio or --video; @photo.png asks what is written"),
        (["photo.png", "What is it?"], "photo.png is a file: give it to --image"),
        (["notes"], "notes is a file: give it to"),
    ],
)
def test_what_is_no_question_says_what_to_do(argv: list[str], line: str) -> None:
    with pytest.raises(GemmaError) as error:
        asked(*argv)
    assert str(error.value).startswith(line)


def test_media_may_speak_for_themselves() -> None:
    assert asked("-p", "", "--image", "photo.png").prompt == ""


@pytest.mark.parametrize(
    ("sources", "left", "found"),
    [
        (["photo.png", "Describe it, please"], ["photo.png"], "Describe it, please"),
        (["photo.png", "Why?"], ["photo.png"], "Why?"),
        (["photo.png", "\u3053\u308c\u306f\u4f55\uff1f"], ["photo.png"], "\u3053\u308c\u306f\u4f55\uff1f"),
        (["Which is first?", "a.png", "b.png"], ["a.png", "b.png"], "Which is first?"),
        (["Describe it, please"], ["Describe it, please"], None),  # then the image is missing
        (["photo.png", "What is it?"], ["photo.png", "What is it?"], None),  # a file is called so
        (["photo.png", "my holiday.png"], ["photo.png", "my holiday.png"], None),
        (["photo.png", "describe"], ["photo.png", "describe"], None),
        (["photo.png", "https://a.b/what is it?"], ["photo.png", "https://a.b/what is it?"], None),
        (["photo.png", "my pictures/*"], ["photo.png", "my pictures/*"], None),
        (["Why so?", "Or how?"], ["Why so?", "Or how?"], None),
    ],
)
def test_a_question_that_an_option_took_for_a_file(sources: list[str], left: list[str], found: str | None) -> None:
    args = argparse.Namespace(words=[], prompt=None, image=sources, media=[("image", source) for source in sources])
    settle_question(args)
    assert (args.image, args.media, args.prompt) == (left, [("image", source) for source in left], found)
    media = [("image", "photo.png"), ("image", "Why?")]
    args = argparse.Namespace(words=[], prompt="Asked", image=["photo.png", "Why?"], media=list(media))
    settle_question(args)
    assert args.media == media


@pytest.mark.parametrize(
    ("data", "argv", "prompt"),
    [
        (b"line 1\nline 2\n", ["-p", "What failed?"], "line 1\nline 2\n\nWhat failed?"),
        (b"\n  indented\n", ["What failed?"], "  indented\n\nWhat failed?"),
        (b"a\r\nb\r\n", ["-p", "@q.txt"], "a\r\nb\n\nWhy?"),
        (b"", ["-p", "Why?"], "Why?"),
        (b" \n\n", ["-p", "Why?"], "Why?"),
        (b"Why?\n", [], "Why?"),
        (b"Why?\n", ["-p", ""], "Why?"),
        (b"Why?\n", ["-p", "-"], "Why?"),
        (b"Why?\n", ["-"], "Why?"),
        (b"Why?\n", ["@-"], "Why?"),
        (b"Why?\n", ["-p", "/dev/stdin"], "Why?"),
        ("W\u00e4rum?".encode("utf-16"), ["-p", "Why?"], "W\u00e4rum?\n\nWhy?"),
    ],
)
def test_what_is_piped_in_stands_before_the_question(
    data: bytes, argv: list[str], prompt: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipe_in(monkeypatch, data)
    assert asked(*argv).prompt == prompt
    notes = [record.getMessage() for record in caplog.records]
    assert notes == ([f"{len(prompt) - len('What failed?') - 2} characters of standard input are read before the "
                      "question"] if prompt.endswith("\n\nWhat failed?") else notes)  # fmt: skip


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"caf\xe9", b"\xff\xfe\x00"])
def test_what_is_piped_in_must_be_text(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for argv in (["-p", "Why?"], ["-p", "-"]):
        pipe_in(monkeypatch, data)
        with pytest.raises(GemmaError, match="standard input is not UTF-8 text; media go to --image"):
            asked(*argv)


@pytest.fixture
def ends() -> Iterator[dict[str, tuple[int, int]]]:
    """The reading and the writing end of a pipe and of a socket."""
    one, other = socket.socketpair()
    both = {"pipe": os.pipe(), "socket": (one.detach(), other.detach())}
    yield both
    for handle in (handle for pair in both.values() for handle in pair):
        os.close(handle)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_that_nobody_writes_into_changes_nothing(
    kind: str, ends: dict[str, tuple[int, int]], monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdin", os.fdopen(ends[kind][0], closefd=False))
    assert asked("-p", "Why?").prompt == "Why?"
    cure = "< /dev/null saves the wait, < FILE reads what comes later"
    line = f"standard input is a pipe that brought nothing in 0.05 s, and is left alone: {cure}"
    assert [record.getMessage() for record in caplog.records] == [line]
    with pytest.raises(UsageError, match="no prompt"):
        asked()


def test_a_file_that_a_loop_reads_is_left_to_it(
    folder: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "list").write_text("one\ntwo\nthree\n")
    with (folder / "list").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        os.lseek(file.fileno(), 4, os.SEEK_SET)
        assert asked("-p", "Why?").prompt == "Why?"
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4
        assert "a file that something else reads" in caplog.text
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        assert asked("-p", "Why?").prompt == "one\ntwo\nthree\n\nWhy?"


def test_what_can_only_be_written_is_no_input(folder: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As a shell's `0> file` leaves it: Python opens it for reading all the same."""
    handle = os.open(folder / "out", os.O_WRONLY | os.O_CREAT)
    with open(handle) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert asked("-p", "Why?").prompt == "Why?"
    assert "standard input can't be read (Bad file descriptor), and is left alone" in caplog.text


def test_whether_a_shell_made_a_pipeline() -> None:
    """An interactive shell gives each pipeline a process group; without job control all are in one."""
    script = "from gemma4_mlx.commands.question import is_in_pipeline; print(is_in_pipeline())"
    for control, said in (("set -m", "True\n"), ("set +m", "False\n")):
        words = ["bash", "-c", f"{control}; sleep 0 | {sys.executable} -c '{script}'; true"]
        assert subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout == said


def test_a_plan_needs_no_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nano", "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"] is True


def test_instructions_come_out_of_a_file_as_a_question_does(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("Be brief.\n")
    assert out_of_file(f"@{tmp_path / 'rules'}", "--system") == "Be brief."
    assert [out_of_file(text, "--system") for text in ("@@home", "Be @home", "")] == ["@home", "Be @home", ""]
    with pytest.raises(UsageError, match="--system @no: there is no such file; @@no is a text that begins with an @"):
        out_of_file("@no", "--system")
