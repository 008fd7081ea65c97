"""What a line of a chat asks for, and how lines become messages."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma4_mlx.commands.line_input import read_message
from gemma4_mlx.commands.slash import Call, Dropped, parse, paths

# {} is a folder with "a b.png", "c.WAV", "f.mov" and "notes"
LINES = [
    ("Hello", "Hello"),
    ("  /exit ", "/exit"),
    ("", ""),
    ("/exit", Call("/exit", "")),
    ("/Think  ON ", Call("/think", "ON")),
    ("/system Be brief.\nAnd kind.", Call("/system", "Be brief.\nAnd kind.")),
    ("/", Call("/", "")),
    ("/image {}/a b.png", Call("/image", "{}/a b.png")),
    ("{}/a b.png", Dropped((("image", "{}/a b.png"),))),
    ("{}/a\\ b.png ", Dropped((("image", "{}/a b.png"),))),
    ("'{}/a b.png' {}/c.WAV", Dropped((("image", "{}/a b.png"), ("audio", "{}/c.WAV")))),
    ("file://{}/a%20b.png", Dropped((("image", "{}/a b.png"),))),
    ('"{}/f.mov"', Dropped((("video", "{}/f.mov"),))),
    ("{}/none.png", Call("{}/none.png", "")),
    ("see {}/c.WAV", "see {}/c.WAV"),
    ("'{}/notes'", "'{}/notes'"),
    ("don't", "don't"),
]


@pytest.mark.parametrize(("line", "meaning"), LINES)
def test_what_a_line_asks_for(line: str, meaning: Any, tmp_path: Path) -> None:
    for name in ("a b.png", "c.WAV", "f.mov", "notes"):
        (tmp_path / name).touch()

    def there(text: str) -> str:
        return text.replace("{}", str(tmp_path))

    if isinstance(meaning, Call):
        meaning = Call(there(meaning.name), there(meaning.argument))
    elif isinstance(meaning, Dropped):
        meaning = Dropped(tuple((kind, there(path)) for kind, path in meaning.files))
    else:
        meaning = there(meaning)
    assert parse(there(line)) == meaning


@given(st.lists(st.text("ab '\"\\$", min_size=1), min_size=1, max_size=3))
def test_escaped_paths_come_back(names: list[str]) -> None:
    wanted = [f"/none/{name}" for name in names]
    typed = " ".join("".join(f"\\{c}" if c in " '\"\\$" else c for c in path) for path in wanted)
    assert paths(typed) == wanted


def test_read_message_takes_one_line_or_more() -> None:
    lines = iter(["a\\", "b", "c"])
    prompts = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines)

    assert [read_message(read), read_message(read)] == ["a\nb", "c"]
    assert prompts == ["> ", ". ", "> "]
