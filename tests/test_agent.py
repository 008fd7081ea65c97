"""The agent loop: calls are run, refused or corrected, and the conversation says what happened."""

from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from goldens import TEMPLATES
from marked import ids_of

from gemma4_mlx.agent import ToolResult, run_agent, run_call
from gemma4_mlx.errors import GemmaError, Terminated, UsageError
from gemma4_mlx.prompt.calls import MalformedCall, ToolCall
from gemma4_mlx.prompt.messages import read_messages
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import Piece, ReplyParser
from gemma4_mlx.prompt.template import ChatTemplate
from gemma4_mlx.prompt.tools import Tool, read_tool, read_tools


def add(first: int, second: int) -> int:
    """Adds two numbers.

    Args:
        first: one of them.
        second: the other.
    """
    return first + second


def broken() -> str:
    """Never works."""
    raise OSError("the disk is away")


TOOLS = read_tools([add, broken])


def scripted(*turns: list[Piece]) -> tuple[Callable[[Sequence[Any]], Iterator[Piece]], list[list[dict[str, Any]]]]:
    """A model that says one turn after the other, and the conversations that it was given."""
    heard: list[list[dict[str, Any]]] = []
    waiting = iter(turns)

    def reply(messages: Sequence[Any]) -> Iterator[Piece]:
        heard.append([dict(message) for message in messages])
        yield from next(waiting)

    return reply, heard


def call(name: str, **arguments: Any) -> list[Piece]:
    return [Piece("thought", "I need a tool."), Piece("tool", "", ToolCall(name, arguments))]


def results(events: Sequence[Any]) -> list[ToolResult]:
    return [event for event in events if isinstance(event, ToolResult)]


