"""Download one file over http(s) within a size and a total time."""

import http.client
import itertools
import re
import socket
import ssl
import string
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import IO, Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.sources import printable, size_text, temporary_file

_CHUNK_BYTES = 2**18
_GZIP = b"\x1f\x8b"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# No handler for ftp, file or data: a redirect can only lead to another http(s) address.
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.UnknownHandler,
)
_REASONS: dict[type[BaseException], str] = {
    socket.gaierror: "its host name was not found; check the address and the network",
    ssl.SSLError: "the server's certificate was not accepted; SSL_CERT_FILE names a file with a CA of your own",
    TimeoutError: "the server did not answer in time",
    ConnectionRefusedError: "the server refused the connection",
    http.client.InvalidURL: "is not a usable address",
    urllib.error.URLError: "is not a usable address",
    ValueError: "is not a usable address",
    zlib.error: "the server's answer is compressed, and damaged",
}


class _Https(urllib.request.HTTPSHandler):
    """Opens https addresses, those that http ones redirect to included."""

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPSConnection, request, context=trusted())


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Certificates of the system, of SSL_CERT_FILE and SSL_CERT_DIR, and certifi's.

    The Python of python.org comes to a Mac without any: there only certifi's are left.
    """
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


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
    opener.add_handler(_Https())
    headers = {"User-Agent": "gemma4-mlx", "Accept-Encoding": "identity"}
    request = urllib.request.Request(as_uri(address), headers=headers)
    with opener.open(request, timeout=seconds) as response:
        announced = int(response.headers.get("Content-Length") or -1)
        if announced > max_bytes:
            raise GemmaError(f"is larger than the limit of {size_text(max_bytes)}")
        size = 0
        for part in _decoded(response.headers.get("Content-Encoding"), _received(response, announced, download)):
            size += len(part)
            if size > max_bytes:
                raise GemmaError(f"is larger than the limit of {size_text(max_bytes)}")
            download.file.write(part)
    if size == 0:
        raise GemmaError("is empty")


def as_uri(address: str) -> str:
    """An address as people write it, with spaces and letters beyond ASCII, as it goes over the wire.

    Raises:
        ValueError: the host has no such form.
    """
    parts = urllib.parse.urlsplit(address)
    if not parts.netloc.isascii():
        host, colon, port = parts.netloc.partition(":")
        parts = parts._replace(netloc=host.encode("idna").decode() + colon + port)
    rest = urllib.parse.urlunsplit(parts._replace(scheme="", netloc="", fragment=""))
    quoted = urllib.parse.quote(_LONE_PERCENT.sub("%25", rest), safe=string.punctuation)
    return f"{parts.scheme}://{parts.netloc}{quoted}"


def _received(response: IO[bytes], announced: int, download: _Download) -> Iterator[bytes]:
    """The body as it comes, up to its end or to the time at which nobody waits for it any more."""
    size = 0
    while (chunk := response.read(_CHUNK_BYTES)) and not download.abandoned.is_set():
        size += len(chunk)
        yield chunk
    if size < announced:
        raise GemmaError(f"the connection broke off after {size_text(size)} of {size_text(announced)}")


def _decoded(encoding: str | None, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo a compression that nobody asked for, in parts of bounded size."""
    name = (encoding or "identity").strip().lower()
    if name in ("identity", ""):
        yield from chunks
        return
    if name not in ("gzip", "x-gzip", "deflate"):
        raise GemmaError(f"the server sent it as {printable(name, 20)!r}; download it first and pass the file")
    first = next(chunks, b"")
    is_mislabelled = name != "deflate" and not first.startswith(_GZIP)
    yield from itertools.chain([first], chunks) if is_mislabelled else _inflated(itertools.chain([first], chunks))


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip members one behind the other, zlib or bare deflate; what follows the last one is left."""
    inflate: Any = None
    for chunk in chunks:
        data, is_full = chunk, False
        while data or is_full:
            if inflate is None or inflate.eof:
                if inflate is not None and not data.startswith(_GZIP):
                    return
                inflate = zlib.decompressobj(_window_bits(data))
            part = inflate.decompress(data, _CHUNK_BYTES)
            yield part
            is_full = len(part) == _CHUNK_BYTES and not inflate.eof  # then there may be more without more data
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if inflate is not None and not inflate.eof:
        raise GemmaError("the connection broke off: the end of the compressed answer is missing")


def _window_bits(data: bytes) -> int:
    """For zlib: a gzip or zlib header says which it is, without one it is bare deflate."""
    is_zlib = len(data) > 1 and data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return 47 if data.startswith(_GZIP) or is_zlib else -15


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
