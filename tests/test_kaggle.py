"""Models on Kaggle: kagglehub itself, against a stand-in of its API on this machine."""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.checkpoint.hub import NANO_FOLDER, resolve
from gemma4_mlx.commands.main import main
from gemma4_mlx.errors import GemmaError

NAME = "google/gemma-4/transformers/gemma-4-12b-it"
HEADER = b'{"a":{"dtype":"U8","shape":[2559000],"data_offsets":[0,2559000]}}'
FILES = {
    "config.json": b'{"model_type": "gemma4_unified"}',
    "model.safetensors": (len(HEADER).to_bytes(8, "little") + HEADER).ljust(2_559_000 + 8 + len(HEADER), b"w"),
    "tokenizer.json": b"{}",
}
CUT, KEPT = 1_500_000, 1 << 20
"""Bytes after which the stand-in breaks off, and those that kagglehub has written by then."""


class Kaggle:
    """What the stand-in has, how it behaves, and what it was asked.

    Attributes:
        refuses: HTTP status of every answer; 0 for answers as they should be.
        breaks_off: whether a large file ends too early.
    """

    def __init__(self) -> None:
        self.versions = {1: FILES, 2: FILES | {"generation_config.json": b"{}"}}
        self.refuses = 0
        self.breaks_off = False
        self.asked: list[str] = []
        self.authorization: set[str] = set()

    def answer(self, request: "Handler", method: str, body: dict[str, Any]) -> None:
        self.asked.append(method)
        self.authorization.add(request.headers.get("Authorization", ""))
        if self.refuses or (body["ownerSlug"], body["instanceSlug"]) != ("google", "gemma-4-12b-it"):
            code = self.refuses or 404
            request.give(code, json.dumps({"code": code, "message": "no\nway"}).encode())
        elif method == "GetModelInstance":
            request.give(200, json.dumps({"versionNumber": max(self.versions)}).encode())
        elif method == "ListModelInstanceVersionFiles":
            listed = [{"name": name, "size": len(data)} for name, data in self.files(body).items()]
            request.give(200, json.dumps({"files": listed, "nextPageToken": ""}).encode())
        else:
            request.give_file(self.files(body)[body["path"]])

    def files(self, body: dict[str, Any]) -> dict[str, bytes]:
        return self.versions[int(body["versionNumber"])]


class Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.body = body
        self.kaggle.answer(self, self.path.rpartition("/")[2], body)

    def do_GET(self) -> None:  # the rest of a file, as a download goes on
        begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.kaggle.asked.append(f"rest from {begin}")
        self.give(206, FILES["model.safetensors"][begin:], kind="application/octet-stream")

    def give(self, code: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def give_file(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:CUT] if self.kaggle.breaks_off else data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    """A stand-in that kagglehub is led to, with an empty cache."""
    pytest.importorskip("kagglehub")
    from kagglesdk import kaggle_env

    handler = type("Bound", (Handler,), {"kaggle": Kaggle()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, address)
    yield handler.kaggle
    server.shutdown()
    server.server_close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("text", [f"kaggle:{NAME}", f"https://www.kaggle.com/models/{NAME}"])
def test_a_name_is_downloaded_once(
    kaggle: Kaggle, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    folder = resolve(text)
    assert folder == tmp_path / "cache" / "models" / NAME / "2"
    assert contents(folder) == FILES | {"generation_config.json": b"{}"}
    assert kaggle.authorization == {"Bearer secret"}
    kaggle.asked.clear()
    assert resolve(text) == folder
    assert kaggle.asked == ["GetModelInstance"]
    assert resolve(text, offline=True) == folder
    assert kaggle.asked == ["GetModelInstance"]
    assert capsys.readouterr().out == ""


def test_a_version_is_kept_to(kaggle: Kaggle) -> None:
    assert contents(resolve(f"kaggle:{NAME}/1")) == FILES
    kaggle.asked.clear()
    assert resolve(f"kaggle:{NAME}", revision="1").name == "1"
    assert kaggle.asked == []


def test_a_broken_download_goes_on_where_it_ended(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.breaks_off = True
    with pytest.raises(GemmaError, match=f"kaggle:{NAME}: .*; run it again"):
        resolve(f"kaggle:{NAME}")
    with pytest.raises(GemmaError, match="it is not in the cache"):
        resolve(f"kaggle:{NAME}", offline=True)
    kaggle.breaks_off = False
    kaggle.asked.clear()
    assert contents(resolve(f"kaggle:{NAME}"))["model.safetensors"] == FILES["model.safetensors"]
    assert f"rest from {KEPT}" in kaggle.asked


def test_without_a_network_the_newest_in_the_cache_is_used(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from kagglesdk import kaggle_env

    folders = [resolve(f"kaggle:{NAME}/{version}") for version in (1, 2)]
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, "http://127.0.0.1:1")
    assert resolve(f"kaggle:{NAME}") == folders[1]
    told = f"kaggle:{NAME}: Kaggle can't be reached; version 2 of the cache is used"
    assert [record.getMessage() for record in caplog.records] == [told]
    with pytest.raises(GemmaError, match=r"kaggle:a/b/keras/d: Kaggle can't be reached \("):
        resolve("kaggle:a/b/keras/d")


TERMS = (
    f'accept its terms at https://www.kaggle.com/models/{NAME}, and set KAGGLE_API_TOKEN (from "API tokens" on kaggle'
)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, f"Kaggle refuses it (HTTP 401): {TERMS}"),
        (403, f"Kaggle refuses it (HTTP 403): {TERMS}"),
        (404, "there is no such model on Kaggle; copy the address of its page"),
        (500, "download failed (no way); run it again to resume"),
    ],
)
def test_refusals_are_one_line(kaggle: Kaggle, status: int, message: str) -> None:
    kaggle.refuses = status
    with pytest.raises(GemmaError) as error:
        resolve(f"kaggle:{NAME}")
    assert str(error.value).startswith(f"kaggle:{NAME}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b/transformers/d", "there is no such model on Kaggle"),
        ("a/b/nothing/d", r"nothing is no framework on Kaggle; copy the address"),
    ],
)
def test_other_models(kaggle: Kaggle, name: str, message: str) -> None:
    with pytest.raises(GemmaError, match=message):
        resolve(f"kaggle:{name}")


