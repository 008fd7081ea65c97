"""Tools of MCP servers: a real server, written here, started as a file says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx import mcp, mcp_server
from gemma4_mlx.agent import run_call
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.mcp import Server, open_servers, unique_names
from gemma4_mlx.mcp_config import read_servers
from gemma4_mlx.mcp_server import LineBuffer
from gemma4_mlx.prompt.calls import ToolCall
from gemma4_mlx.prompt.tools import Tool

pytest.importorskip("mcp")

SERVER = """
import os
from mcp.server import MCPServer

server = MCPServer("test")

@server.tool()
def add(first: int, second: int) -> str:
    "Adds two numbers."
    return str(first + second)

@server.tool()
def setting() -> str:
    return os.environ.get("SETTING", "none")

@server.tool()
def fail() -> str:
    raise ValueError("the disk is full")

server.run()
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    entry = {"command": sys.executable, "args": [str(tmp_path / "server.py")]}
    servers = {"one": entry | {"env": {"SETTING": "blue"}}, "two": entry}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return tmp_path / "mcp.json"


def test_tools_are_declared_run_and_told_apart(config: Path) -> None:
    with open_servers(read_servers(config)) as listed:
        tools = {tool.name: tool for tool in listed}
        assert list(tools) == ["one.add", "one.setting", "one.fail", "two.add", "two.setting", "two.fail"]
        assert [tool.server for tool in listed] == ["one"] * 3 + ["two"] * 3
        add = tools["one.add"]
        assert add.description == "Adds two numbers."
        declared = add.declaration()["function"]["parameters"]
        assert {key: value["type"] for key, value in declared["properties"].items()} == {
            "first": "integer",
            "second": "integer",
        }
        assert declared["required"] == ["first", "second"]
        with pytest.raises(GemmaError, match=r"one\.add: argument first: 'x' is not of type 'integer'"):
            add.check({"first": "x", "second": 1})
        assert [tools[name].run({}) for name in ("one.setting", "two.setting")] == ["blue", "none"]
        assert add.run({"first": 2, "second": 3}) == "5"
        with pytest.raises(GemmaError, match="Error executing tool fail"):
            tools["one.fail"].run({})
        assert tools["two.add"].run({"first": 20, "second": 3}) == "23"


ODD = """
import anyio
import mcp.types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

PLAIN = {"type": "object"}
PATTERN = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^\\\\p{L}+$"}}}
WRONG = {"type": "object", "properties": {"x": {"type": "text"}}}

async def listed(*_):
    schemas = {"odd": PATTERN, "bad": WRONG, "good": PLAIN}
    return types.ListToolsResult(tools=[types.Tool(name=n, input_schema=s) for n, s in schemas.items()])

async def main():
    server = Server("odd", on_list_tools=listed)
    async with stdio_server() as streams:
        await server.run(*streams, server.create_initialization_options())

anyio.run(main)
"""


def test_a_bad_tool_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    with open_servers({"one": Server(sys.executable, (str(tmp_path / "odd.py"),))}) as listed:
        assert [tool.name for tool in listed] == ["odd", "good"]
        listed[0].check({"x": "1"})
    assert [record.getMessage() for record in caplog.records] == [
        "tool odd: arguments are not checked by the patterns that Python can't read",
        "MCP server one: tool bad: 'text' is not valid under any of the given schemas; it is left out",
    ]


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        ([("a", "look"), ("b", "see")], ["look", "see"]),
        ([("a", "look"), ("b", "look")], ["a.look", "b.look"]),
        ([("a", "b.look"), ("b", "look"), ("c", "look")], ["b.look", "b.look.2", "c.look"]),
        ([("b", "look"), ("c", "look"), ("a", "b.look")], ["b.look", "c.look", "b.look.2"]),
        ([("a", "look"), ("a", "look")], ["a.look", "a.look.2"]),
    ],
)
def test_no_name_hides_another(tools: list[tuple[str, str]], names: list[str]) -> None:
    declared = [Tool(name=name, description="", parameters={}, server=server) for server, name in tools]
    assert unique_names(declared) == names


