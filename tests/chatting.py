"""Fixtures of the chat's tests: scripts on standard input, which the built-in model answers."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from gemma4_mlx import api
from gemma4_mlx.commands.chat import main
from gemma4_mlx.prompt.processor import Processor

GREETING = "/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the chat"
Talk = Callable[..., tuple[list[str], str]]


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return api.load("nano")


@pytest.fixture
def asked(nano: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each turn was asked with, and how many positions were read again; the model is loaded once."""
    turns: list[dict[str, Any]] = []
    asked: dict[str, Any] = {}
    stream, prompt = api.stream_generate, Processor.prompt

    def read(self: Processor, messages: Any, **options: Any) -> Any:
        asked.update({"messages": messages, **options})
        return prompt(self, messages, **options)

    def spy(model: Any, processor: Any, prompt: Any, **options: Any) -> Iterator[Any]:
        turns.append({**asked, **options})
        for response in stream(model, processor, prompt, **options):
            turns[-1]["reused"], turns[-1]["length"] = response.reused_tokens, response.prompt_tokens
            yield response

    monkeypatch.setattr(api, "load", lambda *args, **options: nano)
    monkeypatch.setattr(api, "stream_generate", spy)
    monkeypatch.setattr(Processor, "prompt", read)
    return turns


@pytest.fixture
def talk(asked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    """Says the lines, from a pipe or in a terminal; the lines of stdout and all of stderr but a terminal's greeting."""

    def run(*lines: str, options: tuple[str, ...] = (), code: int = 0, terminal: bool = False) -> tuple[list[str], str]:
        stdin = io.StringIO("".join(f"{line}\n" for line in lines))
        stdin.isatty = lambda: terminal  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["--model", "nano", "--temp", "0", *options]) == code
        out, err = capsys.readouterr()
        return out.splitlines(), err.removeprefix(f"{GREETING}\n")

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A blue circle, in a file with a space in its name."""
    image = Image.new("RGB", (400, 400), (236, 232, 222))
    ImageDraw.Draw(image).ellipse((130, 130, 270, 270), fill=(30, 90, 220), outline=(90, 90, 90), width=3)
    image.save(tmp_path / "my photo.png")
    return tmp_path / "my photo.png"
