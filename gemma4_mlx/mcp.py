"""Tools of MCP servers, which are started as `mcp.json` says and talked to over their standard input and output."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError, MissingPackageError, note, one_line, shortened
from gemma4_mlx.files import read_given_json
from gemma4_mlx.mcp_server import Server, ServerProcess
from gemma4_mlx.prompt.tools import Tool, readable_tool

if TYPE_CHECKING:
    from anyio import Event
    from anyio.from_thread import BlockingPortal

START_SECONDS, CALL_SECONDS = 30.0, 300.0
"""How long a server may take to start and list its tools, and to run a tool."""

MAX_SERVERS, MAX_PAGES, MAX_TOOLS = 64, 1000, 10_000
"""Servers of a file; pages and tools of a server's list, of which the rest is left out."""

LONGEST_SERVER_NAME = 100  # characters

NO_METHOD = -32601
NO_HANDSHAKE = (NO_METHOD, -32022)
"""Errors of servers that do not know a method, and `initialize`: no such method, no such version of the protocol."""

KNOWN_KEYS = {"command", "args", "env", "cwd", "type", "disabled", "name", "description", "$schema"}
ADDRESSES = ("url", "serverUrl", "httpUrl")
"""Keys of servers that somebody else has started, as other programs write them."""


def read_servers(path: str | Path) -> dict[str, Server]:
    """The servers of a file `{"mcpServers": {NAME: {"command", "args", "env", "cwd"}}}`.

    Those that are disabled, or reached by an address, are left out with a note if there are others. Raises GemmaError
    if it is something else, or has no server that is started by a command.
    """
    content = read_given_json(path, str(path), pairs=_distinct)
    entries = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise GemmaError(f"{path}: expected {{'mcpServers': {{NAME: {{'command': ..., 'args': [...]}}}}}}")
    if not entries:
        note(f"{path}: no servers there, so there are no tools")
    if len(entries) > MAX_SERVERS:
        raise GemmaError(f"{path}: {len(entries)} servers; at most {MAX_SERVERS} are started")
    left_out = {name: why for name, entry in entries.items() if (why := _unusable(entry))}
    if entries and len(left_out) == len(entries):
        name, why = next(iter(left_out.items()))
        raise GemmaError(f"{path}: {shortened(name)} {why}")
    for name, why in left_out.items():
        note(f"{path}: {shortened(name)} {why}; it is left out")
    return {name: _read_server(str(path), name, entry) for name, entry in entries.items() if name not in left_out}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError if a name in it stands for two things: one would hide the other."""
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise ValueError(f"{shortened(twice[0])} is there twice; rename one")
    return dict(pairs)


def _unusable(entry: Any) -> str:
    """Why a server can't be used though nothing is wrong with its entry; empty if it can."""
    if not isinstance(entry, dict):
        return ""
    if entry.get("disabled") is True:
        return "is disabled"
    address = next((key for key in ADDRESSES if key in entry), None)
    if address is not None and "command" not in entry:
        return f"has no command but a {address}: servers at an address can't be used yet, only those started here"
    return ""


def _read_server(path: str, name: str, entry: Any) -> Server:
    where = f"{path}: {shortened(name)}"
    if not name.strip() or not name.isprintable() or set(name) & set("{}") or len(name) > LONGEST_SERVER_NAME:
        raise GemmaError(f"{where}: a server's name has 1 to {LONGEST_SERVER_NAME} visible characters, and no braces")
    if not isinstance(entry, dict) or not isinstance(entry.get("command"), str) or not entry["command"].strip():
        raise GemmaError(f"{where} has no command; only servers that are started by one can be used")
    args, env, cwd = entry.get("args") or [], entry.get("env"), entry.get("cwd") or None
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise GemmaError(f"{where}: args must be a list of strings")
    if env is not None and not (isinstance(env, dict) and all(isinstance(value, str) for value in env.values())):
        raise GemmaError(f"{where}: env must be an object of strings")
    if cwd is not None and not isinstance(cwd, str):
        raise GemmaError(f"{where}: cwd must be a path")
    words = [entry["command"], *args, *(env or {}), *(env or {}).values(), cwd or ""]
    if any("\0" in word for word in words) or any("=" in key or not key for key in env or {}):
        raise GemmaError(f"{where}: no program can be given what has a zero character, or a variable's name with =")
    if unknown := sorted(set(entry) - KNOWN_KEYS):
        note(f"{where}: not used: {shortened(', '.join(unknown))}")
    if any("${" in word for word in words):
        note(f"{where}: ${{...}} stays as it is written; nothing is put in its place")
    return Server(entry["command"], tuple(args), env, cwd)