def test_a_call_is_run_and_its_result_is_read() -> None:
    reply, heard = scripted(call("add", first=2, second=3), [Piece("answer", "It is 5.")])
    messages: list[dict[str, Any]] = [{"role": "user", "content": "2 + 3?"}]

    events = list(run_agent(reply, messages, TOOLS))

    assert [(result.text, result.failed) for result in results(events)] == [("5", False)]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["reasoning"] == "I need a tool."
    assert messages[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": {"first": 2, "second": 3}}
    assert messages[2]["content"] == "5"
    assert heard[1][-1]["role"] == "tool"
    assert messages[3]["content"] == "It is 5."


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (call("add", first="two", second=3), "error: add: argument first"),
        (call("divide", first=1), "error: there is no tool divide; there are: add, broken"),
        (call("broken"), "error: OSError: the disk is away"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(turn: list[Piece], said: str) -> None:
    reply, heard = scripted(turn, [Piece("answer", "Sorry.")])
    (result,) = results(list(run_agent(reply, [{"role": "user", "content": "?"}], TOOLS)))
    assert result.failed
    assert result.text.startswith(said)
    assert heard[1][-1]["content"] == result.text


def test_a_malformed_call_is_told_to_the_model_beside_good_ones() -> None:
    wrong = MalformedCall('call:add{first:<|"|>2}', "it ends inside a string, after '2}'", "add")
    turn = [*call("add", first=1, second=2), Piece("tool", "", malformed=wrong)]
    reply, heard = scripted(turn, call("add", first=2, second=3), [Piece("answer", "3 and 5.")])
    messages = [{"role": "user", "content": "?"}]
    told = results(list(run_agent(reply, messages, TOOLS)))
    assert [(result.call.name, result.failed) for result in told] == [("add", False), ("add", True), ("add", False)]
    assert told[1].text == "error: this call is malformed and did not run: it ends inside a string, after '2}'"
    assert [message["role"] for message in heard[1]] == ["user", "assistant", "tool", "tool"]
    assert heard[1][1]["tool_calls"][1]["function"] == {"name": "add", "arguments": {"malformed": wrong.text}}
    assert heard[1][3] == {"role": "tool", "tool_call_id": "call_2", "name": "add", "content": told[1].text}
    assert messages[-1]["content"] == "3 and 5."


def test_calls_above_the_limit_do_not_run() -> None:
    ran: list[Any] = []
    tool = Tool(name="give", description="", parameters={"type": "object"}, run=lambda arguments: ran.append(1) or "")
    reply, _ = scripted(call("give")[1:] * 66, [Piece("answer", "Done.")])
    told = results(list(run_agent(reply, [{"role": "user", "content": "?"}], {"give": tool})))
    assert (len(ran), len(told)) == (64, 66)
    assert {result.text for result in told[64:]} == {"error: a reply may hold 64 calls; this one did not run"}


def test_a_malformed_call_renders_in_the_history(processor: Processor) -> None:
    said = ["<|tool_call>add(first=two}<tool_call|><turn|>", "Sorry.<turn|>"]
    replies, heard = iter(said), []

    def reply(messages: Sequence[dict[str, Any]]) -> Iterator[Piece]:
        read, _ = read_messages(messages, processor.tokenizer.quote)
        heard.append(processor.template.render(read, enable_thinking=False, add_generation_prompt=True, tools=None))
        parser = ReplyParser(processor.tokenizer, (), [processor.tokenizer.id("<turn|>")], tools=list(TOOLS.values()))
        yield from (parser.feed(id) for id in ids_of(processor, next(replies)))

    list(run_agent(reply, [{"role": "user", "content": "?"}], TOOLS))
    call = '<|tool_call>call:add{malformed:<|"|>add(first=two}<|"|>}<tool_call|>'
    told = "error: this call is malformed and did not run: "
    assert f'{call}<|tool_response>response:add{{value:<|"|>{told}' in heard[1]


def returns(value: Any) -> Tool:
    return Tool(name="give", description="", parameters={"type": "object"}, run=lambda arguments: value)


async def later() -> str:
    return "late"


@pytest.mark.parametrize(
    ("value", "text"),
    [("text", "text"), (None, "null"), ({"a": [1, True]}, '{"a": [1, true]}'), ("é", "é"), (["é"], '["é"]')],
)
def test_results_are_text_or_json(value: Any, text: str) -> None:
    assert run_call(ToolCall("give", {}), {"give": returns(value)}, None) == ToolResult(ToolCall("give", {}), text)


@pytest.mark.parametrize(
    ("value", "kind"),
    [({1, 2}, "set"), (object(), "object"), (float("nan"), "float"), ([Path("a")], "list"), ("caf\udce9", "str")],
)
def test_a_result_that_is_neither_is_a_failure(value: Any, kind: str) -> None:
    result = run_call(ToolCall("give", {}), {"give": returns(value)}, None)
    assert result.failed
    assert result.text.startswith(f"error: give ran, but its result ({kind}) can't be given as text or JSON: ")
    assert "\n" not in result.text


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_result_that_is_still_to_come_is_a_failure() -> None:
    result = run_call(ToolCall("give", {}), {"give": returns(later())}, None)
    assert result.failed
    assert result.text.startswith("error: give ran, but its result (coroutine) can't be given as text or JSON: ")


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"additionalProperties": {"$ref": "#/$defs/Nope"}}, {"x": 1}),
        ({"properties": {"x": {"$dynamicRef": "#nope"}}}, {"x": 1}),
        ({"properties": {"x": {"multipleOf": 0.5}}}, {"x": 10**400}),
    ],
)
def test_a_schema_that_can_not_tell_is_a_failure(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    declared = read_tool({"name": "give", "parameters": schema})
    tool = replace(declared, run=lambda arguments: "ran")
    result = run_call(ToolCall("give", arguments), {"give": tool}, None)
    assert result.failed
    assert result.text.startswith("error: give: the arguments can't be checked (")
    assert "\n" not in result.text


class Speechless(ValueError):  # noqa: N818
    def __str__(self) -> str:
        raise KeyError("no words")


class Quitting(ValueError):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit(1)


class Nameless(BaseException):
    """What is not even an Exception."""


class Odd(dict[str, Any]):
    """A result that fails while it is made JSON."""

    def items(self) -> Any:
        raise SystemExit(3)


class Loud(str):
    def encode(self, *_: Any) -> bytes:
        raise OSError("no")


@dataclass
class Point:
    x: int


def nested() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def failing(error: BaseException) -> Tool:
    def run(_: Any) -> str:
        raise error

    return Tool(name="give", description="", parameters={"type": "object"}, run=run)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "error: SystemExit: 3"),
        (SystemExit(), "error: SystemExit: SystemExit"),
        (GeneratorExit(), "error: GeneratorExit: GeneratorExit"),
        (CancelledError(), "error: CancelledError: CancelledError"),
        (StopIteration("end"), "error: StopIteration: end"),
        (Nameless("a\nb"), "error: Nameless: a b"),
        (Speechless(), "error: Speechless: Speechless"),
        (Quitting(), "error: Quitting: Quitting"),
        (ExceptionGroup("two", [ValueError("a"), OSError("b")]), "error: ExceptionGroup: two (2 sub-exceptions)"),
        (
            BaseExceptionGroup("one", [SystemExit(1)]),
            "error: BaseExceptionGroup: one (1 sub-exception)",
        ),
        (RecursionError("too deep"), "error: RecursionError: too deep"),
        (MemoryError(), "error: MemoryError: MemoryError"),
        (GemmaError("no such file"), "error: no such file"),
    ],
)
def test_a_tool_may_fail_in_any_way(error: BaseException, text: str) -> None:
    assert run_call(ToolCall("give", {}), {"give": failing(error)}, None) == ToolResult(
        ToolCall("give", {}), text, failed=True
    )


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        Terminated(143),
        BaseExceptionGroup("x", [ValueError(), BaseExceptionGroup("y", [KeyboardInterrupt()])]),
    ],
)
def test_ctrl_c_and_the_end_of_the_process_are_no_failures_of_a_tool(error: BaseException) -> None:
    with pytest.raises((KeyboardInterrupt, Terminated)):
        run_call(ToolCall("give", {}), {"give": failing(error)}, None)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (nested(), "list"),
        (deep(), "list"),
        ([float("nan")], "list"),
        ({"a": float("inf")}, "dict"),
        (b"bytes", "bytes"),
        ([10**5000], "list"),
        ((number for number in range(3)), "generator"),
        (Point(3), "Point"),
        ({("a", "b"): 1}, "dict"),
        (returns("a"), "Tool"),
        (print, "builtin_function_or_method"),
        (Odd(a=1), "Odd"),
        (3 + 4j, "complex"),
        (memoryview(b"a"), "memoryview"),
    ],
)
def test_a_result_of_any_kind_is_told(value: Any, kind: str) -> None:
    result = run_call(ToolCall("give", {}), {"give": returns(value)}, None)
    assert result.failed
    assert result.text.startswith(f"error: give ran, but its result ({kind}) can't be given as text or JSON: ")
    assert len(result.text) < 500


