"""Tools of MCP servers, which are started as `mcp.json` says and talked to over their standard input and output."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gemma4_mlx.config import read_given_json
from gemma4_mlx.errors import GemmaError, one_line, shortened
from gemma4_mlx.prompt.tools import Tool, readable_tool

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from mcp import Client
    from mcp.types import CallToolResult

START_SECONDS, CALL_SECONDS = 30.0, 300.0
"""How long a server may take to answer at first, and to run a tool."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    cwd: str | None = None


def read_servers(path: str | Path) -> dict[str, Server]:
    """The servers of a file `{"mcpServers": {NAME: {"command", "args", "env", "cwd"}}}`.

    Raises GemmaError where it is something else, or names a server that is not started by a command.
    """
    content = read_given_json(path, str(path))
    entries = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise GemmaError(f"{path}: expected {{'mcpServers': {{NAME: {{'command': ..., 'args': [...]}}}}}}")
    return {name: _read_server(f"{path}: {name}", entry) for name, entry in entries.items()}


def _read_server(name: str, entry: Any) -> Server:
    if not isinstance(entry, dict) or not isinstance(entry.get("command"), str):
        raise GemmaError(f"{name} has no command; only servers that are started by one can be used")
    args, env, cwd = entry.get("args") or [], entry.get("env"), entry.get("cwd")
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise GemmaError(f"{name}: args must be a list of strings")
    if env is not None and not (isinstance(env, dict) and all(isinstance(value, str) for value in env.values())):
        raise GemmaError(f"{name}: env must be an object of strings")
    if cwd is not None and not isinstance(cwd, str):
        raise GemmaError(f"{name}: cwd must be a path")
    return Server(entry["command"], tuple(args), env, cwd)


@contextmanager
def open_servers(servers: Mapping[str, Server]) -> Iterator[list[Tool]]:
    """Starts the servers and gives their tools; ends the servers afterwards.

    Tools of the same name are called SERVER.TOOL, each of them; one whose declaration can't be read is left out, with a
    note. Raises GemmaError if a server does not start, or the `mcp` package is missing.
    """
    try:
        import mcp  # noqa: F401
        from anyio.from_thread import start_blocking_portal
    except ImportError:
        raise GemmaError('MCP servers need the package mcp: pip install "gemma4-mlx[mcp]"') from None
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        tools = [
            replace(tool, server=name)
            for name, server in servers.items()
            for tool in _start(stack, portal, name, server)
        ]
        yield [replace(tool, name=name) for tool, name in zip(tools, unique_names(tools), strict=True)]


def unique_names(tools: Sequence[Tool]) -> list[str]:
    """What each tool is called: SERVER.TOOL if another has its name, with a number if even that is taken."""
    counts = Counter(tool.name for tool in tools)
    names: list[str] = []
    for tool in tools:
        name = f"{tool.server}.{tool.name}" if counts[tool.name] > 1 else tool.name
        numbered = (f"{name}.{number}" for number in count(2))
        names.append(name if name not in names else next(other for other in numbered if other not in names))
    return names


def _start(stack: ExitStack, portal: BlockingPortal, name: str, server: Server) -> list[Tool]:
    """Starts one server and asks it for its tools. What it writes to stderr is kept for the error."""
    from mcp import Client, StdioServerParameters, stdio_client

    log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (the stack closes it)
    stack.enter_context(log)
    started = StdioServerParameters(
        command=server.command,
        args=list(server.args),
        env=None if server.env is None else dict(server.env),
        cwd=server.cwd,
    )
    client = Client(stdio_client(started, errlog=log), read_timeout_seconds=START_SECONDS)
    running = portal.wrap_async_context_manager(client)
    try:
        running.__enter__()
        stack.callback(running.__exit__, None, None, None)  # an error of ours is none of the server's
        declared = portal.call(_list_tools, client)
    except Exception as error:  # whatever goes wrong with a program of somebody else's
        raise GemmaError(f"MCP server {name} does not start: {_last_line(log) or one_line(error)}") from None
    read = [_tool(portal, client, declaration, f"MCP server {name}: ") for declaration in declared]
    return [tool for tool in read if tool is not None]


async def _list_tools(client: Client) -> list[dict[str, Any]]:
    declared: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            declared.append({"name": tool.name, "description": tool.description, "parameters": tool.input_schema})
        cursor = page.next_cursor
        if cursor is None or len(declared) > 1000:
            return declared


def _tool(portal: BlockingPortal, client: Client, declaration: Mapping[str, Any], whose: str) -> Tool | None:
    """The tool, or None, with a note, if its declaration can't be read."""

    async def call(arguments: Mapping[str, Any]) -> CallToolResult:
        return await client.call_tool(declaration["name"], dict(arguments), CALL_SECONDS)

    def run(arguments: Mapping[str, Any]) -> str:
        result = portal.call(call, arguments)
        if result.is_error:
            raise GemmaError(_text(result))
        return _text(result)

    tool = readable_tool(declaration, whose)
    return None if tool is None else replace(tool, run=run)


def _text(result: CallToolResult) -> str:
    """A result's texts. What is not text is named, so that the model knows of it."""
    return "\n".join(part.text if part.type == "text" else f"[{part.type} left out]" for part in result.content)


def _last_line(log: TextIO) -> str:
    log.seek(0)
    lines = log.read().split("\n")
    return next((shortened(line) for line in reversed(lines) if line.strip()), "")
