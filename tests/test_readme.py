"""The README's snippets run as written, with the built-in model, and print what stands there."""

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from gemma4_mlx.commands.main import main

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
ENTRIES = [
    re.sub(r"'(.*?)'", lambda quoted: quoted[0].replace("\n", " "), entry, flags=re.DOTALL).splitlines()
    for language, text in BLOCKS
    if not language
    for entry in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
]
"""A command behind a $, and the lines that follow it; what stands in quotes is one line."""
ASKS = [lines for lines in ENTRIES if " chat" not in lines[0]]
CHATS = [lines for lines in ENTRIES if " chat" in lines[0] and "--mcp" not in lines[0]]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def words_of(command: str) -> list[str]:
    """The arguments of `gemma4-mlx`, also from `python -m gemma4_mlx.COMMAND`."""
    words = shlex.split(command.replace("2>/dev/null", ""))
    return words[1:] if words[0] == "gemma4-mlx" else [words[2].removeprefix("gemma4_mlx."), *words[3:]]


@pytest.mark.parametrize("lines", ASKS, ids=lambda lines: lines[0][:40])
def test_a_command_answers_what_stands_below_it(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words_of(lines[0])) == 0
    assert capsys.readouterr().out.splitlines() == lines[1:]


@pytest.mark.parametrize("lines", CHATS, ids=lambda lines: lines[0])
def test_a_chat_goes_as_it_stands_there(
    lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = "".join(f"{line[2:]}\n" for line in lines if line.startswith("> "))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
    assert main(words_of(lines[0])) == 0
    printed = capsys.readouterr()
    shown = (printed.out + printed.err).splitlines()
    assert [line for line in lines[1:] if not line.startswith("> ") and line not in shown] == []


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_python_runs_as_it_stands_there(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out in (
        "It is 12 degrees and sunny in Rome.",
        "A red circle in the center.\n4719",
    )


def test_there_is_something_of_each_kind() -> None:
    assert (len(ASKS), len(CHATS), len(PYTHON)) == (4, 1, 2)