def test_text_is_text_whatever_else_it_is() -> None:
    result = run_call(ToolCall("give", {}), {"give": returns(Loud("seen"))}, None)
    assert (type(result.text), result.text, result.failed) == (str, "seen", False)


def test_a_tool_does_not_change_what_was_called() -> None:
    tool = Tool(name="give", description="", parameters={}, run=lambda arguments: arguments.pop("a").append(2) or "")
    made = ToolCall("give", {"a": [1]})
    assert run_call(made, {"give": tool}, None).text == ""
    assert made.arguments == {"a": [1]}


def long_results(*lengths: int, **options: Any) -> list[str]:
    """What the model is given of results of these lengths."""
    lines = iter("x" * length for length in lengths)
    tool = Tool(name="give", description="", parameters={}, run=lambda _: next(lines))
    turns = [call("give", a=number) for number in range(len(lengths))]
    reply, heard = scripted(*turns, [Piece("answer", "Done.")])
    list(run_agent(reply, [{"role": "user", "content": "?"}], {"give": tool}, max_steps=99, **options))
    return [message["content"] for message in heard[-1] if message["role"] == "tool"]


def test_a_long_result_is_cut_and_said(caplog: pytest.LogCaptureFixture) -> None:
    short, cut = long_results(32_768, 5_000_000)
    assert short == "x" * 32_768
    assert cut == "x" * 32_768 + "\n[cut: 4,967,232 of 5,000,000 characters left out]"
    assert [record.getMessage() for record in caplog.records] == [
        "of the result of give, 5,000,000 characters, the model reads 32,768"
    ]


def test_one_call_is_cut_as_well() -> None:
    assert run_call(ToolCall("give", {}), {"give": returns("x" * 9)}, None, 5).text == (
        "xxxxx\n[cut: 4 of 9 characters left out]"
    )
    assert len(run_call(ToolCall("give", {}), {"give": returns("x" * 5_000_000)}, None).text) < 33_000


