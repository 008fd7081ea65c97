"""Download one file over http(s) within a size and a total time."""

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import IO

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.sources import printable, size_text, temporary_file

_CHUNK_BYTES = 2**18
# No handler for ftp, file or data: a redirect can only lead to another http(s) address.
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.UnknownHandler,
)
_REASONS: dict[type[BaseException], str] = {
    socket.gaierror: "its host name was not found; check the address and the network",
    ssl.SSLError: "the server's certificate was not accepted",
    TimeoutError: "the server did not answer in time",
    ConnectionRefusedError: "the server refused the connection",
    http.client.InvalidURL: "is not a usable address",
    urllib.error.URLError: "is not a usable address",
    ValueError: "is not a usable address",
}


class _Download:
    """The state that the downloading thread shares with its caller."""

    def __init__(self) -> None:
        self.file = temporary_file()
        self.error: BaseException | None = None
        self.abandoned = threading.Event()


def fetch(address: str, *, max_bytes: int, seconds: float) -> tuple[str, IO[bytes]]:
    """Download `address` and return (the name messages call it, the file).

    A thread does the work: only so can a name lookup or a server that sends one byte now and then be cut off in time.

    Raises:
        GemmaError: any failure, or more than `max_bytes` or `seconds`.
    """
    name = _name(address)
    download = _Download()
    thread = threading.Thread(target=_run, args=(address, name, max_bytes, seconds, download), daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        download.abandoned.set()
        raise GemmaError(f"{name}: took longer than {seconds:g} s; download it first and pass the file")
    if download.error is not None:
        raise GemmaError(f"{name}: {_reason(download.error)}") from download.error
    return name, download.file


def _name(address: str) -> str:
    """The address without user name, query and fragment, which may hold secrets."""
    bare = address.split("?", 1)[0].split("#", 1)[0]
    scheme, _, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def _run(address: str, name: str, max_bytes: int, seconds: float, download: _Download) -> None:
    try:
        _transfer(address, max_bytes, seconds, download)
    except BaseException as error:  # whatever it is, the calling thread reports it
        download.error = error


def _transfer(address: str, max_bytes: int, seconds: float, download: _Download) -> None:
    if "@" in urllib.parse.urlsplit(address).netloc:
        raise GemmaError("holds a user name, which is not supported; download it first and pass the file")
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    request = urllib.request.Request(address, headers={"User-Agent": "gemma4-mlx", "Accept-Encoding": "identity"})
    with opener.open(request, timeout=seconds) as response:
        announced = int(response.headers.get("Content-Length") or -1)
        size = 0
        while announced <= max_bytes and (chunk := response.read(_CHUNK_BYTES)) and not download.abandoned.is_set():
            size += len(chunk)
            if size > max_bytes:
                break
            download.file.write(chunk)
    if max(announced, size) > max_bytes:
        raise GemmaError(f"is larger than the limit of {size_text(max_bytes)}")
    if size < announced:
        raise GemmaError(f"the connection broke off after {size_text(size)} of {size_text(announced)}")
    if size == 0:
        raise GemmaError("is empty")


def _reason(error: BaseException) -> str:
    """One plain clause for what went wrong; nothing the server wrote is repeated."""
    if isinstance(error, GemmaError):
        return str(error)
    if isinstance(error, urllib.error.HTTPError):
        if 300 <= error.code < 400:
            return (
                f"the server answered {error.code} and redirects endlessly or to an address that is not http or https"
            )
        return f"the server answered {error.code} {http.client.responses.get(error.code, '')}".rstrip()
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "the connection failed")