@contextmanager
def open_servers(servers: Mapping[str, Server]) -> Iterator[list[Tool]]:
    """Starts the servers, all at once, and gives their tools; ends the servers afterwards, with all their children.

    Tools of the same name are called SERVER.TOOL, each of them; one whose declaration can't be read is left out, with a
    note, and so is a server that does not start if another does. Raises GemmaError if none starts, or the `mcp` package
    is missing.
    """
    try:
        import mcp  # noqa: F401
        from anyio.from_thread import start_blocking_portal
    except ImportError:
        raise MissingPackageError("MCP servers", "mcp>=2") from None
    logging.getLogger("mcp").addHandler(logging.NullHandler())  # without one Python prints its tracebacks
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        running = [_Running(name, server, portal) for name, server in servers.items()]
        all_of_them = portal.wrap_async_context_manager(_run_all(running))
        all_of_them.__enter__()
        stack.callback(all_of_them.__exit__, None, None, None)  # an error of ours is none of the servers'
        failed = [each.failure for each in running if each.failure]
        if failed and len(failed) == len(running):
            more = f"; and {len(failed) - 3} servers more" if len(failed) > 3 else ""
            raise GemmaError("; ".join(failed[:3]) + more)
        for failure in failed:
            note(f"{failure}; its tools are left out")
        tools = [tool for each in running for tool in each.tools()]
        yield [replace(tool, name=name) for tool, name in zip(tools, unique_names(tools), strict=True)]


def unique_names(tools: Sequence[Tool]) -> list[str]:
    """What each tool is called: SERVER.TOOL if another has its name, with a number if even that is taken."""
    counts = Counter(tool.name for tool in tools)
    numbers: dict[str, Iterator[int]] = {}
    names: dict[str, None] = {}
    for tool in tools:
        wanted = name = f"{tool.server}.{tool.name}" if counts[tool.name] > 1 else tool.name
        while name in names:
            name = f"{wanted}.{next(numbers.setdefault(wanted, count(2)))}"
        names[name] = None
    return list(names)


@asynccontextmanager
async def _run_all(running: Sequence[_Running]) -> AsyncIterator[None]:
    """Runs servers side by side, from when each has started or failed until the end."""
    import anyio

    over = anyio.Event()
    async with anyio.create_task_group() as tasks:
        started = [anyio.Event() for _ in running]
        for each, event in zip(running, started, strict=True):
            tasks.start_soon(each.run, event, over)
        try:
            for event in started:
                await event.wait()
            yield
        finally:
            over.set()


