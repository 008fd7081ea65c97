"""Paths, addresses, data URIs, bytes and streams; downloads within their limits."""

import base64
import contextlib
import gzip
import http.server
import io
import mmap
import os
import re
import tempfile
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from media.media_files import encoded_sound, image_bytes, picture, tone, video_bytes, wav_bytes

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import sources
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.fetch import as_uri
from gemma4_mlx.media.images import load_image
from gemma4_mlx.media.sources import MediaLimits, Source, printable, read_source, size_text
from gemma4_mlx.media.video import load_video
from gemma4_mlx.prompt.messages import read_messages

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


def test_a_file_by_its_number_is_opened_once(tmp_path: Path) -> None:
    """On macOS a second opening would go on where the first one stopped."""
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open("rb") as file:
        file.read(50)
        source = read_source(f"/dev/fd/{file.fileno()}")
    assert not isinstance(source.data, Path)
    assert [contents(source), contents(source)] == [PNG, PNG]


def test_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert read_source("~/a.png").data == tmp_path / "a.png"
    assert read_source("a.png").data == tmp_path / "a.png"


BYTES = bytes(range(256)) + b"\xff\xfe\xfb\xef"  # 260: base64 has padding, and both letters that alphabets differ in
STANDARD, URL_SAFE = base64.b64encode(BYTES).decode(), base64.urlsafe_b64encode(BYTES).decode()
DATA_URIS = {
    "base64": "data:image/png;base64," + STANDARD,
    "upper case": "DATA:;BASE64," + STANDARD,
    "line breaks": "data:image/png;base64," + base64.encodebytes(BYTES).decode(),
    "percent": "data:image/png," + "".join(f"%{byte:02x}" for byte in BYTES),
    "percent and base64": "data:image/png;base64," + urllib.parse.quote(STANDARD, safe=""),
    "url-safe": "data:image/png;base64," + URL_SAFE,
    "not padded": "data:image/png;base64," + STANDARD.rstrip("="),
    "url-safe, not padded": "data:image/png;base64," + URL_SAFE.rstrip("="),
    "spaces": " \n data:image/png;base64, " + STANDARD[:9] + " " + STANDARD[9:] + "\n",
    "parameters": "data:image/png;charset=utf-8; base64;name=a.png," + STANDARD,
    "inside another": "data:;base64,data:image/png;base64," + URL_SAFE,
}


@pytest.mark.parametrize("kind", DATA_URIS)
def test_data_uris(kind: str) -> None:
    assert contents(read_source(DATA_URIS[kind])) == BYTES


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "base64": DATA_URIS["upper case"]},
        {"type": "image", "base64": URL_SAFE.rstrip("=")},
        {"type": "image", "data": STANDARD},
        {"type": "image", "data": DATA_URIS["spaces"]},
        {"type": "video", "video": {"data": DATA_URIS["base64"]}},
        {"type": "input_audio", "input_audio": {"data": DATA_URIS["base64"], "format": "wav"}},
        {"type": "image_url", "image_url": {"url": DATA_URIS["spaces"]}},
    ],
)
def test_data_in_messages(part: dict[str, object]) -> None:
    _, (media,) = read_messages([{"role": "user", "content": [part]}], str)
    assert contents(read_source(media.source)) == BYTES


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "FILE:{}", " file://{}\n"])
def test_file_addresses(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a bä#%.png"
    path.write_bytes(PNG)
    source = read_source(form.format(urllib.parse.quote(str(path))))
    assert source == Source(str(path), path)


@pytest.mark.parametrize("address", ["file://host/etc/passwd", "file://~/a.png", "file:a.png", "file://a.png"])
def test_file_addresses_of_elsewhere(address: str) -> None:
    with pytest.raises(GemmaError, match="is no file on this computer; write file:///path, or pass the path"):
        read_source(address)


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


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/a b.png", "/a%20b.png"),
        ("/ä.png?q=ö ü&x=1%2F2", "/%C3%A4.png?q=%C3%B6%20%C3%BC&x=1%2F2"),
        ("/a%20b.png", "/a%20b.png"),
        ("/100%.png#part", "/100%25.png"),
        ("/日本.png", "/%E6%97%A5%E6%9C%AC.png"),
        ("?q=1", "/?q=1"),
    ],
)
def test_addresses_as_people_write_them(written: str, sent: str, serve: Serve) -> None:
    paths: list[str] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        paths.append(request.path)
        reply(request, PNG)

    assert contents(read_source(f" {serve(answer)}{written}\n")) == PNG
    assert paths == [sent]


