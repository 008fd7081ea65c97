"""One MCP server: its process, what it writes line by line within limits, and its end with all of its children.

Its own file because it knows pipes and processes, not tools. The `mcp` package has a transport as well, but that waits
for an answer after a line that is no message, takes lines of any length and keeps all that goes to stderr.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from gemma4_mlx.errors import note, one_line, shortened

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, Process
    from anyio.streams.memory import MemoryObjectReceiveStream
    from mcp.shared.message import SessionMessage
    from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

MAX_MESSAGE = 16 << 20  # bytes
MAX_UNASKED = 64 << 20  # bytes without one answer among them: the server is ended
LINE_BYTES = 500  # that a line counts for besides its own: short ones take as long to look at
STRAY_SECONDS = 15.0
"""How long an answer may take once something that is no message was written in its place."""
STDERR_KEPT = 8192  # bytes
END_SECONDS = 2.0
"""How long a server may take to end once its input is closed, and once more when it is told to."""
STARTING = ("initialize", "server/discover")
"""What a server is asked first."""
MAX_REQUESTS = 64
"""Requests of a server's own that wait for an answer; more are dropped."""

NOISE = re.compile(
    r"\s+at |Node\.js v|[\s{}\[\]\^]*$|.*complete log of this run|npm (?:error|ERR!)\s*(?:code \w+)?\s*$", re.IGNORECASE
)
"""Lines of stderr that say nothing: places in a program, versions, braces, where more is written."""

ERROR_LINE = re.compile(
    r"\s*(?:npm (?:error|ERR!)|(?:\w+\.)*\w*(?:Error|Exception)\b|(?:fatal|panic|error)\b)", re.IGNORECASE
)
"""How a line begins that says what went wrong."""

Stream = TypeVar("Stream")

Repair = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""What is made of the result of a method before the `mcp` package reads it."""


HTTP, SSE = "streamable HTTP", "SSE"
"""The two ways to reach a server at an address."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started, or where it is reached; and what of it may be used.

    Attributes:
        url: its address if somebody else has started it; there is no command then.
        headers: what is sent with every request to the address.
        transport: HTTP, SSE, or None to find out.
        call_seconds, start_seconds: how long a call and the start may take, if not as long as usual.
        only: names of the tools that are used, with `*` for any characters; None for all.
        without: names of those that are not.
        unasked: names of those that run without a question.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    transport: str | None = None
    call_seconds: float | None = None
    start_seconds: float | None = None
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