class _Running:
    """One server while it runs, and what it declared.

    Attributes:
        failure: why it has not started, in one line that names it.
    """

    def __init__(self, name: str, server: Server, portal: BlockingPortal) -> None:
        self.failure = ""
        self._name, self._server, self._portal = name, server, portal
        self._process = ServerProcess(name, server, lenient)
        self._declared: list[Any] = []

    async def run(self, started: Event, over: Event, mode: str = "legacy") -> None:
        """Start, list the tools, and stay until it is over. Never raises for what the server does.

        The handshake that every server knows comes first: some end, or never answer, if they are asked for another.
        One that knows only the new one says so, and is started again.
        """
        import anyio
        from mcp import Client

        try:
            with anyio.CancelScope(deadline=anyio.current_time() + START_SECONDS) as limit:
                async with Client(self._process.open(), cache=None, mode=mode) as client:
                    self._client = client
                    await self._read_tools()
                    limit.deadline = float("inf")
                    started.set()
                    await over.wait()
            if limit.cancelled_caught:
                self._fail(f"no answer within {START_SECONDS:g} s{self._process.stray_text()}")
        except Exception as error:  # whatever goes wrong with a program of somebody else's
            if mode == "legacy" and getattr(_first(error), "code", None) in NO_HANDSHAKE:
                self._process = ServerProcess(self._name, self._server, lenient)
                return await self.run(started, over, "auto")
            ended = self._process.how_it_ended()
            self._fail((self._process.last_line() or ended) if ended else _said(error))
        finally:
            started.set()

    def _fail(self, why: str) -> None:
        self.failure = f"MCP server {shortened(self._name)} does not start: {why}"

    async def _read_tools(self) -> None:
        """Ask for the tools, which a server need not have. Raises GemmaError for what is no list of them."""
        try:
            await self._list_tools()
        except Exception as error:
            if getattr(error, "code", None) != NO_METHOD:
                raise

    async def _list_tools(self) -> None:
        cursors: set[str] = set()
        cursor = None
        for _ in range(MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            declared = (page.meta or {}).get(KEPT)
            if not isinstance(declared, list):
                raise GemmaError(f"its list of tools is {shortened(repr(declared))}")
            self._declared += declared
            cursor = page.next_cursor
            if not cursor or cursor in cursors or len(self._declared) > MAX_TOOLS:
                break
            cursors.add(cursor)
        if cursor or len(self._declared) > MAX_TOOLS:
            self._declared = self._declared[:MAX_TOOLS]
            limits = f"at most {MAX_TOOLS:,} tools on {MAX_PAGES:,} pages are read"
            note(f"MCP server {self._name} lists tools without an end; {limits}, and {len(self._declared):,} are used")

    def tools(self) -> list[Tool]:
        """The tools whose declarations can be read; of the others a note is made."""
        whose = f"MCP server {self._name}: "
        if not self._declared and not self.failure:
            note(f"MCP server {self._name} has no tools")
        read = [(each, readable_tool(_declaration(each), whose)) for each in self._declared]
        return [
            replace(tool, run=self._runner(each["name"]), server=self._name) for each, tool in read if tool is not None
        ]

    def _runner(self, tool: str) -> Any:
        return lambda arguments: self._run_tool(tool, arguments)

    def _run_tool(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a call comes to. Raises GemmaError; Ctrl-C ends the waiting and tells the server."""
        future = self._portal.start_task_soon(self._call, tool, dict(arguments))
        try:
            failed, text = future.result()
        except BaseException:
            future.cancel()
            raise
        if failed:
            raise GemmaError(text)
        return text

    async def _call(self, tool: str, arguments: dict[str, Any]) -> tuple[bool, str]:
        """Whether the call failed, and its text."""
        import anyio
        from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult

        whose = f"MCP server {self._name}"
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        try:
            with anyio.fail_after(CALL_SECONDS):
                result = await self._client.session.send_request(request, CallToolResult)
        except TimeoutError:
            return True, f"{whose} gave no answer within {CALL_SECONDS:g} s{self._process.stray_text()}"
        except Exception as error:  # whatever goes wrong with a program of somebody else's
            said = self._process.how_it_ended()
            last = f": {self._process.last_line()}" if said and self._process.last_line() else ""
            return True, f"{whose} {said}{last}" if said else f"{whose}: {_said(error)}"
        return bool(result.is_error), (result.meta or {})[KEPT]


KEPT = "gemma4_mlx/kept"
"""Where a result keeps what the `mcp` package would refuse as a whole for one odd part."""


FRESH = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What newer lists must say of how long they may be kept; nobody keeps them here."""


def lenient(method: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A server's result in a form that the `mcp` package takes, whatever its tools and its contents are like."""
    meta = result["_meta"] if isinstance(result.get("_meta"), dict) else {}
    if method == "tools/list":
        cursor = {} if result.get("nextCursor") is None else {"nextCursor": str(result["nextCursor"])}
        return {**FRESH, "tools": [], "_meta": {**meta, KEPT: result.get("tools")}, **cursor}
    if method == "tools/call":
        asks = result.get("resultType", "complete") != "complete"
        text = "it asks for more than a tool's arguments, which nobody here can give" if asks else result_text(result)
        failed = asks or result.get("isError") is True
        return {"resultType": "complete", "content": [], "isError": failed, "_meta": {**meta, KEPT: text}}
    return dict(result)


def _declaration(declared: Any) -> dict[str, Any]:
    """A tool as `read_tool` takes it. MCP asks for a schema of an object, but not everybody writes that it is one."""
    if not isinstance(declared, dict):
        return {"name": declared}
    return {"name": declared.get("name"), "description": declared.get("description"), "parameters": _schema(declared)}


def _schema(declared: Mapping[str, Any]) -> Any:
    return declared.get("inputSchema") or {}


def result_text(result: Mapping[str, Any]) -> str:
    """A result as text. What is not text is named, so that the model knows of it."""
    content = result.get("content")
    parts = content if isinstance(content, list) else [] if content is None else [content]
    texts = [_part_text(part) for part in parts]
    structured = result.get("structuredContent")
    if structured is not None and not _is_said(structured, texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(texts)


def _part_text(part: Any) -> str:
    """One part of a result's content."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return json.dumps(part, ensure_ascii=False)
    kind, resource = shortened(str(part.get("type"))), part.get("resource")
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "resource_link":
        return f"[resource {part.get('uri')}: {part.get('description') or part.get('name')}]"
    if isinstance(resource, dict) and isinstance(resource.get("text"), str):
        return f"[resource {resource.get('uri')}]\n{resource['text']}"
    inner = resource if isinstance(resource, dict) else part
    data = inner.get("data", inner.get("blob"))
    size = f", {len(data) * 3 // 4:,} bytes" if isinstance(data, str) else ""
    about = shortened(str(inner.get("mimeType") or inner.get("uri") or "of no type"))
    return f"[{kind} left out: {about}{size}; only text of a tool's result can be read]"


def _is_said(structured: Any, texts: Sequence[str]) -> bool:
    """Whether the texts say the same as the structured content, as they should, whole or item by item."""
    said = [_as_json(text) for text in texts]
    forms = [structured]
    if isinstance(structured, dict) and len(structured) == 1:
        forms += structured.values()  # how servers wrap what is no object
    return any(form in (said, *said, *texts) for form in forms)


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _first(error: BaseException) -> BaseException:
    """The first error inside groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _said(error: BaseException) -> str:
    """What an error says, in one short line; of groups of errors the first."""
    from pydantic import ValidationError

    error = _first(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        return f"answers otherwise than the protocol says ({shortened(place)}: {shortened(first['msg'])})"
    return shortened(one_line(error))
