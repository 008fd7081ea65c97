"""Tools of MCP servers: of those started here, and of those at an address."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import count
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError, MissingPackageError, note, one_line, shortened
from gemma4_mlx.mcp_remote import RemoteServer
from gemma4_mlx.mcp_server import HTTP, SSE, Server, ServerProcess
from gemma4_mlx.prompt.tools import Tool, readable_tool

if TYPE_CHECKING:
    from anyio import Event
    from anyio.from_thread import BlockingPortal

START_SECONDS, CALL_SECONDS = 30.0, 300.0
"""How long a server may take to start and list its tools, and to run a tool."""

MAX_PAGES, MAX_TOOLS = 1000, 10_000
"""Pages and tools of a server's list, of which the rest is left out."""

NO_METHOD = -32601
NO_HANDSHAKE = (NO_METHOD, -32022)
"""Errors of servers that do not know a method, and `initialize`: no such method, no such version of the protocol."""


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
        raise MissingPackageError("MCP servers", "mcp>=2.3") from None
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
        self._ways = [] if server.url is None else ways(server)
        self._process = self._transport()
        self._declared: list[Any] = []

    def _transport(self) -> ServerProcess | RemoteServer:
        if self._ways:
            return RemoteServer(self._server, lenient, self._ways[0])
        return ServerProcess(self._name, self._server, lenient)

    async def run(self, started: Event, over: Event, mode: str = "legacy") -> None:
        """Start, list the tools, and stay until it is over. Never raises for what the server does.

        The handshake that every server knows comes first: some end, or never answer, if they are asked for another.
        One that knows only the new one says so, and is started again.
        """
        import anyio
        from mcp import Client

        seconds = self._server.start_seconds or START_SECONDS
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + seconds) as limit:
                async with Client(self._process.open(), cache=None, mode=mode) as client:
                    self._client = client
                    await self._read_tools()
                    self.failure = ""
                    limit.deadline = float("inf")
                    started.set()
                    await over.wait()
            if limit.cancelled_caught:
                self._fail(f"no answer within {seconds:g} s{self._process.stray_text()}{self._last_words()}")
        except Exception as error:  # whatever goes wrong with a program of somebody else's
            if mode == "legacy" and getattr(_first(error), "code", None) in NO_HANDSHAKE:
                self._process = self._transport()
                return await self.run(started, over, "auto")
            self._fail(self._why(error))
            if self._process.is_refused and len(self._ways) > 1:
                self._ways.pop(0)
                self._process = self._transport()
                return await self.run(started, over)
        finally:
            started.set()

    def _why(self, error: Exception) -> str:
        """Why it does not start: its own last words, how it ended, or what the error says."""
        ended = self._process.how_it_ended()
        return (self._process.last_line() or ended) if ended else self._process.explained(_said(error))

    def _last_words(self) -> str:
        return f"; its last words are: {self._process.last_line()}" if self._process.last_line() else ""

    def _fail(self, why: str) -> None:
        """Keep the first reason: other ways are tried for those that the first doesn't suit."""
        verb = "start" if self._server.url is None else "answer"
        self.failure = self.failure or f"MCP server {shortened(self._name)} does not {verb}: {why}"

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
        used = [each for each in self._declared if self._is_used(each)]
        self._note_unknown_names()
        read = [(each, readable_tool(_declaration(each), whose)) for each in used]
        return [self._runnable(each["name"], tool) for each, tool in read if tool is not None]

    def _runnable(self, name: str, tool: Tool) -> Tool:
        unasked = _is_named(name, self._server.unasked)
        return replace(tool, run=self._runner(name), server=self._name, runs_unasked=unasked)

    def _is_used(self, declared: Any) -> bool:
        """Whether the file lets a tool be used. What has no name is refused by whoever reads its declaration."""
        name = declared.get("name") if isinstance(declared, dict) else None
        if not isinstance(name, str):
            return True
        only = self._server.only
        return (only is None or _is_named(name, only)) and not _is_named(name, self._server.without)

    def _note_unknown_names(self) -> None:
        """Say which names of the file no tool has: they may be misspelt."""
        declared = [
            each["name"] for each in self._declared if isinstance(each, dict) and isinstance(each.get("name"), str)
        ]
        wanted = dict.fromkeys([*(self._server.only or ()), *self._server.without, *self._server.unasked])
        unknown = [name for name in wanted if name != "*" and not any(_is_named(tool, [name]) for tool in declared)]
        if unknown and not self.failure:
            note(f"MCP server {self._name} has no tool {shortened(', '.join(unknown))}, which the file names")

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
        seconds = self._server.call_seconds or CALL_SECONDS
        try:
            with anyio.fail_after(seconds):
                result = await self._client.session.send_request(request, CallToolResult)
        except TimeoutError:
            return True, f"{whose} gave no answer within {seconds:g} s{self._process.stray_text()}"
        except Exception as error:  # whatever goes wrong with a program of somebody else's
            said = self._process.how_it_ended()
            last = f": {self._process.last_line()}" if said and self._process.last_line() else ""
            return True, f"{whose} {said}{last}" if said else f"{whose}: {self._process.explained(_said(error))}"
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


def ways(server: Server) -> list[str]:
    """The ways to try to reach a server at an address, in order: the one that the file names, else both."""
    if server.transport is not None:
        return [server.transport]
    return [SSE, HTTP] if str(server.url).rstrip("/").endswith("/sse") else [HTTP, SSE]


def _is_named(name: str, names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, each) for each in names)


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
