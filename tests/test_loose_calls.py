"""Calls as models write them apart from the chat template's form: read where they can mean one thing only."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import ids_of

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.calls import MAX_CALLS, MalformedCall, ToolCall, find_tool
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import Piece, ReplyParser
from gemma4_mlx.prompt.tools import Tool, read_tools

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


EDIT = {"type": "object", "properties": {"old": STRING, "new": STRING}}


def declared(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "parameters": {"type": "object", "properties": properties, "$defs": {"edit": EDIT}}}


UNIT = {"enum": ["celsius", "fahrenheit"]}
TOOLS = list(
    read_tools(
        [
            declared("f", a=INTEGER, b=INTEGER, l={"type": "array"}),
            declared("get_weather", city=STRING, unit=UNIT, days=INTEGER),
            declared("bash", command=STRING, path=STRING),
            declared("grep", pattern=STRING, path=STRING),
            declared("create-file", filename=STRING, content=STRING),
            declared("now"),
            declared(
                "set",
                zip=STRING,
                ratio={"type": "number"},
                on={"type": "boolean"},
                note={"anyOf": [STRING, {"type": "null"}]},
                mode={"type": "string", "enum": ["none", "all", "1"]},
                any={"type": ["string", "integer"]},
                tags={"type": "array", "items": STRING},
                env={"type": "object", "additionalProperties": STRING},
                edits={"type": "array", "items": {"$ref": "#/$defs/edit"}},
            ),
        ]
    ).values()
)

READ = [
    # the head
    ('get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    (':get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('call get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('call : get_weather {city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('call:call:get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('\n\ncall:get_weather{city:<|"|>Rome<|"|>}\n', "get_weather", {"city": "Rome"}),
    ("now{}", "now", {}),
    ("now()", "now", {}),
    (':call:get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ("callnow{}", "now", {}),
    ("call:now()", "now", {}),
    ("call:now: {}", "now", {}),
    ('call:"now"{}', "now", {}),
    ('now: {"x": 1}', "now", {"x": 1}),
    # a server's name before it
    ('call:google:mcp:text:create-file{filename:<|"|>a<|"|>}', "create-file", {"filename": "a"}),
    ('google:mcp:create-file{filename:<|"|>a<|"|>}', "create-file", {"filename": "a"}),
    ('call:default_api.get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ("functions.now()", "now", {}),
    ("call:server/now{}", "now", {}),
    ("call:mcp__server__now{}", "now", {}),
    ('{"name":"functions.now","arguments":{}}', "now", {}),
    # parentheses and equals signs
    ("call:f(a:1)", "f", {"a": 1}),
    ("call:f(a=1)", "f", {"a": 1}),
    ("call:f(a=1, b = 2)", "f", {"a": 1, "b": 2}),
    ("call:f({a:1})", "f", {"a": 1}),
    ("call:f{a=1,b:2}", "f", {"a": 1, "b": 2}),
    ('call:bash(command:<|"|>ls -a (all), x=1<|"|>)', "bash", {"command": "ls -a (all), x=1"}),
    ("f(a=1)", "f", {"a": 1}),
    ("call:bash{command=\"ls | grep 'a=b'\"}", "bash", {"command": "ls | grep 'a=b'"}),
    # quotes of other kinds
    ('call:get_weather{city:"Rome, Italy"}', "get_weather", {"city": "Rome, Italy"}),
    ("call:get_weather{city:'Rome'}", "get_weather", {"city": "Rome"}),
    ("call:get_weather{city:`Rome`}", "get_weather", {"city": "Rome"}),
    ("call:get_weather{city:“Rome”}", "get_weather", {"city": "Rome"}),
    ("call:get_weather{city:‘Rome’}", "get_weather", {"city": "Rome"}),
    ("call:get_weather{city:„Rom“}", "get_weather", {"city": "Rom"}),
    ("call:get_weather{city:«Rome»}", "get_weather", {"city": "Rome"}),
    ('call:bash{command:"""say "hi", x"""}', "bash", {"command": 'say "hi", x'}),
    ("call:bash{command='''one\ntwo'''}", "bash", {"command": "one\ntwo"}),
    ('call:bash{command:ls<|"|>}', "bash", {"command": "ls"}),
    ('call:bash{command:<|"|>ls<|"|><|"|>}', "bash", {"command": "ls"}),
    ('call:get_weather{"city":"Rome","days":3}', "get_weather", {"city": "Rome", "days": 3}),
    ("call:get_weather{'city':'Rome'}", "get_weather", {"city": "Rome"}),
    ("call:get_weather{`city`:`Rome`}", "get_weather", {"city": "Rome"}),
    ('call:get_weather{“city”:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('call:bash{command:"a}, {b: [c]"}', "bash", {"command": "a}, {b: [c]"}),
    ("call:bash{command:'it's a, test'}", "bash", {"command": "it's a, test"}),
    ('call:bash{command:"say \\"hi\\"\\n\\u00e9"}', "bash", {"command": 'say "hi"\né'}),
    ("call:bash{command:'say \"hi\"'}", "bash", {"command": 'say "hi"'}),
    ("call:bash{command:'it\\'s'}", "bash", {"command": "it's"}),
    ("call:grep{pattern:':\\s*\\w+'}", "grep", {"pattern": ":\\s*\\w+"}),
    ('call:grep{pattern:"\\s*\\w+"}', "grep", {"pattern": "\\s*\\w+"}),
    ('call:bash{command:"one\ntwo"}', "bash", {"command": "one\ntwo"}),
    ('call:set{tags:["a",\'b\',<|"|>c<|"|>]}', "set", {"tags": ["a", "b", "c"]}),
    ('call:set{env:{"A B":"x, y"}}', "set", {"env": {"A B": "x, y"}}),
    ('call:grep{path:<|"|>/tmp<|"|>,pattern:\'abc\'<|"|>}', "grep", {"path": "/tmp", "pattern": "abc"}),
    ('call:bash{command:<|"|>say "hi", {x: 1}<|"|>}', "bash", {"command": 'say "hi", {x: 1}'}),
    # JSON
    ('{"name":"f","arguments":{"a":1}}', "f", {"a": 1}),
    ('{"name": "f", "parameters": {"a": 1}}', "f", {"a": 1}),
    ('call:{"name":"f","args":{"a":1}}', "f", {"a": 1}),
    ('{"name":"f","arguments":"{\\"a\\": 1}"}', "f", {"a": 1}),
    ('{"type":"function","function":{"name":"f","arguments":{"a":1}}}', "f", {"a": 1}),
    ('{"tool_calls":[{"name":"f","arguments":{"a":1}}]}', "f", {"a": 1}),
    ('[{"name":"f","arguments":{"a":1}}]', "f", {"a": 1}),
    ('{"name":"now"}', "now", {}),
    ('{"name":"now","arguments":null}', "now", {}),
    ('{"name":"now","arguments":""}', "now", {}),
    ('{"tool":"f","input":{"a":1}}', "f", {"a": 1}),
    ('{"function":"f","arguments":{"a":1}}', "f", {"a": 1}),
    ("{'name':'f','arguments':{'a':1}}", "f", {"a": 1}),
    ('{name:<|"|>f<|"|>,arguments:{a:1}}', "f", {"a": 1}),
    # commas, literals and numbers
    ("call:f{a:1,}", "f", {"a": 1}),
    ("call:f{l:[1,2,],}", "f", {"l": [1, 2]}),
    ("call:f(a=1,)", "f", {"a": 1}),
    ("call:set{on:True,note:None}", "set", {"on": True, "note": None}),
    ("call:set{on:False,note:null}", "set", {"on": False, "note": None}),
    ("call:set{ratio:.5}", "set", {"ratio": 0.5}),
    ("call:set{ratio:-.5}", "set", {"ratio": -0.5}),
    ("call:set{ratio:+1}", "set", {"ratio": 1}),
    ("call:set{ratio:+.5e1}", "set", {"ratio": 5.0}),
    ("call:set{ratio:5.}", "set", {"ratio": 5.0}),
    # strings without quotes, where the schema says string
    ("call:get_weather{city:Rome}", "get_weather", {"city": "Rome"}),
    ("call:get_weather{city:New York,days:3}", "get_weather", {"city": "New York", "days": 3}),
    ("call:get_weather{city:San Francisco, CA}", "get_weather", {"city": "San Francisco, CA"}),
    ("call:get_weather{unit:celsius,city:Rome}", "get_weather", {"unit": "celsius", "city": "Rome"}),
    ("call:get_weather(city=Rome, unit=celsius)", "get_weather", {"city": "Rome", "unit": "celsius"}),
    ('call:bash{command:ls -la,path:<|"|>/tmp<|"|>}', "bash", {"command": "ls -la", "path": "/tmp"}),
    ("call:grep{path:https://a.b/c?d=e}", "grep", {"path": "https://a.b/c?d=e"}),
    ("call:bash{command:at 10:30}", "bash", {"command": "at 10:30"}),
    ("call:bash{command:echo the users' files}", "bash", {"command": "echo the users' files"}),
    ("call:bash{command:print(1)}", "bash", {"command": "print(1)"}),
    ("call:set{tags:[one,two]}", "set", {"tags": ["one", "two"]}),
    ("call:set{edits:[{old:x,new:y}]}", "set", {"edits": [{"old": "x", "new": "y"}]}),
    ("call:bash{command=at 10:30}", "bash", {"command": "at 10:30"}),
    ("call:set{tags:[one,two],more:1}", "set", {"tags": ["one", "two"], "more": 1}),
    ("call:set{note:later}", "set", {"note": "later"}),
    ("call:set{mode:none}", "set", {"mode": "none"}),
    ("call:set{mode:1}", "set", {"mode": "1"}),
    ("call:set{zip:01234}", "set", {"zip": "01234"}),
    ("call:set{zip:1234.0}", "set", {"zip": "1234.0"}),
    ("call:set{zip:true}", "set", {"zip": "true"}),
    ("call:set{any:5}", "set", {"any": 5}),
    ("call:set{any:five}", "set", {"any": "five"}),
    ('call:set{any:<|"|>5<|"|>}', "set", {"any": "5"}),
    # a missing last bracket
    ("call:f{a:1", "f", {"a": 1}),
    ("call:f(a=1", "f", {"a": 1}),
    ('call:bash{command:<|"|>ls<|"|>', "bash", {"command": "ls"}),
    ('call:set{edits:[{old:<|"|>x<|"|>,new:<|"|>y<|"|>}]', "set", {"edits": [{"old": "x", "new": "y"}]}),
    ("call:f{l:[1,2", "f", {"l": [1, 2]}),
    ('{"name":"f","arguments":{"a":1}', "f", {"a": 1}),
    # a bracket too many
    ("call:f{a:1}}", "f", {"a": 1}),
    ("call:f(a=1)}", "f", {"a": 1}),
    ('call:bash{command:<|"|>ls<|"|>}})', "bash", {"command": "ls"}),
    # a missing quoting token
    ('call:bash{command:<|"|>ls}', "bash", {"command": "ls"}),
    ('call:bash{path:<|"|>/tmp<|"|>,command:<|"|>ls -la, (all)}', "bash", {"path": "/tmp", "command": "ls -la, (all)"}),
    ('call:bash{command:<|"|>ls,path:<|"|>/tmp<|"|>}', "bash", {"command": "ls", "path": "/tmp"}),
    ('call:bash{command:ls -la, all<|"|>,path:<|"|>/tmp<|"|>}', "bash", {"command": "ls -la, all", "path": "/tmp"}),
    ("call:bash{command:<|\"|>awk '{print}' a}", "bash", {"command": "awk '{print}' a"}),
    ('call:set{tags:[<|"|>a<|"|>,b<|"|>]}', "set", {"tags": ["a", "b"]}),
    ('call:set{edits:[{old:x<|"|>},{new:<|"|>y<|"|>}]}', "set", {"edits": [{"old": "x"}, {"new": "y"}]}),
    ('call:now{x:{y:z<|"|>},a:<|"|>b<|"|>}', "now", {"x": {"y": "z"}, "a": "b"}),
    # quotes inside of strings without quotes
    ('call:bash{command:ls -F "vault/"}', "bash", {"command": 'ls -F "vault/"'}),
    ("call:bash{command:see `a/` and 'b', \"c\" (d)}", "bash", {"command": "see `a/` and 'b', \"c\" (d)"}),
    (
        "call:bash{command:\n\n# The users' files\n\nIn `a/`.}",
        "bash",
        {"command": "\n\n# The users' files\n\nIn `a/`."},
    ),
    (
        "call:bash{command:at 10:00, 11:00 and 12:00,path:x}",
        "bash",
        {"command": "at 10:00, 11:00 and 12:00", "path": "x"},
    ),
    ("call:bash{command:echo a, see also: b}", "bash", {"command": "echo a, see also: b"}),
    # other models' word for a call
    ('call:tool_call\n{"name":"f","arguments":{"a":1}}\n', "f", {"a": 1}),
    ('call:tool_call>\n{"name":"f","args":{"a":1}}\n</tool_call>', "f", {"a": 1}),
    ('call:tool_call{name:<|"|>f<|"|>,arguments:{a:1}}', "f", {"a": 1}),
    ('call:tool_call{name:"f",arguments={"a":1}}', "f", {"a": 1}),
    ('call:tool_call{get_weather{city:<|"|>Rome<|"|>}}', "get_weather", {"city": "Rome"}),
    ('call:tool_call:get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('call:tool_call: get_weather{city:<|"|>Rome<|"|>}', "get_weather", {"city": "Rome"}),
    ('<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>', "f", {"a": 1}),
    ('{"tool_call":{"name":"f","arguments":{"a":1}}}', "f", {"a": 1}),
    ('call:f{{"a":1}}', "f", {"a": 1}),
    ("call:f{{a:1}}", "f", {"a": 1}),
    ("call:f{a:1}>", "f", {"a": 1}),
    ('```json\n{"name":"f","arguments":{"a":1}}\n```', "f", {"a": 1}),
    ("```\ncall:f{a:1}\n```", "f", {"a": 1}),
    # strings that spell what the schema takes
    ('call:f{a:<|"|>5<|"|>}', "f", {"a": 5}),
    ('call:f{a:"5"}', "f", {"a": 5}),
    ('call:set{ratio:<|"|> .5 <|"|>,on:<|"|>True<|"|>}', "set", {"ratio": 0.5, "on": True}),
    ('call:set{tags:<|"|>["a", "b"]<|"|>}', "set", {"tags": ["a", "b"]}),
    ('call:set{env:<|"|>{"A": "x"}<|"|>}', "set", {"env": {"A": "x"}}),
    ('call:f{a:<|"|>5.5<|"|>}', "f", {"a": "5.5"}),
    ('call:f{a:<|"|>five<|"|>,b:<|"|>true<|"|>}', "f", {"a": "five", "b": "true"}),
    ('call:set{tags:<|"|>a, b<|"|>,env:<|"|>[1]<|"|>}', "set", {"tags": "a, b", "env": "[1]"}),
    ('call:get_weather{city:<|"|>5<|"|>,new:<|"|>5<|"|>}', "get_weather", {"city": "5", "new": "5"}),
    ('call:set{zip:<|"|>5<|"|>,note:<|"|>null<|"|>}', "set", {"zip": "5", "note": "null"}),
]

SEVERAL = [
    ("call:f{a:1}call:f{a:2}", [("f", {"a": 1}), ("f", {"a": 2})]),
    ("call:f{a:1}, call:now{}", [("f", {"a": 1}), ("now", {})]),
    ("call:f{a:1}\ncall:now{}\ncall:f(b=2)", [("f", {"a": 1}), ("now", {}), ("f", {"b": 2})]),
    ("call:now{};call:now{};", [("now", {}), ("now", {})]),
    ("f{a:1}now{}", [("f", {"a": 1}), ("now", {})]),
    ('[{"name":"f","arguments":{"a":1}},{"name":"now","arguments":{}}]', [("f", {"a": 1}), ("now", {})]),
    ('{"name":"now"}{"name":"now"}', [("now", {}), ("now", {})]),
    (
        '<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>\n<tool_call>{"name":"now"}</tool_call>',
        [("f", {"a": 1}), ("now", {})],
    ),
    ('call:bash{command:<|"|>x}call:f{a:1<|"|>}call:now{}', [("bash", {"command": "x}call:f{a:1"}), ("now", {})]),
]

REFUSED = [
    "",
    "I will look.",
    "- starting-task-overview",
    "call:f",
    "call:f{",
    "call:f{a:1,",
    "call:f{a:",
    "call:f(a:1}",
    "call:f{a:1)",
    "call:f(1)",
    'call:get_weather("Rome")',
    "call:f{a:1 b:2}",
    "call:tool_call\nls",
    'call:tool_call{x:<|"|>y<|"|>}',
    "call:f{{a:1},b:2}",
    "call:f{a:[1}",
    "call:f{l:[1]]}",
    "call:f{a:one}",
    "call:unknown{a:one}",
    "call:f{a:1}{b:2}",
    "call:f{a:1} and so on",
    'call:bash{command:<|"|>x<|"|>y<|"|>}',
    'call:bash{command:<|"|>echo ${HOME}',
    'call:bash{command:<|"|>make, path:/tmp}',
    'call:f{a:<|"|>one,b:<|"|>two}',
    'call:bash{command:<|"|>' + "a, " * 300 + "}",
    "call:bash{command:echo }}",
    'call:bash{command:say "hi, path:1"}',
    'call:bash{command:"ls}',
    'call:bash{command:"say "hi" now"}',
    "call:bash{command:'x' and 'y'}",
    "call:bash{command:it's 'x, path:1'}",
    'call:bash{command:"C:\\users\\bob"}',
    "call:bash{command:'C:\\temp'}",
    'call:bash{command:<|"|>}',
    '{"name":"f","tool":"now","arguments":{}}',
    '{"name":"f","arguments":{},"args":{}}',
    "call:get_weather{city:Rome days:3}",
    "call:get_weather{city:Rome, unit}",
    "call:bash{command:echo a, note: b}",
    "call:bash{command:awk '{print}'}",
    "call:bash{command:a[0]}",
    "call:set{env:{A:x,B:y}}",
    "call:run:\nBEGIN_ARG:\nls\nEND_ARG",
    '{"name":"f","arguments":{"a":1},"why":"?"}',
    '{"name":"f","arguments":[1]}',
    '{"name":"f","arguments":"{"}',
    '{"arguments":{"a":1}}',
    "[]",
    '{"name":"f","arguments":"{\\"a\\": NaN}"}',
    '{"name":"f","arguments":"{\\"a\\": 1e999}"}',
]


def read(processor: Processor, ids: list[int], tools: list[Tool] = TOOLS) -> list[Piece]:
    """All pieces up to the end of the reply; what is above a limit is never fed."""
    parser = ReplyParser(processor.tokenizer, (), [processor.tokenizer.id("<turn|>")], tools=tools)
    pieces = []
    for id in ids:
        pieces += parser.feed(id).split()
        if parser.stopped:
            break
    return [*pieces, *parser.finish().split()]


def calls(pieces: list[Piece]) -> list[ToolCall | MalformedCall]:
    return [call for piece in pieces for call in (piece.call, piece.malformed) if call is not None]


def marked(processor: Processor, inside: str) -> list[int]:
    return ids_of(processor, f"<|tool_call>{inside}<tool_call|><turn|>")


@pytest.mark.parametrize(("inside", "name", "arguments"), READ)
def test_what_can_mean_one_thing_is_read(processor: Processor, inside: str, name: str, arguments: Any) -> None:
    found = calls(read(processor, marked(processor, inside)))
    assert found == [ToolCall(name, arguments)]
    assert repr(found) == repr([ToolCall(name, arguments)])  # 1, 1.0 and True are not the same


def test_quotes_that_are_spelled_out_are_quotes(processor: Processor) -> None:
    start, *_, end = marked(processor, "")[:2]
    typed = processor.tokenizer.encode('call:bash{<|"|>command<|"|>:<|"|>a "b", {c}<|"|>}')
    assert calls(read(processor, [start, *typed, end])) == [ToolCall("bash", {"command": 'a "b", {c}'})]


@pytest.mark.parametrize(("inside", "expected"), SEVERAL)
def test_several_calls_between_the_same_marks(processor: Processor, inside: str, expected: list[Any]) -> None:
    assert calls(read(processor, marked(processor, inside))) == [ToolCall(*call) for call in expected]


@pytest.mark.parametrize("inside", REFUSED)
def test_what_can_mean_two_things_is_told(processor: Processor, inside: str) -> None:
    (found,) = calls(read(processor, marked(processor, inside)))
    assert isinstance(found, MalformedCall)
    assert found.text == inside
    assert "\n" not in found.message


@pytest.mark.parametrize("inside", ['call:bash{command:<|"|>ls', "bash(ls)", "call:x.bash{"])
def test_a_malformed_call_names_its_tool(processor: Processor, inside: str) -> None:
    (found,) = calls(read(processor, marked(processor, inside)))
    assert isinstance(found, MalformedCall)
    assert found.as_call() == ToolCall("bash", {"malformed": inside})


@pytest.mark.parametrize("end", ["<turn|>", "<|tool_response>", "<|tool_call>call:now{}<tool_call|>", ""])
def test_a_whole_body_needs_no_end_mark(processor: Processor, end: str) -> None:
    ids = ids_of(processor, '<|tool_call>call:bash{command:<|"|>ls<|"|>}' + end)
    assert calls(read(processor, ids))[0] == ToolCall("bash", {"command": "ls"})


@pytest.mark.parametrize("body", ["call:f{a:1", 'call:bash{command:<|"|>ls', "call:set{tags:[one]", "call:f"])
def test_half_a_body_is_none(processor: Processor, body: str) -> None:
    (found,) = calls(read(processor, ids_of(processor, f"<|tool_call>{body}<turn|>")))
    assert isinstance(found, MalformedCall)
    with pytest.raises(GemmaError, match=r"ended inside a tool call, which was not run: 'call:.*'; raise max_tokens"):
        read(processor, ids_of(processor, f"<|tool_call>{body}"))


def test_a_malformed_call_takes_no_other_with_it(processor: Processor) -> None:
    ids = ids_of(processor, "<|tool_call>call:f{a:}<tool_call|><|tool_call>oh<|tool_call>call:now{}<tool_call|>Done.")
    pieces = read(processor, ids)
    assert [type(call) for call in calls(pieces)] == [MalformedCall, MalformedCall, ToolCall]
    assert "".join(piece.text for piece in pieces if piece.channel == "answer") == "Done."


def test_without_declared_tools_words_stay_words(processor: Processor) -> None:
    for inside in ("call:get_weather{city:Rome}", "call:f{a:one}"):
        (found,) = calls(read(processor, marked(processor, inside), tools=[]))
        assert isinstance(found, MalformedCall)
    assert calls(read(processor, marked(processor, "server:f(a=1)"), tools=[])) == [ToolCall("server:f", {"a": 1})]


@pytest.mark.parametrize(
    ("name", "tools", "found"),
    [
        ("get", ["get"], "get"),
        ("a.get", ["get", "a.get"], "a.get"),
        ("x:a.get", ["get", "a.get"], None),
        ("forget", ["get"], None),
        ("for_get", ["get"], None),
        ("get.x", ["get"], None),
        ("a__get", ["get", "put"], "get"),
    ],
)
def test_a_prefix_finds_the_only_tool(name: str, tools: list[str], found: str | None) -> None:
    assert find_tool(name, tools) == found


def test_a_name_that_begins_as_calls_do_is_a_name(processor: Processor) -> None:
    tools = list(read_tools([declared("call:f", a=INTEGER), declared("call", a=INTEGER)]).values())
    for inside, name in (("call:call:f{a:1}", "call:f"), ("call:call{a:1}", "call")):
        assert calls(read(processor, marked(processor, inside), tools=tools)) == [ToolCall(name, {"a": 1})]


def test_a_reply_holds_so_many_calls(processor: Processor) -> None:
    ids = ids_of(processor, "<|tool_call>call:now{}<tool_call|>") * (MAX_CALLS + 5)
    found = calls(read(processor, ids))
    assert found[:-1] == [ToolCall("now", {})] * 64
    assert isinstance(found[-1], MalformedCall)
    assert found[-1].problem == "a reply may hold 64 calls; what came after them was not read"
    block = calls(read(processor, marked(processor, "call:now{}" * 70)))
    assert block == [*found[:-1], MalformedCall("call:now{}" * 70, found[-1].problem, "now")]


TEXT = st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=30)


@given(TEXT)
@settings(deadline=None, max_examples=60)
def test_quotes_hold_any_text(processor: Processor, text: str) -> None:
    """JSON's quotes as JSON writes them, and Gemma's around anything."""
    import json

    for value in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        assert calls(read(processor, marked(processor, f"bash(command={value})"))) == [
            ToolCall("bash", {"command": text})
        ]


@given(st.text("call:fbash(){}[],:=\"'`\\ 1x<|>\n", max_size=40), st.booleans())
@settings(deadline=None, max_examples=150)
def test_any_text_between_marks_is_calls_or_told(processor: Processor, inside: str, closed: bool) -> None:
    ids = marked(processor, inside) if closed else ids_of(processor, f"<|tool_call>{inside}<turn|>")
    assert calls(read(processor, ids))