def test_an_error_while_servers_run_stays_what_it_is(config: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_servers({"one": read_servers(config)["one"]}):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (Server("/nowhere/at-all"), "MCP server bad does not start: .*nowhere"),
        (Server(sys.executable, ("-c", "raise SystemExit('no key given')")), "does not start: no key given"),
        (
            Server(sys.executable, ("-c", r"raise SystemExit('\x1b]0;mine\x07 no\x7f key')")),
            r"start: \?\]0;mine\? no\? key$",
        ),
    ],
)
def test_a_server_that_does_not_start_is_named(server: Server, message: str) -> None:
    with pytest.raises(GemmaError, match=message) as error, open_servers({"bad": server}):
        pass
    assert "\n" not in str(error.value)


def misbehaving(way: str, *rest: str) -> Server:
    return Server(sys.executable, (str(Path(__file__).parent / "misbehaving.py"), way, *rest))


NO_ANSWER = "MCP server {way}: no answer; it wrote {wrote}, which is no message"
CALLED = {
    # what is no message beside an answer does not matter
    "fine": "seen",
    "text": "seen",
    "text before": "seen",
    "binary": "seen",
    "json": "seen",
    "text id": "seen",
    "twice": "seen",
    "batch": "seen",
    "crlf": "seen",
    "half": "a?",
    "latin": "caf\ufffd",
    "slow": "seen",
    "strict": "seen",
    "ignores": "seen",
    "modern": "seen",
    "answers all": "seen",
    "banner": "seen",
    "banner binary": "seen",
    # nor do notes and requests of the server's own
    "endless notes": "seen",
    "endless requests": "seen",
    "requests": "error error error result error",
    "changes": "seen",
    "stderr": "seen",
    # what is in the place of an answer ends the call
    "text alone": NO_ANSWER.replace("{wrote}", "'looking...'"),
    "broken": NO_ANSWER.replace("{wrote}", '\'{"jsonrpc": "2.0", "id": 3, "result": {"content": [\''),
    "no result": 'MCP server no result: no answer; it wrote \'{"jsonrpc": "2.0", "id": 3}\', which is no message',
    "text result": "MCP server text result: no answer; it wrote ",
    "old version": "MCP server old version: no answer; it wrote ",
    "wrong error": "MCP server wrong error: no answer; it wrote ",
    "deep": "MCP server deep: no answer; it wrote ",
    "wrong id": "MCP server wrong id: no answer; it answered 987654, which was not asked",
    "no id": "MCP server no id: no answer; it said 'parse error' of no request",
    "gigantic": "MCP server gigantic: wrote a line of more than 16 MB; ask for less at once",
    "endless line": "MCP server endless line: wrote a line of more than 16 MB; ask for less at once",
    "endless lines": "MCP server endless lines was ended: it wrote too much that answers nothing; it wrote 'xxx",
    "notes for ever": "MCP server notes for ever was ended: it wrote too much that answers nothing",
    "requests for ever": "MCP server requests for ever was ended: it wrote too much that answers nothing",
    "exit": "MCP server exit ended with exit code 3: KeyError: 'disk'",
    "killed": "MCP server killed was ended by SIGKILL",
    "closes": "MCP server closes",  # and how it ended, or that its connection is closed: whichever is known first
    "error": "MCP server error: no such ?[2Jfile",
    "is error": "no such file",
    "input": "it asks for more than a tool's arguments, which nobody here can give",
    # contents of every kind
    "nan": '{"a": NaN}',
    "structured": '{"degrees": 17}',
    "both": '{"degrees":17}',
    "more": 'One found.\n{"degrees": 17}',
    "wrapped": "17",
    "no content": "",
    "bare text": "seen",
    "kinds": (
        "seen\n[image left out: image/png, 3 bytes; only text of a tool's result can be read]\n"
        "[audio left out: audio/wav, 6 bytes; only text of a tool's result can be read]\n[resource file:///a]\nof a\n"
        "[resource left out: x/y, 3 bytes; only text of a tool's result can be read]\n[resource file:///c: c]\n"
        "[hologram left out: of no type, 3 bytes; only text of a tool's result can be read]\n"
        "[text left out: of no type; only text of a tool's result can be read]\nbare\n7"
    ),
}
FAILING = list(CALLED)[list(CALLED).index("text alone") : list(CALLED).index("nan")]


