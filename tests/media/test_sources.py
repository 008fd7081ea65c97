"""Paths, addresses, data URIs, bytes and streams; downloads within their limits."""

import base64
import contextlib
import http.server
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from media.media_files import image_bytes, picture

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.images import load_image
from gemma4_mlx.media.sources import MediaLimits, Source, printable, read_source, size_text

PNG = image_bytes(picture(60, 40), "PNG")
QUICK = MediaLimits(max_copied_bytes=5_000, fetch_seconds=0.3)
Serve = Callable[..., str]


def contents(source: Source) -> bytes:
    with source.opened() as file:
        return file.read()


def test_a_local_file_stays_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert read_source(str(path)) == Source(str(path), path)
    assert read_source(path).data == path


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert read_source("~/a.png").data == tmp_path / "a.png"
    assert read_source("a.png").data == tmp_path / "a.png"


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "DATA:;BASE64," + base64.encodebytes(PNG).decode(),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
    ids=["base64", "with line breaks", "percent"],
)
def test_data_uris(uri: str) -> None:
    assert contents(read_source(uri)) == PNG


def test_bytes_and_files_are_read_from_their_beginning() -> None:
    file = io.BytesIO(PNG)
    file.seek(10)
    for source in (PNG, bytearray(PNG), memoryview(PNG), file):
        assert contents(read_source(source)) == PNG
    assert not file.closed


def test_a_pipe_is_copied_up_to_the_limit() -> None:
    for size, wanted in ((100, None), (6_000, "is larger than the limit of 5 kB")):
        read_end, write_end = os.pipe()
        os.write(write_end, bytes(size))
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            if wanted is None:
                assert contents(read_source(pipe, QUICK)) == bytes(size)
            else:
                with pytest.raises(GemmaError, match=wanted):
                    read_source(pipe, QUICK)


def test_messages_stay_on_one_short_line() -> None:
    assert printable("a\nb\x1b[31m.png") == "a?b?[31m.png"
    assert printable("x" * 500 + ".png").endswith("x.png")
    assert len(printable("x" * 500)) == 120
    assert [size_text(n) for n in (7, 1_500, 2 * 10**9)] == ["7 bytes", "1.5 kB", "2 GB"]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server on this machine that answers every request by the given function; gives its address."""
    with contextlib.ExitStack() as stack:

        def start(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> str:
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    with contextlib.suppress(OSError):
                        answer(self)

                def log_message(self, *_: object) -> None:
                    pass

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def reply(request: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def test_fetch(serve: Serve) -> None:
    address = serve(lambda request: reply(request, PNG))
    source = read_source(address + "/a.png?token=secret")
    assert contents(source) == PNG
    assert source.name == address + "/a.png"
    assert len(load_image(address + "/a.png", 70)) == 60


def test_fetch_follows_redirects_to_http_only(serve: Serve) -> None:
    target = serve(lambda request: reply(request, PNG))
    assert contents(read_source(serve(lambda request: reply(request, b"", 302, Location=target)))) == PNG
    for refused in ("file:///etc/passwd", "ftp://127.0.0.1/a.png", "data:,abc"):
        address = serve(lambda request, refused=refused: reply(request, b"", 302, Location=refused))
        with pytest.raises(GemmaError, match=r"not http or https|not a usable address"):
            read_source(address)


def drip(request: http.server.BaseHTTPRequestHandler) -> None:
    """One byte now and then, for ever: no single read times out."""
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.05)


def flood(request: http.server.BaseHTTPRequestHandler) -> None:
    """More than the limit, without saying so."""
    request.send_response(200)
    request.end_headers()
    for _ in range(100):
        request.wfile.write(bytes(1_000))


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda r: reply(r, b"secret\nstuff", 404), "the server answered 404 Not Found"),
        (
            lambda r: reply(r, b"", 302, Location="/"),
            "the server answered 302 and redirects endlessly or to an address",
        ),
        (lambda r: reply(r, b""), "is empty"),
        (lambda r: reply(r, b"abc", Content_Length="9000"), "is larger than the limit of 5 kB"),
        (lambda r: reply(r, b"abc", Content_Length="900"), "the connection broke off after 3 bytes of 900 bytes"),
        (lambda r: reply(r, b"abc", Content_Length="many"), "is not a usable address"),
        (flood, "is larger than the limit of 5 kB"),
        (drip, "took longer than 0.3 s; download it first and pass the file"),
        (lambda _: time.sleep(1), "took longer than 0.3 s|the server did not answer in time"),
        (lambda r: r.wfile.write(b"garbage\r\n\r\n"), "the connection failed"),
        (lambda r: r.connection.close(), "the connection failed"),
    ],
    ids=["status", "loop", "empty", "large", "cut", "bad length", "flood", "drip", "hang", "garbage", "closed"],
)
def test_a_failed_fetch_is_one_line(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None], line: str, serve: Serve
) -> None:
    started = time.monotonic()
    with pytest.raises(GemmaError, match=line) as caught:
        read_source(serve(answer) + "/a.png", QUICK)
    assert time.monotonic() - started < 0.9
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("http://no-such-host.invalid/a.png", "http://no-such-host.invalid/a.png: its host name was not found"),
        ("http://127.0.0.1:9/a.png", "http://127.0.0.1:9/a.png: the server refused the connection"),
        ("http://", "http://: is not a usable address"),
        (
            "http://user:word@127.0.0.1:9/a?key=1",
            "http://127.0.0.1:9/a: holds a user name, which is not supported",
        ),
        ("http://[::bad/a.png", "is not a usable address"),
    ],
)
def test_a_bad_address_is_one_line(address: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(GemmaError, match=line) as caught:
        read_source(address, MediaLimits(fetch_seconds=3))
    assert "word" not in str(caught.value)
