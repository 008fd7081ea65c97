"""One MCP server that somebody else has started, at an address: a transport like that of a process.

Its own file because it knows HTTP, not processes. The `mcp` package talks; here its answers are put into a form that it
takes, and what the other side refuses gets a sentence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import one_line, shortened
from gemma4_mlx.mcp_server import MAX_MESSAGE, SSE, Repair, Server

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

STATUS = {
    401: "it asks who you are (HTTP 401); put a token into its headers",
    403: "it refuses this (HTTP 403); the token in its headers may be wrong, or not enough",
    404: "there is nothing at its url (HTTP 404); look at the path",
    405: "there is no MCP server at its url (HTTP 405); look at the path",
    429: "it is asked too often (HTTP 429); wait a while",
}
"""What HTTP says, and what to do."""

CONNECT_SECONDS = 30.0


class RemoteServer:
    """A transport for `mcp.Client` over one of the two ways of HTTP."""

    def __init__(self, server: Server, repair: Repair, way: str) -> None:
        self._server, self._repair, self._way = server, repair, way
        self._status = 0
        self._trouble = ""
        self._waiting: dict[str, str] = {}  # method by request

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Any, Any]]:
        """Connect, and give the two streams of messages."""
        import anyio

        to_client, incoming = anyio.create_memory_object_stream[Any](0)
        outgoing, from_client = anyio.create_memory_object_stream[Any](0)
        async with self._connected() as (read, write), anyio.create_task_group() as tasks:
            tasks.start_soon(self._hand_on, read, to_client)
            tasks.start_soon(self._pass, from_client, write)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel()
                for stream in (to_client, incoming, outgoing, from_client):
                    stream.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Any, Any]]:
        from mcp.client.sse import sse_client
        from mcp.client.streamable_http import streamable_http_client

        url, headers = str(self._server.url), dict(self._server.headers)
        if self._way == SSE:
            async with sse_client(url, headers, CONNECT_SECONDS, httpx_client_factory=self._http) as streams:
                yield streams
        else:
            async with (
                self._http(headers) as client,
                streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE) as streams,
            ):
                yield streams

    def _http(self, headers: Any = None, timeout: Any = None, auth: Any = None) -> Any:
        """The HTTP client of the `mcp` package, which tells here what comes back."""
        from mcp.shared._httpx_utils import create_mcp_http_client

        client = create_mcp_http_client(headers, timeout, auth)
        client.event_hooks["request"].append(self._forget)
        client.event_hooks["response"].append(self._remember)
        return client

    async def _forget(self, _: Any) -> None:
        self._status = 0

    async def _remember(self, response: Any) -> None:
        self._status = response.status_code

    async def _hand_on(self, read: Any, to_client: Any) -> None:
        """Give the client what the server says, results as it takes them."""
        with self._gone():
            async for message in read:
                if isinstance(message, Exception):
                    self._trouble = shortened(one_line(message))
                await to_client.send(self._repaired(message))
            await to_client.aclose()

    async def _pass(self, from_client: Any, write: Any) -> None:
        """Give the server what the client says, and remember what it asks."""
        from mcp.types import JSONRPCRequest

        with self._gone():
            async for message in from_client:
                if isinstance(message.message, JSONRPCRequest):
                    self._waiting[str(message.message.id)] = message.message.method
                await write.send(message)

    def _repaired(self, message: SessionMessage | Exception) -> SessionMessage | Exception:
        from mcp.types import ErrorData, JSONRPCError, JSONRPCResponse

        if isinstance(message, Exception) or not isinstance(message.message, JSONRPCResponse):
            return message
        answer = message.message
        method = self._waiting.pop(str(answer.id), "")
        try:
            message.message = answer.model_copy(update={"result": self._repair(method, answer.result)})
        except (ValueError, RecursionError) as error:  # what is nested almost too deep to be read
            data = ErrorData(code=-32000, message=f"its answer can't be read ({shortened(one_line(error))})")
            message.message = JSONRPCError(jsonrpc="2.0", id=answer.id, error=data)
        return message

    @staticmethod
    def _gone() -> suppress:
        import anyio

        return suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)

    @property
    def is_refused(self) -> bool:
        """Whether the other side understands HTTP, but not this way of it."""
        return 400 <= self._status < 500 and self._status not in (401, 403, 429)

    def explained(self, said: str) -> str:
        """What went wrong, with what HTTP said of it."""
        if self._status in STATUS:
            return STATUS[self._status]
        if self._status >= 400:
            return f"it fails (HTTP {self._status}): {said}"
        if self._status == 0:
            return f"it can't be reached ({said}); is it running, and is its url right?"
        return self._trouble or said

    def how_it_ended(self) -> str:
        """A server elsewhere doesn't end with us."""
        return ""

    def last_line(self) -> str:
        """Nor does it write to stderr here."""
        return ""

    def stray_text(self) -> str:
        """Nor besides its answers."""
        return ""
