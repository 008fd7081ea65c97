"""`python -m gemma4_mlx.generate` used wrongly: one line on stderr, nothing on stdout, and the exit code."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest
from media.test_bad_inputs import IMAGES, SOUNDS, SOURCES, VIDEOS, in_folder

from gemma4_mlx.commands.bench import main as bench
from gemma4_mlx.commands.chat import main as chat
from gemma4_mlx.commands.chat import make_parser as make_chat_parser
from gemma4_mlx.commands.generate import main, make_parser
from gemma4_mlx.commands.options import note_options_without_effect


@pytest.fixture
def folder(tiny_folder: Path) -> str:
    return str(tiny_folder)


def run(folder: str, *options: str) -> int:
    return main(["--model", folder, "--temp", "0", "-m", "8", *options])


# (options, exit code, the line); every file of the media tables follows with exit code 1
USAGE = [
    ([], 2, 'no prompt: give --prompt TEXT, or --prompt - to read it from standard input'),
    (["-p", "-", "--image", "-"], 2, "standard input can be read once: only one option may be -"),
    (["-p", "x", "--max-tokens", "0"], 2, "--max-tokens must be a whole number from 1 up, not 0"),
    (["-p", "x", "--max-tokens", "-5"], 2, "--max-tokens must be a whole number from 1 up, not -5"),
    (["-p", "x", "--temp", "-1"], 2, "--temp must be from 0 to 100, not -1.0"),
    (["-p", "x", "--temp", "nan"], 2, "--temp must be from 0 to 100, not nan"),
    (["-p", "x", "--top-p", "0"], 2, "--top-p must be over 0 and at most 1, not 0.0"),
    (["-p", "x", "--top-k", "-1"], 2, "--top-k must be a whole number from 0 up, not -1"),
    (["-p", "x", "--min-p", "7"], 2, "--min-p must be from 0 to 1, not 7.0"),
    (["-p", "x", "--repetition-penalty", "0"], 2, "--repetition-penalty must be over 0 up to 100, not 0.0"),
    (["-p", "x", "--seed", "-1"], 2, "--seed must be a whole number from 0 to 2**64 - 1, not -1"),
    (["-p", "x", "--max-kv-size", "1"], 2, "--max-kv-size must be a whole number from 2 up, not 1"),
    (
        ["-p", "x", "--max-kv-size", "9"],
        1,
        "the prompt has 18 tokens; at most 8 can be read: shorten it, or raise --max-kv-size (the model has 8192)",
    ),
    (["-p", "x", "--prefill-step-size", "0"], 2, "--prefill-step-size must be a whole number from 1 up, not 0"),
    (["-p", "caf\udce9"], 2, "'caf\\udce9' is not UTF-8 text; write it in UTF-8"),
    (["-p", "x", "--system", "\udcff"], 2, "'\\udcff' is not UTF-8 text; write it in UTF-8"),
    (["-p", "x", "--prefill-response=\udcff"], 2, "'--prefill-response=\\udcff' is not UTF-8 text; write it in UTF-8"),
    (["-p", "x" * 20_000], 1, "the prompt has 20017 tokens; at most 8191 can be read: shorten it"),
]  # fmt: skip
FILES = [
    (option, name, content, line)
    for option, table in (("--image", IMAGES), ("--audio", SOUNDS), ("--video", VIDEOS))
    for name, content, options, line in table
    if not options and not isinstance(content, tuple) and content != "folder"  # whose files commands look for
]
ADDRESSES = [(source, line) for _, source, options, line in SOURCES if not options and isinstance(source, str)]


@pytest.mark.parametrize(("options", "code", "line"), USAGE)
def test_wrong_use_is_one_line(
    folder: str, options: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", folder, *options]) == code
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(("option", "name", "content", "line"), FILES, ids=lambda value: str(value)[:30])
def test_bad_files_are_one_line(
    *,
    folder: str,
    option: str,
    name: str,
    content: Any,
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = in_folder(name, content, tmp_path)
    assert run(folder, "-p", "x", option, path) == 1
    assert capsys.readouterr() == ("", f"error: {line}\n".replace("{}", str(tmp_path)))


@pytest.mark.parametrize(("address", "line"), ADDRESSES)
def test_bad_addresses_are_one_line(folder: str, address: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "-p", "x", "--image", address) == 1
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_sixty_bad_inputs() -> None:
    assert len(USAGE) + len(FILES) + len(ADDRESSES) >= 60


VARIABLES = ["[1]", "[" * 100_000, '{"messages": []}', '{"self": 1}', '{"tools": []}']


@pytest.mark.parametrize(
    "option", ["--image-tokens=281", "--no-such-option", *(f"--chat-template-config={value}" for value in VARIABLES)]
)
def test_argparse_errors_exit_with_2(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["-p", "x", option])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.endswith("; see --help\n")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "line"),
    [
        *(
            (f"--fps={value}", f"--fps: a number over 0, up to a million, is expected, not '{value}'")
            for value in ("0", "-1", "nan", "x")
        ),
        ("--fps=2e6", "--fps: a number over 0, up to a million, is expected, not '2e6'"),
        ("--max-frames=0", "--max-frames: a whole number from 1 to 3600 is expected, not '0'"),
        ("--max-frames=5000", "--max-frames: a whole number from 1 to 3600 is expected, not '5000'"),
        ("--max-frames=1.5", "--max-frames: a whole number from 1 to 3600 is expected, not '1.5'"),
    ],
)
def test_wrong_numbers_of_frames_name_the_flag(option: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-p", "x", option])
    assert capsys.readouterr() == ("", f"error: argument {line}; see --help\n")


def test_without_a_model_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/nowhere/at/all", "-p", "x"]) == 1
    line = "error: /nowhere/at/all: no such folder, nor the name of a Hub repository (owner/name)\n"
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("plan", [[], ["--plan"]])
@pytest.mark.parametrize(
    ("schema", "options", "code", "line"),
    [
        (None, [], 1, "error: --json-schema "),
        ("null", [], 2, "error: the JSON schema must be an object"),
        ('{"type": "nothing"}', [], 2, "error: the JSON schema is not one"),
        ("{}", ["--stop", "x"], 2, "error: an answer that keeps to a JSON schema can't be begun or stopped"),
        ("{}", ["--prefill-response", "x"], 2, "error: an answer that keeps to a JSON schema can't be begun or"),
    ],
)
def test_a_wrong_schema_is_told_before_the_model_is_looked_for(
    *, schema: str | None, options: list[str], code: int, line: str, plan: list[str], tmp_path: Path, capsys: Any
) -> None:
    if schema is not None:
        (tmp_path / "s.json").write_text(schema)
    given = ["--model", "/nowhere/at/all", "-p", "x", "--json-schema", str(tmp_path / "s.json"), *options, *plan]
    assert main(given) == code
    assert capsys.readouterr().err.startswith(line)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/nowhere/at/all", "-p", "x", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        (
            ["--fps", "1", "--no-soundtrack"],
            ["--fps has no effect without --video", "--no-soundtrack has no effect without --video"],
        ),
        (["--image-tokens", "70"], ["--image-tokens has no effect without --image"]),
        (["--yes"], ["--yes has no effect without --mcp"]),
        (["--no-constrain-calls"], ["--no-constrain-calls has no effect without --mcp"]),
        (
            ["--temp", "0", "--top-k", "5", "--seed", "0"],
            ["--top-k has no effect without --temp over 0", "--seed has no effect without --temp over 0"],
        ),
        (["--kv-group-size", "32"], ["--kv-group-size has no effect without --kv-bits 8 or 4"]),
        (["--kv-group-size", "32", "--kv-bits", "8"], []),
        (["--draft-model", "x", "--num-draft-tokens", "0"], ["--draft-model has no effect with --num-draft-tokens 0"]),
        (["--draft-model", "x", "--num-draft-tokens", "auto"], []),
        (["--hide-thinking"], ["--hide-thinking has no effect without --enable-thinking"]),
        (["--hide-thinking", "--enable-thinking"], []),
        (["--hide-thinking", "--enable-thinking", "--json"], ["--hide-thinking has no effect with --json"]),
        (["--hide-thinking", "--chat-template-config", '{"enable_thinking": true}'], []),
        (["--verbose", "--plan"], ["--verbose has no effect with --plan"]),
        (["--verbose"], []),
        (["--stop", ""], ["--stop has no effect if it is empty"]),
        (["--stop", "x"], []),
        (["--revision", "main"], ["--revision has no effect on a folder or nano"]),
        (["--model", "nano", "--offline"], ["--offline has no effect on a folder or nano"]),
        (["--offline", "--draft-model", "a/b"], []),
        (["--model", "a/b", "--offline", "--revision", "main"], []),
        (["--fps", "1", "--max-frames", "2", "--video", "film.mp4"], []),
        (["--image-tokens", "70", "--image", "photo.png"], []),
        (["--temp", "1", "--top-k", "5"], []),
    ],
)
def test_options_without_effect_are_told(
    folder: str, options: list[str], notes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    note_options_without_effect(make_parser().parse_args(["--model", folder, "-p", "x", *options]))
    assert [record.getMessage() for record in caplog.records] == notes


def test_a_chat_tells_of_options_without_effect(caplog: pytest.LogCaptureFixture) -> None:
    """Media may be attached, and thinking switched on, while it goes on."""
    words = ["--fps", "1", "--image-tokens", "70", "--hide-thinking", "--json", "--yes"]
    args = make_chat_parser().parse_args(words)
    note_options_without_effect(argparse.Namespace(**{**vars(args), "image": True, "video": True}))
    told = ["--yes has no effect without --mcp", "--json has no effect without --plan"]
    assert [record.getMessage() for record in caplog.records] == told


def test_notes_of_options_are_lines_on_stderr(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "-p", "x", "--max-tokens", "1", "--yes") == 0
    assert "note: --yes has no effect without --mcp\n" in capsys.readouterr().err


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_question_is_an_error(
    folder: str, prompt: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "error: the prompt is empty, and there is no image, audio or video: ask something\n"
    assert run(folder, "-p", prompt) == 2
    assert capsys.readouterr() == ("", line)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(prompt.encode())))
    assert run(folder, "-p", "-") == 2
    assert capsys.readouterr() == ("", line)


def test_the_environment_is_named_if_it_chose_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = "; this model was set by $GEMMA4_MODEL: --model NAME takes another\n"
    for wrong in ("/nowhere/at/all", str(tmp_path), __file__):
        monkeypatch.setenv("GEMMA4_MODEL", wrong)
        for command, words in ((main, ["-p", "x"]), (chat, []), (bench, [])):
            assert command(words) == 1
            err = capsys.readouterr().err
            assert (err.startswith(f"error: {wrong}: "), err.endswith(named)) == (True, True)
            assert command([*words, "--model", "/nowhere/else"]) == 1
            line = "error: /nowhere/else: no such folder, nor the name of a Hub repository (owner/name)\n"
            assert capsys.readouterr().err == line
    assert main(["-p", "x", "--image", "/nowhere.png", "--model", "nano"]) == 1
    assert "GEMMA4_MODEL" not in capsys.readouterr().err


def test_a_plan_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nano", "-p", "x", "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    parts = ("weights", "full_caches", "sliding_caches", "transient", "media")
    assert plan["total"] == sum(plan[part] for part in parts)
    assert (plan["fits"], plan["suggestions"], plan["weights"]) == (True, [], 11_250_572)
    assert main(["--model", "nano", "-p", "x", "--plan", "--json", "--memory-limit", "40MB", "--kv-bits", "none"]) == 3
    plan = json.loads(capsys.readouterr().out)
    assert (plan["fits"], plan["kv_bits"]) == (False, None)
    assert chat(["--model", "nano", "--plan", "--json", "--memory-limit", "330MB"]) == 3
    plan = json.loads(capsys.readouterr().out)
    assert (plan["context"], plan["kv_bits"]) == (131_072, 8)
    assert plan["suggestions"][-1].startswith("at most ")
