"""Replies kept to a JSON schema, through the API and the command: random weights and the built-in model."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gemma4_mlx import GemmaError, api
from gemma4_mlx.commands.generate import main
from gemma4_mlx.errors import UsageError

PHOTO = str(Path(__file__).resolve().parent.parent / "examples" / "photo.png")
THING = {
    "type": "object",
    "properties": {
        "shape": {"enum": ["circle", "square", "triangle", "star"]},
        "colour": {"enum": ["red", "green", "blue", "yellow"]},
    },
    "required": ["shape", "colour"],
    "additionalProperties": False,
}
TOOL = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return api.load("nano")


@pytest.fixture(scope="module")
def noise(tiny_folder: Path) -> tuple[Any, Any]:
    return api.load(tiny_folder)


@pytest.mark.parametrize("drafts", [0, 3])
@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_weights_answer_in_schema(noise: tuple[Any, Any], seed: int, thinking: bool, drafts: int) -> None:
    pieces = list(
        api.stream_generate(
            *noise,
            'Write {"shape": "circle", "colour": "red"} again and again: {"shape": "circle"',
            json_schema=THING,
            temperature=1.0,
            seed=seed,
            enable_thinking=thinking,
            thinking_budget=5,
            num_draft_tokens=drafts,
        )
    )
    assert pieces[-1].finish_reason == "stop"
    answer = "".join(piece.text for piece in pieces if piece.channel == "answer")
    jsonschema.validate(json.loads(answer), THING)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_guessing_ahead_changes_no_token(nano: tuple[Any, Any], temperature: float) -> None:
    schema = {"type": "array", "items": THING, "minItems": 4, "maxItems": 4}
    said = [
        list(
            api.stream_generate(
                *nano, "Hello", json_schema=schema, temperature=temperature, seed=5, num_draft_tokens=drafts
            )
        )
        for drafts in (0, 2, 6)
    ]
    assert [[p.token for p in pieces] for pieces in said[1:]] == [[p.token for p in said[0]]] * 2
    assert said[2][-1].accepted_tokens > 10
    assert said[2][-1].drafted_tokens > said[2][-1].accepted_tokens


def test_nano_looks_and_answers_in_schema(nano: tuple[Any, Any]) -> None:
    answer = api.generate(*nano, "Describe the picture as JSON.", images=[PHOTO], json_schema=THING)
    assert json.loads(answer) == {"shape": "circle", "colour": "red"}


def test_nano_thinks_first(nano: tuple[Any, Any]) -> None:
    schema = {"type": "integer", "minimum": 0, "maximum": 200}
    pieces = list(api.stream_generate(*nano, "What is 27 + 58?", json_schema=schema, enable_thinking=True))
    assert "".join(p.text for p in pieces if p.channel == "thought").startswith("7+8=15")
    assert "".join(p.text for p in pieces if p.channel == "answer") == "85"


def test_nano_calls_a_tool_in_place_of_an_answer(nano: tuple[Any, Any]) -> None:
    pieces = list(api.stream_generate(*nano, "What is the weather in Rome?", tools=[TOOL], json_schema=THING))
    assert [piece.call.arguments for piece in pieces if piece.call] == [{"city": "Rome"}]
    assert pieces[-1].finish_reason == "stop"


def test_an_answer_that_is_cut_off_is_an_error_behind_what_was_said(nano: tuple[Any, Any]) -> None:
    pieces: list[Any] = []
    with pytest.raises(GemmaError, match="ended before its JSON was complete"):
        pieces.extend(api.stream_generate(*nano, "Hello", json_schema=THING, max_tokens=4))
    assert pieces[-1].finish_reason == "length"
    assert "".join(piece.text for piece in pieces).startswith('{"')


def test_what_contradicts_a_schema_is_refused(nano: tuple[Any, Any]) -> None:
    for extra in ({"stop": ["x"]}, {"prefill_response": "{"}):
        with pytest.raises(UsageError, match="can't be begun or stopped by other text"):
            api.stream_generate(*nano, "Hello", json_schema=THING, **extra)
    with pytest.raises(UsageError, match="the JSON schema is not one"):
        api.stream_generate(*nano, "Hello", json_schema={"type": "nothing"})


def test_the_command_keeps_to_the_schema_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thing.json").write_text(json.dumps(THING))
    ask = ["--model", "nano", "--image", PHOTO, "-p", "What is it?", "--json-schema", str(tmp_path / "thing.json")]
    assert main(ask) == 0
    assert json.loads(capsys.readouterr().out) == {"shape": "circle", "colour": "red"}
    assert main([*ask, "-m", "3"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith('{"')
    assert err.endswith(
        "error: the reply ended before its JSON was complete: --max-tokens or the context allows no more; raise it\n"
    )
    assert main([*ask, "-m", "3", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["content"].startswith('{"')
    assert said["error"].startswith("the reply ended before")


def test_the_command_takes_response_format_and_says_once_what_limits_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = {"type": "object", "properties": {"a": {"enum": ["x"], "format": "colour"}}, "required": ["a"]}
    wrapped = {"type": "json_schema", "json_schema": {"name": "a", "schema": inner | {"additionalProperties": False}}}
    (tmp_path / "a.json").write_text(json.dumps(wrapped))
    assert main(["--model", "nano", "-p", "Hello", "--json-schema", str(tmp_path / "a.json")]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"a": "x"}
    assert shown.err.count("is kept to: colour") == 1


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 1, "there is no such file"),
        ("{", 1, "not a readable JSON file"),
        ("[]", 2, "the JSON schema must be an object"),
        ('{"type": "object", "minProperties": 3}', 2, "asks for minProperties over 1"),
    ],
)
def test_a_wrong_schema_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, code: int, message: str
) -> None:
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_text(content)
    assert main(["--model", "nano", "-p", "Hello", "--json-schema", str(path)]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
