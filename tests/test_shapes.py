"""Messages in other services' shapes -> the same in the shape of chat completions."""

from typing import Any

import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.messages import read_messages
from gemma4_mlx.prompt.shapes import in_chat_shape

TEXT = {"type": "text", "text": "Look."}
USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "one"}
F = {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}
ONE = {"role": "tool", "tool_call_id": "c1", "content": "one"}

SHAPES = [
    ({"role": "user", "content": "Hi"}, [{"role": "user", "content": "Hi"}]),
    ({"role": "user", "content": [TEXT]}, [{"role": "user", "content": [TEXT]}]),
    ({"role": "assistant", "content": [TEXT]}, [{"role": "assistant", "content": [TEXT]}]),
    ({"type": "message", "role": "user", "content": "Hi"}, [{"type": "message", "role": "user", "content": "Hi"}]),
    ("no object", ["no object"]),
    ({"role": "assistant", "content": [TEXT, USE]}, [{"role": "assistant", "content": [TEXT], "tool_calls": [F]}]),
    ({"role": "assistant", "content": [USE, USE]}, [{"role": "assistant", "content": [], "tool_calls": [F, F]}]),
    ({"role": "user", "content": [RESULT]}, [ONE]),
    ({"role": "user", "content": [RESULT, RESULT, TEXT]}, [ONE, ONE, {"role": "user", "content": [TEXT]}]),
    (
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}', "id": "fc_1"},
        [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}],
            }
        ],
    ),
    (
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "*** Begin"},
        [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "function": {"name": "patch", "arguments": {"input": "*** Begin"}}}],
            }
        ],
    ),
    ({"type": "function_call_output", "call_id": "c1", "output": "one"}, [ONE]),
    ({"type": "custom_tool_call_output", "call_id": "c1", "output": "one"}, [ONE]),
    (
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "So."}],
        },
        [{"role": "assistant", "content": "", "reasoning": "Hm.\n\nSo."}],
    ),
    (
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        [{"role": "assistant", "content": "", "reasoning": ""}],
    ),
]


@pytest.mark.parametrize(("given", "wanted"), SHAPES)
def test_other_shapes_become_chat_messages(given: Any, wanted: Any) -> None:
    assert in_chat_shape(given) == wanted


def read(messages: Any) -> Any:
    return read_messages(messages, lambda text: text)


def test_parts_of_anthropic_are_read() -> None:
    thought = [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "redacted_thinking", "data": "x"}]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    result = {**RESULT, "content": [{"type": "text", "text": "one"}, picture], "is_error": False}
    messages, media = read(
        [
            {
                "role": "user",
                "content": [picture, {"type": "text", "text": "Go", "cache_control": {"type": "ephemeral"}}],
            },
            {"role": "assistant", "content": [*thought, USE]},
            {"role": "user", "content": [result, TEXT]},
        ]
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[1]["reasoning"] == "Hm."
    assert messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert (messages[2]["name"], messages[2]["content"]) == ("f", [{"type": "text", "text": "one"}, {"type": "image"}])
    assert [(part.kind, part.source) for part in media] == [("image", "data:;base64,aGk=")] * 2


def test_items_of_responses_are_read() -> None:
    messages, _ = read(
        [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go"}]},
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}], "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        ]
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "assistant", "tool", "tool"]
    assert messages[1]["reasoning"] == "Hm."
    assert [call["function"]["name"] for call in messages[2]["tool_calls"]] == ["f", "g"]
    assert [message["name"] for message in messages[3:]] == ["f", "g"]


def test_a_custom_tool_is_called_with_text() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    messages, _ = read(
        [{"role": "user", "content": "Go"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    )
    assert messages[1]["tool_calls"][0]["function"] == {"name": "patch", "arguments": {"input": "*** Begin"}}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"role": "user"}, "message 2: it has no content"),
        (
            {"role": "user", "parts": [{"text": "Hi"}]},
            "message 2: it has no content but parts; give them as its content",
        ),
        (
            {"role": "model", "parts": [{"text": "Hi"}]},
            "message 2: it has no content but parts; give them as its content",
        ),
        ({"role": "user", "content": [RESULT]}, "message 2: this tool message answers no call before it; "),
        (
            {"role": "assistant", "content": [{"type": "tool_use"}]},
            "message 2: a tool call must have a function with a name",
        ),
        ({"role": "assistant", "content": [USE], "tool_calls": 1}, "message 2: a part must have a type among text, "),
        ({"type": "function_call", "name": 1}, "message 2: a tool call must have a function with a name"),
        ({"type": "web_search_call", "id": "1"}, "message 2: role must be one of system, "),
        ({"type": "reasoning", "content": 7, "role": None}, "message 2: role must be one of system, "),
    ],
)
def test_what_can_not_be_read_is_said(message: Any, line: str) -> None:
    with pytest.raises(GemmaError) as error:
        read([{"role": "user", "content": "Go"}, message])
    assert str(error.value).startswith(line)
