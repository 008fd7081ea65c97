"""Tools of MCP servers: a real server, written here, started as a file says."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.mcp import Server, open_servers, read_servers, unique_names
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable JSON file"),
        ("[]", "expected {'mcpServers'"),
        ({"servers": {}}, "expected {'mcpServers'"),
        ({"mcpServers": {"web": {"url": "http://a.invalid"}}}, "web has no command"),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "a: args must be a list of strings"),
        ({"mcpServers": {"a": {"command": "x", "env": {"K": 1}}}}, "a: env must be an object of strings"),
        ({"mcpServers": {"a": {"command": "x", "cwd": 1}}}, "a: cwd must be a path"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(GemmaError, match=message):
        read_servers(path)
    with pytest.raises(GemmaError, match="not a readable JSON file"):
        read_servers(tmp_path / "none.json")


def test_the_usual_file_is_read(config: Path) -> None:
    servers = read_servers(config)
    assert servers["one"].env == {"SETTING": "blue"}
    assert servers["two"] == Server(sys.executable, (str(config.parent / "server.py"),))