def test_a_damaged_file_of_credentials(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kaggle.json").write_text("{")
    with pytest.raises(GemmaError, match=r"download failed \(Invalid Kaggle credentials file at .*kaggle.json\); run"):
        resolve(f"kaggle:{NAME}")


def test_sizes_are_known_before_the_download(kaggle: Kaggle) -> None:
    from gemma4_mlx.checkpoint.address import KAGGLE, Address
    from gemma4_mlx.checkpoint.kaggle import files

    assert files(Address(KAGGLE, NAME)) == (
        2,
        {"config.json": 32, "model.safetensors": 2_559_073, "tokenizer.json": 2, "generation_config.json": 2},
    )
    first = {"config.json": 32, "model.safetensors": 2_559_073, "tokenizer.json": 2}
    assert files(Address(KAGGLE, NAME, "1")) == (1, first)


def test_the_library_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(GemmaError) as error:
        resolve(f"kaggle:{NAME}")
    assert str(error.value) == f"kaggle:{NAME}: models on Kaggle need one more package: pip install 'kagglehub>=1.0'"


def test_what_is_in_the_cache_needs_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    folder = Path(shutil.copytree(NANO_FOLDER, tmp_path / "models" / NAME / "10"))
    (tmp_path / "models" / NAME / "9").mkdir()
    for version in (9, 10):
        (tmp_path / "models" / NAME / f"{version}.complete").touch()
    assert resolve(f"kaggle:{NAME}", offline=True) == folder
    assert resolve(f"kaggle:{NAME}/10") == folder


def test_pull_tells_size_and_fit_first(kaggle: Kaggle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nano = {path.name: path.read_bytes() for path in NANO_FOLDER.iterdir()}
    kaggle.versions[2] = nano
    folder = tmp_path / "cache" / "models" / NAME / "2"
    assert main(["pull", f"kaggle:{NAME}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"kaggle:{NAME}: 11 MB to download",
        "fits: yes, 131,000 tokens",
        str(folder),
        f"ask it: gemma4-mlx chat --model kaggle:{NAME}",
    ]
    assert contents(folder) == nano
    assert main(["pull", f"kaggle:{NAME}/2"]) == 0
    assert capsys.readouterr().out.startswith(f"kaggle:{NAME}/2: 11 MB, all of it is here\n")


def test_another_model_is_not_pulled(kaggle: Kaggle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kaggle.versions[2] = FILES | {"config.json": b'{"model_type": "llama"}'}
    assert main(["pull", f"kaggle:{NAME}"]) == 1
    assert "error: config.json: model_type is 'llama'; this package runs 'gemma4_unified'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))