class ServerProcess:
    """A transport for `mcp.Client` that fails what waits for an answer as soon as none can come."""

    def __init__(self, name: str, server: Server, repair: Repair) -> None:
        self._name, self._server, self._repair = name, server, repair
        self._stray: tuple[str, bytes] = ("", b"")
        self._stderr = b""
        self._waiting: dict[str, str] = {}  # method by request
        self._asked: set[str] = set()
        self._in_doubt: set[str] = set()  # requests that may have been answered by what is no message
        self._unanswered: set[str] = set()  # requests of the server's
        self._unasked = 0  # bytes
        self._said_changed, self._listens = False, True
        self._ended = self._ended_alone = False
        self._process: Process

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Any, Any]]:
        """Start the server, give its two streams of messages, and end it afterwards. Raises NotStartedError."""
        import anyio

        self._process = await _start_process(self._server)
        # Pipes are read to their end whatever is cancelled, or what was in them would outlive the event loop.
        self._reading, self._listening = anyio.CancelScope(shield=True), anyio.CancelScope(shield=True)
        self._read_all, self._heard_all = anyio.Event(), anyio.Event()
        self._to_client, incoming = anyio.create_memory_object_stream[Any](0)
        outgoing, from_client = anyio.create_memory_object_stream[Any](0)
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._read)
            self._tasks.start_soon(self._write, from_client)
            self._tasks.start_soon(self._keep_stderr)
            try:
                yield incoming, outgoing
            finally:
                incoming.close()
                outgoing.close()
                with anyio.CancelScope(shield=True):
                    await self._end()
                    await self._close()
                self._tasks.cancel_scope.cancel()

    async def _close(self) -> None:
        """Read what is left in the pipes, and close them."""
        import anyio

        with anyio.move_on_after(END_SECONDS):
            await self._read_all.wait()
            await self._heard_all.wait()
        if self._process.returncode is not None:
            await self._process.aclose()
        self._reading.cancel()
        self._listening.cancel()

    def how_it_ended(self) -> str:
        """How the process ended of its own accord, in one line; empty if it did not."""
        if self._unasked > MAX_UNASKED:
            return f"was ended: it wrote too much that answers nothing{self.stray_text()}"
        code = self._process.returncode if self._ended_alone else None
        if code is None:
            return ""
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def last_line(self) -> str:
        """The line of what the server wrote to stderr that tells most: its error's, else the last one."""
        lines = self._stderr.decode("utf-8", "replace").split("\n")
        told = [line for line in lines if line.strip() and not NOISE.match(line)]
        errors = [line for line in told if ERROR_LINE.match(line)]
        if any(line.startswith("Traceback") for line in told):
            errors = errors[-1:]  # what was raised last stands last in Python
        return shortened((errors or told[-1:] or [""])[0])

    is_refused = False  # it is reached in one way only

    def explained(self, said: str) -> str:
        """What an error says, if the process did not end."""
        return said

    def stray_text(self) -> str:
        """The end of an error: the last thing that the server wrote in the place of an answer, if any."""
        clause, written = self._stray
        return clause.format(shortened(written.decode("utf-8", "replace")))

    async def _read(self) -> None:
        """Hand on the server's messages until it ends, or writes too much that answers nothing."""
        lines, stdout = LineBuffer(MAX_MESSAGE), self._process.stdout
        with self._reading:
            async with self._to_client:
                async for chunk in _until_closed(stdout):
                    self._unasked += len(chunk)
                    for line in () if self._ended else lines.feed(chunk):
                        await self._take(line)
                    if self._unasked > MAX_UNASKED:
                        break
                self._ended_alone = not self._ended
                await self._end()
            async for _ in _until_closed(stdout):  # what is left in the pipe
                pass
        self._read_all.set()

    async def _take(self, line: bytes | None) -> None:
        """Hand on what one line says. None stands for a line that is too long."""
        self._unasked += LINE_BYTES
        messages = [] if line is None else read_line(line)
        for message in messages:
            await self._hand_on(message)
        if line is None:
            await self._fail_waiting(f"wrote a line of more than {MAX_MESSAGE >> 20} MB; ask for less at once")
        elif not messages and line.strip():
            self._doubt("; it wrote {!r}, which is no message", line)
            if b'"jsonrpc"' in line:
                await self._fail_waiting(f"no answer{self.stray_text()}")

    def _doubt(self, clause: str, written: bytes) -> None:
        """What is no answer may be meant as one: fail after a while what waits.

        Before a server has started a line that is no message is its greeting.
        """
        self._stray = clause, written[:1000]
        if doubtful := {id for id, method in self._waiting.items() if method not in STARTING} - self._in_doubt:
            self._in_doubt |= doubtful
            self._tasks.start_soon(self._expect_answer, doubtful)

    async def _expect_answer(self, doubtful: set[str]) -> None:
        import anyio

        await anyio.sleep(STRAY_SECONDS)
        await self._fail_waiting(f"no answer{self.stray_text()}", doubtful)
        self._in_doubt -= doubtful

    async def _hand_on(self, message: JSONRPCMessage) -> None:
        from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest

        if isinstance(message, JSONRPCNotification):
            self._notice(message.method)
        elif isinstance(message, JSONRPCRequest):
            if str(message.id) not in self._unanswered and len(self._unanswered) < MAX_REQUESTS:
                self._unanswered.add(str(message.id))
                await self._send(message)
        elif isinstance(message, JSONRPCError) and message.id is None:
            self._doubt("; it said {!r} of no request", message.error.message.encode())
        else:
            await self._answer(message)

    async def _answer(self, message: JSONRPCResponse | JSONRPCError) -> None:
        """Hand on an answer that somebody waits for; drop one that comes too late."""
        from mcp.types import JSONRPCResponse

        method = self._waiting.pop(str(message.id), None)
        if method is not None:
            self._unasked = 0
            if isinstance(message, JSONRPCResponse):
                message = self._repaired(method, message)
            await self._send(message)
        elif str(message.id) not in self._asked:
            self._doubt("; it answered {}, which was not asked", repr(message.id).encode())

    def _repaired(self, method: str, answer: JSONRPCResponse) -> JSONRPCResponse | JSONRPCError:
        from mcp.types import ErrorData, JSONRPCError

        try:
            return answer.model_copy(update={"result": self._repair(method, answer.result)})
        except (ValueError, RecursionError) as error:  # what is nested almost too deep to be read
            data = ErrorData(code=-32000, message=f"its answer can't be read ({shortened(one_line(error))})")
            return JSONRPCError(jsonrpc="2.0", id=answer.id, error=data)

    def _notice(self, method: str) -> None:
        """Say that the tools have changed, once: they are declared when a chat begins."""
        if method == "notifications/tools/list_changed" and not self._said_changed:
            self._said_changed = True
            note(f"MCP server {self._name} has other tools now; those of its start stay in use")

    async def _fail_waiting(self, why: str, waiting: set[str] | None = None) -> None:
        """Answer requests, all of them if it is not said which, with an error."""
        from mcp.types import ErrorData, JSONRPCError

        for id in [id for id in self._waiting if waiting is None or id in waiting]:
            del self._waiting[id]
            error = ErrorData(code=-32000, message=why)
            await self._send(JSONRPCError(jsonrpc="2.0", id=id, error=error))

    async def _send(self, message: JSONRPCMessage) -> None:
        from mcp.shared.message import SessionMessage

        with _pipe_errors():  # nobody listens any more; what the server writes is still read, so that it can end
            await self._to_client.send(SessionMessage(message))

    async def _write(self, messages: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Write what the client says, and remember what it asks."""
        from mcp.types import JSONRPCNotification, JSONRPCRequest

        async with messages:
            async for message in (each.message async for each in messages):
                if isinstance(message, JSONRPCRequest):
                    self._waiting[str(message.id)] = message.method
                    self._asked.add(str(message.id))
                elif not isinstance(message, JSONRPCNotification):
                    self._unanswered.discard(str(message.id))
                await self._write_line(message)

    async def _write_line(self, message: JSONRPCMessage) -> None:
        """Write a message, unless it has become clear that nobody reads."""
        if self._listens and not self._ended:
            with _pipe_errors():
                self._listens = False
                try:
                    line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                    await _pipe(self._process.stdin).send(line)
                except ValueError as error:  # half a character
                    await self._fail_waiting(f"can't be given this ({shortened(one_line(error))})")
                self._listens = True
        if not self._listens:
            await self._fail_waiting("has closed its input")

    async def _keep_stderr(self) -> None:
        """Read what goes to stderr, so that the server never waits there, and keep the end of it."""
        with self._listening:
            async for chunk in _until_closed(self._process.stderr):
                self._stderr = (self._stderr + chunk)[-STDERR_KEPT:]
        self._heard_all.set()

    async def _end(self) -> None:
        """End the process and its group: by closing its input, by asking, and by force."""
        import anyio

        if self._ended:
            return
        self._ended, process = True, self._process
        with anyio.move_on_after(END_SECONDS), _pipe_errors():
            await _pipe(process.stdin).aclose()
        await _wait_until(lambda: process.returncode is not None)
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if not _signal_group(process.pid, kind):
                break
            await _wait_until(lambda: not _signal_group(process.pid, 0))
        with anyio.move_on_after(END_SECONDS):
            await self._heard_all.wait()


class NotStartedError(Exception):
    """Why a program can't be started, and what to do."""


async def _start_process(server: Server) -> Process:
    """Raises NotStartedError."""
    import anyio
    from mcp.client.stdio import get_default_environment

    environment = get_default_environment() | dict(server.env or {})
    folder = None if server.cwd is None else os.path.expanduser(server.cwd)
    command = os.path.expanduser(server.command)
    try:
        return await anyio.open_process([command, *server.args], env=environment, cwd=folder, start_new_session=True)
    except (OSError, ValueError) as error:
        raise NotStartedError(_why_not_started(command, folder, environment.get("PATH"), error)) from None


def _why_not_started(command: str, folder: str | None, path: str | None, error: Exception) -> str:
    """The system's error as a sentence: it doesn't say whether program, folder or interpreter lacks."""
    shown = shortened(command)
    if folder is not None and not os.path.isdir(folder):
        return f"its cwd {shortened(folder)} is no folder; correct it"
    if shutil.which(command, path=path) is None:
        return _why_not_found(command, shown)
    if isinstance(error, FileNotFoundError):
        return f"the interpreter that the first line of {shown} names is not found"
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        return f"its command {shown} is no program: a script's first line names its interpreter (#!/usr/bin/env ...)"
    return f"its command {shown} can't be started ({shortened(one_line(error))})"


def _why_not_found(command: str, shown: str) -> str:
    if os.path.isdir(command):
        return f"its command {shown} is a folder; give the program in it"
    if os.path.exists(command) and "/" in command:
        return f"its command {shown} may not be run; chmod +x {shown}"
    if "/" in command:
        return f"there is no program {shown}; correct its command"
    return f"its command {shown} is not found; install it, or give its whole path"


class LineBuffer:
    """Bytes as they come -> lines without their ends."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that end in the chunk; None, once, for a line that has become too long."""
        for number, piece in enumerate(chunk.split(b"\n")):
            if number:
                if self._size <= self._longest:
                    yield b"".join(self._parts)
                self._parts, self._size = [], 0
            was_short = self._size <= self._longest
            self._size += len(piece)
            if self._size <= self._longest:
                self._parts.append(piece)
            elif was_short:
                self._parts = []
                yield None


def read_line(line: bytes) -> list[JSONRPCMessage]:
    """The messages of a line: one, several in a list, or one behind other text; none if it holds no message."""
    if b"{" not in line:
        return []
    text = line.decode("utf-8", "replace").lstrip("\ufeff")
    for begin in (0, text.find('{"jsonrpc"')):
        with suppress(ValueError, RecursionError):
            return _read_messages(text[max(begin, 0) :])
    return []


def _read_messages(text: str) -> list[JSONRPCMessage]:
    """Raises ValueError, RecursionError."""
    from mcp.types import jsonrpc_message_adapter

    value = json.loads(text)
    if "\\ud" in text.lower():  # halves of characters, which nobody can encode, become question marks
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    values = value if isinstance(value, list) else [value]
    return [jsonrpc_message_adapter.validate_python(each, by_name=False) for each in values]


def _pipe(stream: Stream | None) -> Stream:
    """A stream of a process that was started with pipes."""
    assert stream is not None
    return stream


async def _until_closed(stream: ByteReceiveStream | None) -> AsyncIterator[bytes]:
    """What comes through a pipe until its other side is closed."""
    with _pipe_errors():
        while True:
            yield await _pipe(stream).receive()


def _pipe_errors() -> suppress:
    """What streams raise once the other side is gone."""
    import anyio

    gone = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)
    return suppress(*gone, OSError)


async def _wait_until(done: Callable[[], bool]) -> None:
    import anyio

    with anyio.move_on_after(END_SECONDS):
        while not done():
            await anyio.sleep(0.01)


def _signal_group(group: int, kind: int) -> bool:
    """Signal every process of a group; whether there is any."""
    try:
        os.killpg(group, kind)
    except ProcessLookupError:
        return False
    except PermissionError:  # what macOS says of processes that have ended and wait to be reaped
        return True
    return True
