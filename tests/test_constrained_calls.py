"""Calls kept to their tools through the API: random weights that are pushed into a call, and the built-in model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from gemma4_mlx import api
from gemma4_mlx.commands import generate
from gemma4_mlx.engine.session import Session
from gemma4_mlx.prompt.tools import read_tools

TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "units": {"enum": ["C", "F"]},
            },
            "required": ["city", "days"],
        },
    },
    {"name": "stop", "description": "Stop", "parameters": {"type": "object", "properties": {}}},
]
WEATHER = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
YES = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"], "additionalProperties": False}


@pytest.fixture(scope="module")
def noise(tiny_folder: Path) -> tuple[Any, Any]:
    return api.load(tiny_folder)


@pytest.fixture
def eager(noise: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Replies of random weights that begin with a call, and like to close what is open."""
    model, processor = noise
    ids = processor.tokenizer.control_ids
    forward: Callable[[mx.array], mx.array] = type(model).logits
    closing = mx.zeros(model.config.text.vocab_size)
    closing[mx.array([ids['<|"|>'], ids["<|tool_response>"], *processor.tokenizer.encode("}")])] = 6.0
    begun: list[bool] = []

    def logits(self: Any, hidden: mx.array) -> mx.array:
        start = 0.0 if begun else 99.0
        begun.append(True)
        return (forward(self, hidden) + closing).at[..., ids["<|tool_call>"]].add(start)

    def reply(question: str, **options: Any) -> list[Any]:
        begun.clear()
        return list(api.stream_generate(model, processor, question, tools=TOOLS, temperature=1.0, **options))

    monkeypatch.setattr(type(model), "logits", logits)
    return reply


@pytest.mark.parametrize(
    "options",
    [
        {"num_draft_tokens": 0},
        {"num_draft_tokens": 3},
        {"num_draft_tokens": 3, "json_schema": YES},
        {"enable_thinking": True, "thinking_budget": 5},
        {"session": True},
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_random_weights_write_valid_calls(
    noise: tuple[Any, Any], eager: Callable[..., list[Any]], seed: int, options: dict[str, Any]
) -> None:
    if "session" in options:
        options = {"session": Session(noise[0])}
    pieces = eager("call:get_weather{city: call:get_weather{city: call:get_weather{", seed=seed, **options)
    calls = [piece.call for piece in pieces if piece.call is not None]
    assert calls
    for call in calls:
        read_tools(TOOLS)[call.name].check(call.arguments)
    assert pieces[-1].finish_reason == "stop"


def test_calls_are_free_if_that_is_asked_for(eager: Callable[..., list[Any]]) -> None:
    assert any(piece.malformed for piece in eager("Hello", seed=1, constrain_calls=False))


def test_guessing_ahead_changes_no_token(eager: Callable[..., list[Any]]) -> None:
    said = [eager("Hello", seed=4, num_draft_tokens=drafts) for drafts in (0, 2, 6)]
    assert said[0][-1].generation_tokens > 20
    assert [[piece.token for piece in pieces] for pieces in said[1:]] == [[piece.token for piece in said[0]]] * 2


def test_the_built_in_model_calls_as_before() -> None:
    model, processor = api.load("nano")
    said = []
    for kept in (True, False):
        pieces = api.stream_generate(
            model, processor, "What is the weather in Rome?", tools=[WEATHER], constrain_calls=kept
        )
        said.append([(piece.token, piece.call) for piece in pieces])
    assert said[0] == said[1]
    assert [call.arguments for _, call in said[0] if call is not None] == [{"city": "Rome"}]


def test_the_commands_take_the_option() -> None:
    assert generate.make_parser().parse_args(["-p", "x"]).constrain_calls is None
    assert generate.make_parser().parse_args(["-p", "x", "--no-constrain-calls"]).constrain_calls is False