def test_of_thousands_of_tools_some_are_named() -> None:
    tools = {f"tool_{number}": returns("") for number in range(10_000)}
    told = run_call(ToolCall("nope", {}), tools, None).text
    assert told.startswith("error: there is no tool nope; there are: tool_0, tool_1, ")
    assert told.endswith(", tool_49, ...")


def test_many_long_results_leave_room() -> None:
    given = [text.count("x") for text in long_results(*[5_000] * 8, longest_result=4_000)]
    assert given == [4_000, 4_000, 4_000, 2_000, 1_000, 500, 500, 500]
    assert [len(text) for text in long_results(*[400] * 50, longest_result=1_000)] == [400] * 50
    assert [text.count("x") for text in long_results(9, 9, longest_result=5)] == [5, 5]


def test_an_error_is_cut_as_well() -> None:
    reply, heard = scripted(call("give"), [Piece("answer", "Done.")])
    list(run_agent(reply, [{"role": "user", "content": "?"}], {"give": failing(OSError("x" * 1_000_000))}))
    assert len(heard[1][-1]["content"]) < 33_000


def test_the_same_call_is_not_run_for_ever() -> None:
    runs: list[Any] = []

    def run(arguments: Any) -> str:
        runs.append(arguments)
        raise OSError("away")

    tool = Tool(name="give", description="", parameters={"type": "object"}, run=run)
    turns = [call("give", a=1, b=2), call("give", b=2, a=1), call("give", a=1, b=2), call("give", a=2)]
    reply, _ = scripted(*turns, [Piece("answer", "Done.")])
    told = results(list(run_agent(reply, [{"role": "user", "content": "?"}], {"give": tool})))
    again = "error: this call failed 2 times and did not run again; call otherwise, or answer"
    assert [result.text for result in told] == ["error: OSError: away"] * 2 + [again, "error: OSError: away"]
    assert len(runs) == 3