def test_hosts_beyond_ascii() -> None:
    assert as_uri("http://bücher.example:80/ä") == "http://xn--bcher-kva.example:80/%C3%A4"


def deflated(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(data) + compress.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(PNG)),
        ("X-GZIP", gzip.compress(PNG)),
        ("gzip", gzip.compress(PNG[:50]) + gzip.compress(PNG[50:]) + bytes(9)),
        ("gzip", PNG),
        ("deflate", zlib.compress(PNG)),
        ("deflate", deflated(PNG)),
        ("identity", PNG),
    ],
    ids=["gzip", "x-gzip", "members", "only said so", "zlib", "deflate", "identity"],
)
def test_a_compressed_answer_that_nobody_asked_for(encoding: str, body: bytes, serve: Serve) -> None:
    address = serve(lambda request: reply(request, body, Content_Encoding=encoding))
    assert contents(read_source(address)) == PNG


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
        (
            lambda r: reply(r, gzip.compress(bytes(10**7))[:4_000], Content_Encoding="gzip"),
            "is larger than the limit of 5 kB",
        ),
        (
            lambda r: reply(r, gzip.compress(PNG)[:-20], Content_Encoding="gzip"),
            "the connection broke off: the end of the compressed answer is missing",
        ),
        (
            lambda r: reply(r, gzip.compress(PNG)[:10] + b"\xff" * 50, Content_Encoding="gzip"),
            "the server's answer is compressed, and damaged",
        ),
        (
            lambda r: reply(r, PNG, Content_Encoding="br"),
            "the server sent it as 'br'; download it first and pass the file",
        ),
        (flood, "is larger than the limit of 5 kB"),
        (drip, "took longer than 2 s; download it first and pass the file"),
        (lambda _: time.sleep(3), "took longer than 0.3 s|the server did not answer in time"),
        (lambda r: r.wfile.write(b"garbage\r\n\r\n"), "the connection failed"),
        (lambda r: r.connection.close(), "the connection failed"),
    ],
    ids=[
        "status",
        "loop",
        "empty",
        "large",
        "cut",
        "bad length",
        "bomb",
        "cut gzip",
        "bad gzip",
        "br",
        "flood",
        "drip",
        "hang",
        "garbage",
        "closed",
    ],
)
def test_a_failed_fetch_is_one_line(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None], line: str, serve: Serve
) -> None:
    seconds = 2 if answer is drip else 30  # within which a busy machine answers as well
    limits = QUICK if "0.3 s" in line else replace(QUICK, fetch_seconds=seconds)
    with pytest.raises(GemmaError, match=line) as caught:
        read_source(serve(answer) + "/a.png", limits)
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


SOUND = tone(1, 48_000)
PHOTO = image_bytes(picture(192, 144), "PNG", compress_level=0)
WAV = wav_bytes(SOUND, 48_000)
M4A = encoded_sound(SOUND, 48_000, "aac", "ipod")
MOOV_LAST = video_bytes(10, sound=SOUND)
MOOV_FIRST = video_bytes(10, sound=SOUND, movflags="+faststart")
GIF = image_bytes(picture(48, 48), "GIF", save_all=True, append_images=[picture(48, 48, 1)])
CUT = "is cut short: the end of the file is missing"
NOTHING = f"{CUT}, and nothing can be read without it"

# (kind, bytes, patches or frames of sound or times of frames, or the error; notes)
CONTENTS: dict[str, tuple[str, bytes, object, list[str]]] = {
    "image": ("image", PHOTO, 63, []),
    "cut image": ("image", PHOTO[:50_000], 60, ["is damaged or cut short: only 86 of its 144 rows of pixels are used"]),
    "cut too early": ("image", PHOTO[:60], "the image is broken or cut short", []),
    "sound": ("audio", WAV, 25, []),
    "cut sound": ("audio", WAV[:-60_000], 10, [f"{CUT}; the 0.4 s before it are used"]),
    "sound, table last": ("audio", M4A, 25, []),
    "cut sound, table missing": ("audio", M4A[:-800], NOTHING, []),
    "sound of a video": ("audio", MOOV_LAST, 25, []),
    "video, table last": ("video", MOOV_LAST, [0.0, 0.5], []),
    "cut video, table missing": ("video", MOOV_LAST[:10_000], NOTHING, []),
    "video, table first": ("video", MOOV_FIRST, [0.0, 0.5], []),
    "cut video, table first": (
        "video",
        MOOV_FIRST[:-4_000],
        [0.0, 0.4],
        [f"{CUT}; the 0.8 s before it are used", "is damaged: parts of it can't be decoded; the others are used"],
    ),
    "animation": ("video", GIF, [0.0, 0.1], []),
    "text": ("video", b"Hello", "is a text file, not a video", []),
}


