"""`python -m gemma4_mlx.chat`: scripts on standard input, and what a line asks for."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from media.media_files import tone, video_bytes

from gemma4_mlx.commands import line_input
from gemma4_mlx.commands.chat import history, main, make_parser

pytest_plugins = ["chatting"]

ROOT = Path(__file__).resolve().parent.parent
Talk = Callable[..., tuple[list[str], str]]


def roles(messages: list[dict[str, Any]]) -> list[str]:
    return [message["role"] for message in messages]


def test_a_later_turn_knows_the_first_and_reads_only_what_is_new(talk: Talk, asked: list[dict[str, Any]]) -> None:
    out, err = talk("The code of the lamp is 4719.", "What is the code of the lamp?", "/exit", "never said")
    assert len(out) == 2
    assert "4719" in out[1]
    assert err == ""
    assert roles(asked[1]["messages"]) == ["user", "assistant", "user"]
    assert asked[1]["messages"][1]["content"] == out[0]
    assert len(asked) == 2
    assert asked[1]["reused"] >= 15


def test_a_picture_is_asked_about_in_two_turns_and_read_once(
    talk: Talk, asked: list[dict[str, Any]], photo: Path
) -> None:
    out, err = talk(f"/image {photo}", "What colour is the circle?", "Hello", "What shape is the object?")
    assert (out[0], out[2]) == ("blue", "circle")
    assert err == "attached to the next question: my photo.png\n"
    assert [part["type"] for part in asked[2]["messages"][0]["content"]] == ["image", "text"]
    assert [turn["reused"] > 60 for turn in asked] == [False, True, True]


@pytest.mark.parametrize("line", ['"{}"', "'{}'", "{}", "{} "])
def test_a_dropped_picture_is_attached(talk: Talk, photo: Path, line: str) -> None:
    out, _ = talk(line.format(photo), "What colour is the circle?")
    assert out == ["blue"]


def test_wrong_media_are_one_line_and_the_chat_goes_on(talk: Talk, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "note.wav").write_text("no sound")
    out, err = talk(
        f"/image {tmp_path}/none.png",
        f'/image "{photo}" {tmp_path}/none.png',
        f"/audio {tmp_path}/note.wav",
        "/video",
        f"{tmp_path}/none.png",
        "Hello",
        code=1,
    )
    assert out == ["Hello! How can I help you?"]
    lines = err.splitlines()
    assert lines[0] == lines[1] == f"error: {tmp_path}/none.png: no such file or directory"
    assert lines[2].startswith(f"error: {tmp_path}/note.wav: ")
    assert lines[3] == "error: /video needs a path or an address"
    assert lines[4] == f"error: {tmp_path}/none.png: there is no such file"
    assert len(lines) == 5


def test_retry_asks_the_last_question_again(talk: Talk, asked: list[dict[str, Any]]) -> None:
    out, err = talk("/retry", "Hello", "Who are you?", "/retry", "Thanks", code=1)
    assert err == "error: nothing was asked yet\n"
    assert out[1] == out[2]
    assert asked[2]["messages"] == asked[1]["messages"]
    assert asked[2]["reused"] > asked[1]["reused"]
    assert roles(asked[3]["messages"]) == ["user", "assistant", "user", "assistant", "user"]


def test_a_conversation_is_saved_and_goes_on_elsewhere(
    talk: Talk, asked: list[dict[str, Any]], photo: Path, tmp_path: Path
) -> None:
    file = tmp_path / "talk.json"
    first, _ = talk("/system Be brief.", f"/image {photo}", "What colour is the circle?", f"/save {file}")
    assert json.loads(file.read_text()) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image", "path": str(photo)},
                {"type": "text", "text": "What colour is the circle?"},
            ],
        },
        {"role": "assistant", "content": first[0]},
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my photo.png", "talk.json"]
    _, err = talk("Hello", f"/load {file}", "What shape is the object?")
    assert err == "3 messages of talk.json; they take the place of what was said here\n"
    assert roles(asked[-1]["messages"]) == ["system", "user", "assistant", "user"]
    pixels = [turn["messages"][1]["content"][0]["image"].pixels for turn in (asked[0], asked[-1])]
    assert (pixels[0] == pixels[1]).all()


def test_a_film_and_its_sound_come_back(talk: Talk, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(video_bytes(sound=tone(3.0)))
    talk(f"/video {tmp_path}/film.mp4", "What happens?", f"/save {tmp_path}/talk.json")
    talk(f"/load {tmp_path}/talk.json", "/retry")
    kinds = [[part["type"] for part in turn["messages"][0]["content"]] for turn in asked]
    assert kinds == [["video", "text", "audio"]] * 2
    assert asked[0]["length"] == asked[1]["length"]


# (contents of the file, what is said of it)
FILES = [
    ("{", "is not JSON; /save writes files that can be read here"),
    ("{}", "is not a list of messages; /save writes files that can be read here"),
    ("[]", "messages must be a list with at least one {'role': ..., 'content': ...}"),
    (
        '[{"role": "who"}]',
        "message 1: role must be one of system, developer, user, assistant, model, tool",
    ),
    (
        '[{"role": "user", "content": [{"type": "image", "path": "/none.png"}]}]',
        "not loaded, as it opens /none.png outside of its folder: "
        "copy that there and name it so, or load the conversation in a terminal and agree",
    ),
]


@pytest.mark.parametrize(("content", "line"), FILES)
def test_a_wrong_file_leaves_the_conversation(
    talk: Talk, asked: list[dict[str, Any]], tmp_path: Path, content: str, line: str
) -> None:
    (tmp_path / "talk.json").write_text(content)
    _, err = talk("Hello", f"/load {tmp_path}/talk.json", "Who are you?", code=1)
    assert err == f"error: {tmp_path}/talk.json: {line}\n"
    assert roles(asked[1]["messages"]) == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [("y", "1 message of"), ("n", "error: "), ("", "error: ")],
)
def test_a_terminal_is_asked_before_a_conversation_opens_other_files(
    talk: Talk, tmp_path: Path, photo: Path, typed: str, said: str
) -> None:
    (tmp_path / "sent").mkdir()
    content = [{"role": "user", "content": [{"type": "image", "path": str(photo)}]}]
    (tmp_path / "sent" / "talk.json").write_text(json.dumps(content))
    _, err = talk(f"/load {tmp_path}/sent/talk.json", typed, terminal=True)
    question, _, rest = err.partition("open them? [y]es, [n]o: ")
    assert question == f"{tmp_path}/sent/talk.json opens what is not in its folder:\n{photo}\n"
    assert rest.startswith(said)


def test_nothing_is_written_where_it_cannot_be(talk: Talk, tmp_path: Path) -> None:
    _, err = talk("/save x.json", "Hello", f"/save {tmp_path}/none/x.json", f"/save {tmp_path}", "/save", code=1)
    lines = err.splitlines()
    assert lines[0] == "error: there is nothing to save yet"
    assert "not written, as there is no folder" in lines[1]
    assert lines[2].startswith(f"error: {tmp_path}: can't be written (")
    assert lines[3] == "error: /save needs one file name; put quotes around one with spaces"
    assert list(tmp_path.iterdir()) == []


def test_thoughts_are_shown_apart_and_are_not_history(talk: Talk, asked: list[dict[str, Any]]) -> None:
    out, err = talk("/think on", "What is 27 + 58?", "/think off", "Hello", "/think maybe", code=1)
    assert out[0] == "85"
    assert "7+8=15" in err
    assert [turn["enable_thinking"] for turn in asked] == [True, False]
    assert asked[1]["messages"][1] == {"role": "assistant", "content": "85"}
    assert err.endswith("error: thinking is off; /think on or /think off changes it\n")


def test_instructions_and_clear(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    _, err = talk("/system Be kind.", "Hello", f"/image {photo}", "/clear", "Who are you?", "/system", "Thanks")
    assert asked[0]["messages"][0] == {"role": "system", "content": "Be kind."}
    assert [message["content"] for message in asked[1]["messages"]] == ["Be kind.", "Who are you?"]
    assert roles(asked[2]["messages"]) == ["user", "assistant", "user"]
    assert "everything said and attached is forgotten (the instructions of /system stay)\n" in err


def test_unknown_commands_and_text_with_a_slash(talk: Talk, asked: list[dict[str, Any]]) -> None:
    _, err = talk("/nonsense", "", " /etc", "/help", code=1)
    lines = err.splitlines()
    assert lines[0] == "error: there is no /nonsense; /help lists what there is, a space before it makes it a question"
    assert [turn["messages"][0]["content"] for turn in asked] == ["/etc"]
    names = [
        "/image",
        "/audio",
        "/video",
        "/detach",
        "/think",
        "/set",
        "/system",
        "/retry",
        "/tokens",
        "/save",
        "/load",
        "/clear",
    ]
    assert [line.split()[0] for line in lines[1:15]] == [*names, "/help", "/exit"]


def test_bytes_that_are_no_text_end_a_script(talk: Talk) -> None:
    out, err = talk("Hello", "RIFF\x24 \udcff", "\udcfe", "Hello", code=1)
    assert out == ["Hello! How can I help you?"]
    assert err == (
        "error: a line of standard input is not UTF-8 text, so the chat ends there; "
        "media are attached with --image, --audio or --video FILE\n"
    )


def test_bytes_that_are_no_text_are_refused_in_a_terminal(talk: Talk) -> None:
    out, err = talk("Hello \udcff", "/system \udcfe", "Hello", terminal=True)
    assert out == ["Hello! How can I help you?"]
    assert err == "error: the line is not UTF-8 text\n" * 2


def test_tokens(talk: Talk) -> None:
    _, err = talk("/tokens", "Hello", "/tokens", options=("--max-kv-size", "2000"))
    first, second = err.splitlines()
    assert first == "0 tokens used, 2000 of 2000 left; the caches hold 0 tokens in 0 bytes"
    used, left = int(second.split()[0]), int(second.split()[3])
    assert used + left == 2000
    assert 10 < used < 60
    assert second.endswith("kB")


def test_a_terminal_sees_what_failed_and_the_end_is_no_failure(
    asked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.StringIO("/nonsense\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["--model", "nano"]) == 0
    assert "error: there is no /nonsense" in capsys.readouterr().err


def test_a_backslash_goes_on_in_the_next_line(talk: Talk, asked: list[dict[str, Any]]) -> None:
    talk("one\\", "two\\\\", "three\\")
    assert [turn["messages"][-1]["content"] for turn in asked] == ["one\ntwo\\\\", "three"]


def test_ctrl_c_at_the_prompt_of_a_pipe_ends_with_130(
    asked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(line_input, "_plain", interrupt)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["--model", "nano"]) == 130


def test_without_a_model_nano_answers_and_says_so(
    asked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, notice in ((None, True), ("nano", False)):
        monkeypatch.delenv("GEMMA4_MODEL", raising=False)
        if name:
            monkeypatch.setenv("GEMMA4_MODEL", name)
        monkeypatch.setattr(sys, "stdin", io.StringIO("/exit\n"))
        assert main([]) == 0
        assert capsys.readouterr().err.startswith("nano, the built-in demonstration model, answers") is notice


def test_plan_and_wrong_options(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nano", "--plan", "--max-kv-size", "5000"]) == 0
    assert "caches, 5000 tokens, plain" in capsys.readouterr().out
    assert main(["--model", "nano", "-m", "0"]) == 2
    assert capsys.readouterr().err == "error: --max-tokens must be a whole number from 1 up, not 0\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom gemma4_mlx.commands.chat import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('mlx', 'mlx_lm', 'prompt_toolkit', 'transformers', 'av') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_pipe_needs_no_terminal() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gemma4_mlx.chat", "--model", "nano", "--temp", "0"],
        cwd=ROOT, input="Hello\n/exit\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("Hello! How can I help you?\n", "")


def test_the_command_line_can_ask_the_first_question(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    begin = ("--image", str(photo), "--prompt", "What colour is the circle?")
    out, err = talk("What shape is the object?", options=begin)
    assert out == ["blue", "circle"]
    assert err == "attached to the next question: my photo.png\n"
    assert [len(turn["messages"]) for turn in asked] == [1, 3]


@pytest.mark.parametrize("options", [("Who", "are", "you?"), ("-p", "@{}/q.txt"), ("--", "Who are you?")])
def test_a_first_question_in_words_or_a_file(
    talk: Talk, asked: list[dict[str, Any]], tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "q.txt").write_text("Who are you?\n")
    talk(options=tuple(option.replace("{}", str(tmp_path)) for option in options))
    assert asked[0]["messages"][0]["content"] == "Who are you?"


def test_media_of_the_command_line_wait_for_the_first_question(talk: Talk, photo: Path) -> None:
    out, _ = talk("What colour is the circle?", options=("--image", str(photo), "--system", ""))
    assert out == ["blue"]


def test_a_first_question_is_no_command_and_names_files(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    talk(options=("--prompt", "exit"))
    _, err = talk(options=("-p", f"What colour is it? {photo}"))
    assert asked[0]["messages"][0]["content"] == "exit"
    assert err == "attached: my photo.png\n"


# (options, exit code, what is said before anything is asked)
BEGINNINGS = [
    (("--image", "none.png"), 1, "none.png: no such file or directory"),
    (("--image", "note.wav"), 1, "{}/note.wav: is a text file, not an image"),
    (("--prompt", " "), 2, "--prompt is empty; leave it out to be asked for the first question"),
    (
        ("--prompt", "-"),
        2,
        "- is standard input, and the conversation comes from there: give the text, or name the file",
    ),
    (
        ("--audio", "-"),
        2,
        "- is standard input, and the conversation comes from there: give the text, or name the file",
    ),
]


@pytest.mark.parametrize(("options", "code", "said"), BEGINNINGS)
def test_a_wrong_beginning_asks_nothing(
    talk: Talk,
    asked: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    (tmp_path / "note.wav").write_text("no sound")
    monkeypatch.chdir(tmp_path)
    out, err = talk("Hello", options=options, code=code)
    assert (out, asked) == ([], [])
    assert err == f"error: {said.replace('{}', str(tmp_path))}\n"


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("bits", [(), ("--kv-bits", "none"), ("--kv-bits", "4")])
def test_a_model_that_cannot_fit_is_told_before_the_first_question(
    talk: Talk, asked: list[Any], terminal: bool, bits: tuple[str, ...]
) -> None:
    out, err = talk("Hello", options=("--memory-limit", "10MB", *bits), code=3, terminal=terminal)
    assert (out, asked) == ([], [])
    assert err.startswith("error: 1040 tokens need ")
    assert err.count("\n") == 1


def test_a_script_leaves_no_history(talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    talk("Hello")
    talk("Hello", terminal=True)  # but what it says goes into a pipe
    assert list(tmp_path.rglob("chat_history")) == []


@pytest.mark.parametrize(("options", "kept"), [((), True), (("--no-history",), False)])
def test_history_can_be_switched_off(
    options: tuple[str, ...], kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history(make_parser().parse_args(options)).append_string("Hello")
    assert [path.name for path in tmp_path.rglob("*history")] == (["chat_history"] if kept else [])