def test_nobody_is_asked_twice_for_what_they_refused() -> None:
    asked: list[ToolCall] = []

    def refuse(wanted: ToolCall) -> bool:
        asked.append(wanted)
        return False

    reply, _ = scripted(call("add", first=1, second=1), call("add", first=1, second=1), [Piece("answer", "So not.")])
    told = results(list(run_agent(reply, [{"role": "user", "content": "?"}], TOOLS, confirm=refuse)))
    refused = "error: the user did not allow this call"
    assert [result.text for result in told] == [refused, f"{refused}; it was not asked again"]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, "max_steps must be a whole number from 1 up, not 0"),
        ({"max_steps": True}, "max_steps must be a whole number from 1 up, not True"),
        ({"max_steps": 1.5}, "max_steps must be a whole number from 1 up, not 1.5"),
        ({"max_steps": None}, "max_steps must be a whole number from 1 up, not None"),
        ({"longest_result": "9"}, "longest_result must be a whole number from 1 up, not '9'"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        list(run_agent(scripted()[0], [], TOOLS, **options))
    assert str(error.value) == message


def test_a_call_that_is_not_allowed_does_not_run() -> None:
    reply, _ = scripted(call("add", first=1, second=1), [Piece("answer", "Then not.")])
    asked: list[ToolCall] = []

    def refuse(wanted: ToolCall) -> bool:
        asked.append(wanted)
        return False

    (result,) = results(list(run_agent(reply, [{"role": "user", "content": "?"}], TOOLS, confirm=refuse)))
    assert asked == [ToolCall("add", {"first": 1, "second": 1})]
    assert result.text == "error: the user did not allow this call"


def test_it_does_not_call_tools_for_ever() -> None:
    reply, _ = scripted(*[call("add", first=1, second=1)] * 3)
    with pytest.raises(GemmaError, match="still calls tools after 2 rounds"):
        list(run_agent(reply, [{"role": "user", "content": "?"}], TOOLS, max_steps=2))


def test_a_tool_that_cannot_be_run_is_refused_before_anything_is_asked() -> None:
    declared = read_tools([{"name": "search", "parameters": {"type": "object", "properties": {}}}])
    reply, heard = scripted()
    with pytest.raises(UsageError, match="nothing to run for the tool search"):
        list(run_agent(reply, [], declared))
    assert heard == []


def test_calls_keep_their_order_and_their_ids_count_on() -> None:
    two = [*call("add", first=1, second=1), *call("add", first=2, second=2)]
    reply, _ = scripted(two, call("add", first=3, second=3), [Piece("answer", "Done.")])
    messages: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
    assert [result.text for result in results(list(run_agent(reply, messages, TOOLS)))] == ["2", "4", "6"]
    answered = [(m["tool_call_id"], m["content"]) for m in messages if m["role"] == "tool"]
    assert answered == [("call_1", "2"), ("call_2", "4"), ("call_3", "6")]


def test_an_interrupted_step_leaves_no_half_of_it() -> None:
    reply, _ = scripted([*call("add", first=1, second=1), *call("add", first=2, second=2)])
    messages: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
    loop = run_agent(reply, messages, TOOLS)
    while not isinstance(next(loop), ToolResult):
        pass
    loop.close()
    assert messages == [{"role": "user", "content": "?"}]


def get_weather(city: str) -> dict[str, int]:
    """Get the weather."""
    return {"degrees": len(city)}


@pytest.mark.parametrize("folder", TEMPLATES.values(), ids=TEMPLATES)
def test_history_renders_as_it_was_said(processor: Processor, folder: Path) -> None:
    template = ChatTemplate.from_folder(folder)
    said = [
        '<|channel>thought\nLook.\n<channel|>One moment.<|tool_call>call:get_weather{city:<|"|>Rome<|"|>}<tool_call|>'
        '<|tool_call>call:get_weather{city:<|"|>Oslo!<|"|>}<tool_call|><|tool_response>',
        'And Bonn.\n<channel|><|tool_call>call:get_weather{city:<|"|>Bonn<|"|>}<tool_call|><|tool_response>',
        "Good.\n<channel|>Rome is warm.<turn|>",
    ]
    replies, prompts = iter(said), []

    def render(messages: Sequence[dict[str, Any]], last: bool = True) -> str:
        read, _ = read_messages(messages, processor.tokenizer.quote)
        return template.render(read, enable_thinking=True, add_generation_prompt=last, tools=None)

    def reply(messages: Sequence[dict[str, Any]]) -> Iterator[Piece]:
        prompts.append(render(messages))
        parser = ReplyParser(processor.tokenizer, ids_of(processor, prompts[-1]), [processor.tokenizer.id("<turn|>")])
        yield from (parser.feed(id) for id in ids_of(processor, next(replies)))

    messages = [{"role": "user", "content": "Warm in Rome?"}]
    list(run_agent(reply, messages, read_tools([get_weather])))
    start = "<|turn>system\n<|think|>\n<turn|>\n<|turn>user\nWarm in Rome?<turn|>\n<|turn>model\n"
    first = start + said[0] + 'response:get_weather{value:<|"|>{"degrees": 4}<|"|>}<tool_response|>'
    first += '<|tool_response>response:get_weather{value:<|"|>{"degrees": 5}<|"|>}<tool_response|>'
    thinking = "<|channel>thought\n"
    second = first + thinking + said[1] + 'response:get_weather{value:<|"|>{"degrees": 4}<|"|>}<tool_response|>'
    assert prompts == [start, first + thinking, second + thinking]
    assert render(messages, last=False) == second + thinking + said[2] + "\n"


class Speechless(ValueError):  # noqa: N818
    def __str__(self) -> str:
        raise KeyError("no words")


class Unlistable(dict[str, Any]):
    """A result that fails while it is made JSON."""

    def items(self) -> Any:
        raise KeyError("gone")


def exits() -> str:
    """Ends the program."""
    raise SystemExit(3)


def speechless() -> str:
    """Fails without words."""
    raise Speechless


def unlistable() -> dict[str, Any]:
    """Returns what can't be read."""
    return Unlistable(a=1)


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        (exits, "error: SystemExit: 3"),
        (speechless, "error: Speechless: Speechless"),
        (unlistable, "error: unlistable ran, but its result (Unlistable) can't be given as text or JSON: 'gone'"),
    ],
)
def test_a_tool_that_ends_or_fails_in_any_way_is_told_to_the_model(tool: Callable[[], Any], line: str) -> None:
    result = run_call(ToolCall(tool.__name__, {}), read_tools([tool]), None)
    assert (result.text, result.failed) == (line, True)


def test_a_process_that_is_told_to_end_does_so_in_a_tool_as_well() -> None:
    def told() -> str:
        """Is told to end while it runs."""
        raise Terminated(143)

    with pytest.raises(Terminated):
        run_call(ToolCall("told", {}), read_tools([told]), None)