@pytest.fixture(scope="module")
def quick() -> Iterator[pytest.MonkeyPatch]:
    """Short limits, so that nothing has to be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcp_server, "STRAY_SECONDS", 0.1)
        patch.setattr(mcp_server, "END_SECONDS", 0.5)
        yield patch


@pytest.fixture(scope="module")
def crowd(quick: pytest.MonkeyPatch) -> Iterator[dict[str, Tool]]:
    """A server of every kind, all at once."""
    servers = {way: misbehaving(way, *(["17000000"] if way == "gigantic" else [])) for way in CALLED}
    with open_servers(servers) as tools:
        yield {tool.name: tool for tool in tools}


@pytest.mark.parametrize("way", CALLED)
def test_whatever_a_server_writes_a_call_ends_with_what_it_came_to(
    crowd: dict[str, Tool], way: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "endless lines" or way.endswith("for ever"):
        monkeypatch.setattr(mcp_server, "MAX_UNASKED", 1 << 20)
    result = run_call(ToolCall(f"{way}.look", {}), crowd, None)
    expected = CALLED[way].replace("{way}", way)
    if way in FAILING:
        assert result.text[: len(expected) + 7] == f"error: {expected}"
    else:
        assert result.text == expected
    assert result.failed is (way in FAILING)
    changed = "MCP server changes has other tools now; those of its start stay in use"
    assert [record.getMessage() for record in caplog.records] == ([changed] if way == "changes" else [])


@pytest.mark.parametrize("way", ["text alone", "broken", "exit", "closes", "gigantic"])
def test_the_next_call_ends_as_well(crowd: dict[str, Tool], way: str) -> None:
    for _ in range(2):
        assert run_call(ToolCall(f"{way}.look", {}), crowd, None).text.startswith(f"error: MCP server {way}")
    assert run_call(ToolCall("fine.look", {}), crowd, None).text == "seen"


def test_an_answer_at_the_edge_of_what_can_be_read_is_an_answer_or_an_error(
    quick: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_deep(*_: Any) -> dict[str, Any]:
        raise RecursionError("nested too deep")

    with open_servers({"one": misbehaving("fine")}) as (look,):
        assert run_call(ToolCall("look", {}), {"look": look}, None).text == "seen"
        monkeypatch.setattr(mcp, "result_text", too_deep)
        told = run_call(ToolCall("look", {}), {"look": look}, None).text
        assert told == "error: MCP server one: its answer can't be read (nested too deep)"
        monkeypatch.undo()
        assert run_call(ToolCall("look", {}), {"look": look}, None).text == "seen"


def test_what_can_not_be_written_is_said(
    quick: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_servers({"one": misbehaving("closes input"), "two": misbehaving("fine")}) as (deaf, fine):
        half = run_call(ToolCall("look", {"a": "\ud800"}), {"look": fine}, None).text
        assert half.startswith("error: MCP server two: ")
        assert run_call(ToolCall("look", {}), {"look": fine}, None).text == "seen"
        assert run_call(ToolCall("look", {}), {"look": deaf}, None).text == "seen"
        said = {run_call(ToolCall("look", {}), {"look": deaf}, None).text for _ in range(9)}
        assert said == {"error: MCP server one: has closed its input"}
    assert caplog.records == []


def test_a_call_that_is_never_answered_ends(quick: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "CALL_SECONDS", 0.3)
    with open_servers({"one": misbehaving("silent")}) as (look,):
        result = run_call(ToolCall("look", {}), {"look": look}, None)
        assert result.text == "error: MCP server one gave no answer within 0.3 s"


NOT_STARTED = {
    "start exit": "no key given",
    "start error": "no licence",
    "start wrong": "answers otherwise than the protocol says (capabilities: Field required)",
    "start old": "Unsupported protocol version from the server: 1999-01-01",
    "exits": "no key given",
    "quits": "ended with exit code 4",
    "list error": "the database is away",
    "list exit": "the disk is away",
    "no tools": "its list of tools is 'none'",
}


def test_a_server_that_does_not_start_leaves_the_others(
    quick: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    servers = {way: misbehaving(way) for way in NOT_STARTED}
    with open_servers({**servers, "fine": misbehaving("fine")}) as (look,):
        assert look.run is not None
        assert look.run({}) == "seen"
    assert [record.getMessage() for record in caplog.records] == [
        f"MCP server {way} does not start: {why}; its tools are left out" for way, why in NOT_STARTED.items()
    ]


def test_all_servers_that_do_not_start_are_said(quick: pytest.MonkeyPatch) -> None:
    servers = {f"s{number}": Server("/nowhere/at-all") for number in range(5)}
    with pytest.raises(GemmaError) as error, open_servers(servers):
        pass
    why = "does not start: there is no program /nowhere/at-all; correct its command"
    assert str(error.value) == f"MCP server s0 {why}; MCP server s1 {why}; MCP server s2 {why}; and 2 servers more"


def test_a_server_without_tools_is_said(quick: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with open_servers({"one": misbehaving("no method"), "two": misbehaving("fine")}) as tools:
        assert [tool.name for tool in tools] == ["look"]
    assert [record.getMessage() for record in caplog.records] == ["MCP server one has no tools"]


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("start silent", "no answer within 0.5 s"),
        ("list silent", "no answer within 0.5 s"),
        ("headers", "no answer within 2 s; it wrote 'Content-Length: 5', which is no message"),
        ("flood", "was ended: it wrote too much that answers nothing; it wrote 'xx"),
    ],
)
def test_a_server_that_never_starts_is_given_up(
    quick: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, way: str, why: str
) -> None:
    monkeypatch.setattr(mcp, "START_SECONDS", {"flood": 30, "headers": 2}.get(way, 0.5))
    monkeypatch.setattr(mcp_server, "MAX_UNASKED", 1 << 20)
    with pytest.raises(GemmaError) as error, open_servers({"one": misbehaving(way)}):
        pass
    assert str(error.value).startswith(f"MCP server one does not start: {why}")


@pytest.mark.parametrize(
    ("way", "names", "notes"),
    [
        ("endless pages", ["look_0", "look_1", "look_2"], ["lists tools without an end; at most 4 tools on 3 pages"]),
        ("same page", ["one.look", "one.look.2"], ["lists tools without an end"]),
        ("many", ["tool_0", "tool_1", "tool_2", "tool_3"], ["lists tools without an end; at most 4 tools on 3 pages"]),
        ("numbered pages", ["look_0", "look_1", "look_2"], []),
        ("odd tools", ["bare", "look"], ["a tool must be", "a tool must be"]),
        ("markup", ["look"], ["tool a?b: a name has at most 200 characters, all of them visible; it is left out"]),
        (
            "large",
            ["long", "look"],
            [
                f"tool {'n' * 100} ... {'n' * 90}: a name has at most 200 characters",
                "tool long: of its description the model reads 16,384 characters, not the last 3,616",
                "tool wide: its declaration has 70,",
            ],
        ),
    ],
)
def test_lists_of_tools_have_limits(
    quick: pytest.MonkeyPatch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    way: str,
    names: list[str],
    notes: list[str],
) -> None:
    monkeypatch.setattr(mcp, "MAX_PAGES", 3)
    monkeypatch.setattr(mcp, "MAX_TOOLS", 4)
    with open_servers({"one": misbehaving(way, "6")}) as tools:
        assert [tool.name for tool in tools] == names
        assert tools[0].run is not None
        assert tools[0].run({}) == "seen"
    assert len(caplog.records) == len(notes)
    for record, said in zip(caplog.records, notes, strict=True):
        assert said in record.getMessage()


def runs(pid: str) -> bool:
    status = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    return status.strip()[:1] not in ("", "Z")


def test_servers_end_with_their_children(quick: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with open_servers({"one": misbehaving("child", str(pids)), "two": misbehaving("stubborn")}) as tools:
        assert len(tools) == 2
        assert all(map(runs, pids.read_text().split()))
    for _ in range(1000):  # a busy machine takes a while to end what was killed
        if not any(map(runs, pids.read_text().split())):
            return
        time.sleep(0.1)
    pytest.fail("a child of a server still runs")


def interrupt_once(called: Path) -> None:
    """Ctrl-C, as soon as a server has been called."""
    while not called.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_a_call_and_the_server_goes_on(quick: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The silent one would end by itself, and the call with it, after a minute."""
    called = tmp_path / "called"
    with open_servers({"one": misbehaving("slow"), "two": misbehaving("silent", str(called))}) as tools:
        slow, silent = tools
        threading.Thread(target=interrupt_once, args=[called], daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_call(ToolCall("look", {}), {"look": silent}, None)
        assert slow.run is not None
        assert slow.run({}) == "seen"


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb", b"c\n\nd"], [b"a", b"bc", b""]),
        ([b"12345", b"67\n", b"8\n"], [None, b"8"]),
        ([b"123456\n12345\n"], [None, b"12345"]),
        ([b"1234567", b"1234567", b"\nx\n"], [None, b"x"]),
    ],
)
def test_lines_have_a_limit(chunks: list[bytes], lines: list[bytes | None]) -> None:
    buffer = LineBuffer(5)
    assert [line for chunk in chunks for line in buffer.feed(chunk)] == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable JSON file"),
        ("[]", 'expected {"mcpServers"'),
        ({"hosts": {}}, 'expected {"mcpServers"'),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "a: args must be a list of strings"),
        ({"mcpServers": {"a": {"command": "x", "env": {"K": 1}}}}, "a: env must be an object of strings"),
        ({"mcpServers": {"a": {"command": "x", "cwd": 1}}}, "a: cwd must be a path"),
        ({"mcpServers": {"a": {"command": "x", "env": ["K"]}}}, "a: env must be an object of strings"),
        ({"mcpServers": {"a": {"command": "x", "args": [1]}}}, "a: args must be a list of strings"),
        ({"mcpServers": {"a": {"command": "x\0"}}}, "a: no program can be given what has a zero character"),
        ({"mcpServers": {"a": {"command": "x", "env": {"K=": "v"}}}}, "a: no program can be given"),
        ({"mcpServers": {"a": {"command": "x", "env": {"K": "\0"}}}}, "a: no program can be given"),
        ({"mcpServers": {"a": {"command": "  "}}}, "a has no command"),
        ({"mcpServers": {"a": "x"}}, "a has no command"),
        ({"mcpServers": {"a": {"command": []}}}, "a has no command: it must be the name or the path of a program"),
        ({"mcpServers": {"a": {"command": 3}}}, "a has no command: it must be the name or the path of a program"),
        ({"mcpServers": ["a"]}, 'expected {"mcpServers"'),
        ({"mcpServers": {"": {"command": "x"}}}, "a server's name has 1 to 100 visible characters, and no braces"),
        ({"mcpServers": {"a\nb": {"command": "x"}}}, "a b: a server's name has 1 to 100 visible characters"),
        ({"mcpServers": {"a{": {"command": "x"}}}, "a server's name has 1 to 100 visible characters"),
        ({"mcpServers": {"a" * 101: {"command": "x"}}}, "a server's name has 1 to 100 visible characters"),
        ({"mcpServers": {f"a{n}": {"command": "x"} for n in range(65)}}, "65 servers; at most 64 are started"),
        ({"mcpServers": {"a": {"command": "x", "disabled": True}}}, "a is disabled"),
        ({"mcpServers": {"a": {"command": "x", "enabled": False}}}, "a is disabled"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "a is there twice; rename one"),
        ('{"mcpServers": {"a": {"command": "x"},}}', "not a readable JSON file"),
        ('{// servers\n"mcpServers": {"a": {"command": "x"}}}', "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ("\udcff", "not a readable JSON file"),
        ("", "not a readable JSON file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), errors="surrogateescape")
    with pytest.raises(GemmaError) as error:
        read_servers(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(GemmaError, match="not a readable JSON file"):
        read_servers(tmp_path)
    with pytest.raises(GemmaError, match="there is no such file"):
        read_servers(tmp_path / "none.json")


def test_what_of_a_file_is_not_used_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    servers = {
        "off": {"command": "x", "disabled": True},
        "one": {"command": "x", "args": ["${HOME}"], "colour": "red", "headers": {}, "type": "stdio"},
        "two": {"command": "y", "args": None, "env": None},
    }
    path = tmp_path / "mcp.json"
    path.write_text("\ufeff" + json.dumps({"mcpServers": servers, "inputs": []}), encoding="utf-8")
    assert read_servers(path) == {"one": Server("x", ("/home/me",)), "two": Server("y")}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: one: not used: colour, headers",
        f"{path}: off is disabled; it is left out",
    ]


def test_the_usual_file_is_read(config: Path) -> None:
    servers = read_servers(config)
    assert servers["one"].env == {"SETTING": "blue"}
    assert servers["two"] == Server(sys.executable, (str(config.parent / "server.py"),))