def piped(data: bytes, *, buffering: int = -1) -> IO[bytes]:
    """The end of a pipe into which a thread writes."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with contextlib.suppress(OSError), os.fdopen(write_end, "wb") as file:
            file.write(data)

    threading.Thread(target=write, daemon=True).start()
    return os.fdopen(read_end, "rb", buffering=buffering)


def mapped(data: bytes, path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def numbered(data: bytes) -> IO[bytes]:
    """A temporary file, whose name is the number of its descriptor."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (its user closes it)
    file.write(data)
    return file


def named_pipe(data: bytes, path: Path) -> Path:
    path.with_suffix(".fifo").unlink(missing_ok=True)
    os.mkfifo(path.with_suffix(".fifo"))
    threading.Thread(target=path.with_suffix(".fifo").write_bytes, args=(data,), daemon=True).start()
    return path.with_suffix(".fifo")


def chunked(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    """Without a length, in pieces of HTTP/1.1."""
    request.protocol_version = "HTTP/1.1"
    reply(request, b"", Transfer_Encoding="chunked", Content_Length="")
    for start in range(0, len(data), 7_000):
        piece = data[start : start + 7_000]
        request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    request.wfile.write(b"0\r\n\r\n")


def unsized(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    """Without a length, up to the end of the connection."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(data)


def redirected(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    if request.path == "/data":
        reply(request, data)
    else:
        reply(request, b"", 302, Location="/data")


WAYS: dict[str, Callable[[bytes, Path, ExitStack, Serve], Any]] = {
    "text": lambda data, path, open, serve: str(path),
    "path": lambda data, path, open, serve: path,
    "file address": lambda data, path, open, serve: path.as_uri(),
    "open file": lambda data, path, open, serve: open.enter_context(path.open("rb")),
    "raw file": lambda data, path, open, serve: open.enter_context(path.open("rb", buffering=0)),
    "file by number": lambda data, path, open, serve: f"/dev/fd/{open.enter_context(path.open('rb')).fileno()}",
    "bytes": lambda data, path, open, serve: data,
    "bytearray": lambda data, path, open, serve: bytearray(data),
    "memoryview": lambda data, path, open, serve: memoryview(data),
    "BytesIO": lambda data, path, open, serve: io.BytesIO(data),
    "data URI": lambda data, path, open, serve: "data:;base64," + base64.b64encode(data).decode(),
    "mapped": lambda data, path, open, serve: mapped(data, path),
    "file with a number for a name": lambda data, path, open, serve: open.enter_context(numbered(data)),
    "pipe": lambda data, path, open, serve: open.enter_context(piped(data)),
    "raw pipe": lambda data, path, open, serve: open.enter_context(piped(data, buffering=0)),
    "pipe by number": lambda data, path, open, serve: f"/dev/fd/{open.enter_context(piped(data)).fileno()}",
    "named pipe": lambda data, path, open, serve: named_pipe(data, path),
    "http": lambda data, path, open, serve: serve(lambda request: reply(request, data)),
    "http in chunks": lambda data, path, open, serve: serve(lambda request: chunked(request, data)),
    "http without length": lambda data, path, open, serve: serve(lambda request: unsized(request, data)),
    "http redirected": lambda data, path, open, serve: serve(lambda request: redirected(request, data)),
}


def outcome(kind: str, source: Any) -> tuple[object, list[str]]:
    """How much comes out of a source, and its notes; or the error. Both without the source's name."""
    try:
        if kind == "image":
            patches = load_image(source, 70)
            return len(patches), [bare(note) for note in patches.notes]
        if kind == "audio":
            clips = load_audio(source)
            return sum(map(len, clips)), [bare(note) for note in clips.notes]
        video = load_video(source, max_frames=2)
        return video.timestamps, [bare(note) for note in video.notes]
    except GemmaError as error:
        return bare(str(error)), []


def bare(line: str) -> str:
    return re.sub(r"^.*?(?=is cut|is damaged|is a |the image)", "", line)


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_from_every_source(way: str, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "raw pipe":
        monkeypatch.setattr(sources, "_SPOOL_BYTES", 1_000)  # larger copies go to the disk
    found = {}
    for name, (kind, data, _, _) in CONTENTS.items():
        path = tmp_path / "a.bin"
        path.write_bytes(data)
        with ExitStack() as stack:
            found[name] = outcome(kind, WAYS[way](data, path, stack, serve))
    assert found == {name: (wanted, notes) for name, (_, _, wanted, notes) in CONTENTS.items()}
