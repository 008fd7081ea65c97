"""A stand-in for the Hub: repositories in memory, served to huggingface_hub as the Hub serves them."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub:
    """Attributes:
    repositories: files of each, by name.
    asked: method, path and range of every request.
    breaks_off: bytes of a file after which the connection is closed, once; the rest is refused then. 0 for none.
    tags: ETag of files that don't have their checksum there.
    refuses: HTTP status and error code of every answer.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Mapping[str, bytes | Path]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.tags: dict[str, str] = {}
        self.breaks_off = 0
        self.broken = False
        self.refuses: tuple[int, str] | None = None


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        words = path.split("/")
        api = words[:2] == ["api", "models"]
        name = "/".join(words[2:4] if api else words[:2])
        files = self.hub.repositories.get(name)
        if self.hub.refuses or files is None:
            status, code = self.hub.refuses or (401, "RepoNotFound")
            self.give(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})
        elif api:
            self.give_listing(name, files, words[4:])
        else:
            self.give_file(files, words[3], "/".join(words[4:]))

    def give_listing(self, name: str, files: Mapping[str, bytes | Path], rest: list[str]) -> None:
        if rest[1:] and rest[1] not in ("main", "v1", COMMIT):
            self.give(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": file, "size": size_of(data), "oid": "0" * 40} for file, data in files.items()
            ]
            self.give(200, json.dumps(entries).encode())
        else:
            siblings = [{"rfilename": file, "size": size_of(data)} for file, data in files.items()]
            self.give(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())

    def give_file(self, files: Mapping[str, bytes | Path], revision: str, file: str) -> None:
        if file not in files:
            self.give(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = files[file]
        size = size_of(content)
        tag = self.hub.tags.get(file) or hashlib.sha256(part_of(content, 0, min(size, 20_000_000))).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"', "Accept-Ranges": "bytes", "X-Linked-Size": str(size)}
        begin, end = 0, size - 1
        if self.hub.broken and self.command == "GET":
            self.give(403, b"")
            return
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) if last else end, end)
            headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
        self.give(206 if asked else 200, content, headers, begin, end + 1)

    def give(
        self,
        status: int,
        content: bytes | Path,
        headers: Mapping[str, str] | None = None,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        end = size_of(content) if end is None else end
        self.send_response(status)
        for header, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = (
            min(end, begin + self.hub.breaks_off) if self.hub.breaks_off and status in (200, 206) and headers else end
        )
        self.wfile.write(part_of(content, begin, stop))
        if stop < end:
            self.close_connection = self.hub.broken = True

    def log_message(self, *_: Any) -> None:
        pass


def size_of(content: bytes | Path) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def part_of(content: bytes | Path, begin: int, end: int) -> bytes:
    if isinstance(content, bytes):
        return content[begin:end]
    with content.open("rb") as file:
        file.seek(begin)
        return file.read(end - begin)


@contextmanager
def serving(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A Hub that huggingface_hub is led to, with this cache."""
    from huggingface_hub import constants

    handler = type("Bound", (Handler,), {"hub": Hub()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setattr(constants, "ENDPOINT", endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    yield handler.hub
    server.shutdown()
    server.server_close()
