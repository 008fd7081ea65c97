"""MCP servers at an address: real ones of the `mcp` package on this machine, and others that misbehave."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx import mcp
from gemma4_mlx.agent import run_call
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.mcp import open_servers, ways
from gemma4_mlx.mcp_config import read_servers
from gemma4_mlx.mcp_server import HTTP, SSE, Server
from gemma4_mlx.prompt.calls import ToolCall
from gemma4_mlx.prompt.tools import Tool

pytest.importorskip("mcp")
SEEN: list[dict[str, str]] = []
"""Headers of every request that came."""


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An application that answers at the address."""
    import uvicorn

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            SEEN.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(watched, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """The addresses of one server's both ways."""
    from mcp.server import MCPServer

    server = MCPServer("test")

    @server.tool()
    def add(first: int, second: int) -> str:
        """Adds two numbers."""
        return str(first + second)

    @server.tool()
    def fail() -> str:
        raise ValueError("the disk is full")

    with serving(server.streamable_http_app()) as http, serving(server.sse_app()) as sse:
        yield {HTTP: f"{http}/mcp", SSE: f"{sse}/sse", "nowhere": f"{http}/nowhere"}


@pytest.mark.parametrize("way", [HTTP, SSE])
@pytest.mark.parametrize("named", [True, False])
def test_both_ways_are_found_and_used(addresses: dict[str, str], way: str, named: bool) -> None:
    SEEN.clear()
    headers = {"Authorization": "Bearer secret", "X-Own": "1"}
    server = Server("", url=addresses[way], transport=way if named else None, headers=headers)
    with open_servers({"web": server}) as tools:
        assert [(tool.name, tool.server) for tool in tools] == [("add", "web"), ("fail", "web")]
        by_name = {tool.name: tool for tool in tools}
        assert by_name["add"].description == "Adds two numbers."
        assert run_call(ToolCall("add", {"first": 2, "second": 3}), by_name, None).text == "5"
        assert run_call(ToolCall("fail", {}), by_name, None).text == "error: Error executing tool fail"
        assert run_call(ToolCall("add", {"first": 20, "second": 3}), by_name, None).text == "23"
    assert {(request.get("authorization"), request.get("x-own")) for request in SEEN} == {("Bearer secret", "1")}


def test_a_server_whose_address_says_nothing_is_tried_in_both_ways(addresses: dict[str, str]) -> None:
    assert ways(Server("", url="http://a/mcp")) == [HTTP, SSE]
    assert ways(Server("", url="http://a/sse/")) == [SSE, HTTP]
    assert ways(Server("", url="http://a/sse", transport=HTTP)) == [HTTP]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcp, "ways", lambda _: [HTTP, SSE])
        with open_servers({"web": Server("", url=addresses[SSE])}) as tools:
            assert len(tools) == 2
        patch.setattr(mcp, "ways", lambda _: [SSE, HTTP])
        with open_servers({"web": Server("", url=addresses[HTTP])}) as tools:
            assert len(tools) == 2


class Odd(BaseHTTPRequestHandler):
    """Answers as its path says."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        way = self.path.strip("/")
        kind, text = "application/json", "{}"
        if way == "silent":
            time.sleep(2)
        elif way == "page":
            kind, text = "text/html", "<html>Welcome</html>"
        elif way == "garbage":
            text = "not JSON"
        elif way == "old":
            result = {"protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            text = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})
        self.send_response(int(way) if way.isdecimal() else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("401", "it asks who you are (HTTP 401); put a token into its headers"),
        ("403", "it refuses this (HTTP 403); the token in its headers may be wrong, or not enough"),
        ("404", "there is nothing at its url (HTTP 404); look at the path"),
        ("405", "there is no MCP server at its url (HTTP 405); look at the path"),
        ("429", "it is asked too often (HTTP 429); wait a while"),
        ("500", "it fails (HTTP 500): "),
        ("503", "it fails (HTTP 503): "),
        ("page", "Unexpected content type: text/html"),
        ("garbage", "Failed to parse JSON response: "),
        ("silent", "no answer within 0.5 s"),
        ("old", "Unsupported protocol version from the server: 1999-01-01"),
    ],
)
def test_a_server_that_does_not_answer_is_told_in_one_line(
    odd: str, path: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "START_SECONDS", 0.5 if path == "silent" else 20)
    with pytest.raises(GemmaError) as error, open_servers({"web": Server("", url=f"{odd}/{path}")}):
        pass
    assert str(error.value).startswith(f"MCP server web does not answer: {why}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("transport", [None, HTTP, SSE])
def test_nobody_is_there(transport: str | None) -> None:
    with (
        pytest.raises(GemmaError) as error,
        open_servers({"web": Server("", url="http://127.0.0.1:1/mcp", transport=transport)}),
    ):
        pass
    assert str(error.value).startswith("MCP server web does not answer: it can't be reached (")
    assert str(error.value).endswith("); is it running, and is its url right?")


def test_a_server_that_goes_away_leaves_the_others(addresses: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    from mcp.server import MCPServer

    short = MCPServer("short")

    @short.tool()
    def look() -> str:
        return "seen"

    with serving(short.streamable_http_app()) as address:
        servers = {"web": Server("", url=addresses[HTTP]), "short": Server("", url=f"{address}/mcp")}
        opened = open_servers({**servers, "none": Server("", url=addresses["nowhere"])})
        tools: dict[str, Tool] = {tool.name: tool for tool in opened.__enter__()}
        assert run_call(ToolCall("look", {}), tools, None).text == "seen"
    gone = run_call(ToolCall("look", {}), tools, None).text
    assert gone.startswith("error: MCP server short: it can't be reached (")
    assert run_call(ToolCall("add", {"first": 2, "second": 3}), tools, None).text == "5"
    opened.__exit__(None, None, None)
    nothing = "MCP server none does not answer: there is nothing at its url (HTTP 404); look at the path"
    assert caplog.records[0].getMessage() == f"{nothing}; its tools are left out"


def test_a_call_has_its_time(odd: str, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_servers({"web": Server("", url=addresses[HTTP], call_seconds=0.000001)}) as tools:
        add = {tool.name: tool for tool in tools}
        told = run_call(ToolCall("add", {"first": 2, "second": 3}), add, None).text
        assert told == "error: MCP server web gave no answer within 1e-06 s"
    with (
        pytest.raises(GemmaError, match=r"no answer within 0\.3 s"),
        open_servers({"web": Server("", url=f"{odd}/silent", start_seconds=0.3)}),
    ):
        pass


def test_a_file_leads_to_tools(addresses: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    SEEN.clear()
    entry = {"type": "http", "url": addresses[HTTP], "headers": {"Authorization": "Bearer ${env:TOKEN}"}}
    (tmp_path / "mcp.json").write_text(json.dumps({"servers": {"web": entry | {"includeTools": ["a*"]}}}))
    with open_servers(read_servers(tmp_path / "mcp.json")) as tools:
        assert [tool.name for tool in tools] == ["add"]
    assert {request["authorization"] for request in SEEN} == {"Bearer secret"}
