"""Downloads that are not finished, as each downloader leaves them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gemma4_mlx.checkpoint.hub import NANO_FOLDER, resolve
from gemma4_mlx.checkpoint.unfinished import faults, origin
from gemma4_mlx.errors import GemmaError

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n"
ANNEX = "/annex/objects/SHA256E-s7000000000--aa.safetensors\n"
COMMIT = "73bcf090" * 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small checkpoint: its files are whole, whatever is in them."""
    made = tmp_path / "model"
    made.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(NANO_FOLDER / name, made / name)
    (made / "model.safetensors").write_bytes(safetensors(4000))
    return made


def safetensors(size: int) -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


def write(name: str, content: str | bytes = "") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def rename(name: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).rename(folder / to)


def shards(total: int, *present: int, index: bool = True) -> Callable[[Path], None]:
    names = [f"model-{number:05d}-of-{total:05d}.safetensors" for number in range(1, total + 1)]

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for number in present:
            (folder / names[number - 1]).write_bytes(safetensors(10))
        if index:
            listed = {"weight_map": {f"t{number}": name for number, name in enumerate(names)}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(listed))

    return change


def link(to: str, name: str = "model.safetensors") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return change


def each(*changes: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


AGAIN = "download it, copy it or convert the checkpoint again"
BROKEN = {
    "two shards missing": (
        shards(3, 2),
        "model-00001-of-00003.safetensors, model-00003-of-00003.safetensors are missing; " + AGAIN,
    ),
    "a shard missing, no index": (shards(2, 1, index=False), "model-00002-of-00002.safetensors is missing; " + AGAIN),
    "only the index": (shards(1), "model-00001-of-00001.safetensors is missing; " + AGAIN),
    "many shards missing": (
        shards(9, 1),
        ", ".join(f"model-0000{number}-of-00009.safetensors" for number in range(2, 7))
        + f" and 3 more are missing; {AGAIN}",
    ),
    "empty weights": (cut("model.safetensors", 0), "model.safetensors is empty; " + AGAIN),
    "empty config": (cut("config.json", 0), "config.json is empty; " + AGAIN),
    "empty tokenizer": (cut("tokenizer.json", 0), "tokenizer.json is empty; " + AGAIN),
    "empty index": (write("model.safetensors.index.json"), "model.safetensors.index.json is empty; " + AGAIN),
    "cut weights": (cut("model.safetensors", 2000), "model.safetensors is cut off at 2,000 of 4,074 bytes; " + AGAIN),
    "cut header": (cut("model.safetensors", 30), "model.safetensors is cut off at 30 of 74 bytes; " + AGAIN),
    "cut shard": (
        each(shards(2, 1, 2), cut("model-00002-of-00002.safetensors", 9)),
        "model-00002-of-00002.safetensors is cut off",
    ),
    "LFS weights": (
        write("model.safetensors", LFS),
        "model.safetensors is only a Git LFS pointer; copy the file itself, or run git lfs pull where it comes from",
    ),
    "LFS weights in a clone": (
        each(write("model.safetensors", LFS), write(".git/HEAD")),
        "model.safetensors is only a Git LFS pointer; finish it with: git -C {} lfs pull",
    ),
    "LFS tokenizer in a clone": (
        each(write("tokenizer.json", LFS), write(".git/HEAD")),
        "tokenizer.json is only a Git LFS pointer; finish it with: git -C {} lfs pull",
    ),
    "LFS shards": (
        each(
            shards(2),
            *(write(f"model-0000{number}-of-00002.safetensors", LFS) for number in (1, 2)),
            write(".git", "x"),
        ),
        "model-00001-of-00002.safetensors, model-00002-of-00002.safetensors are only a Git LFS pointer; finish it with",
    ),
    "annexed pointer": (
        write("model.safetensors", ANNEX),
        "model.safetensors is only a pointer of git-annex; finish it with: git -C {} annex get .",
    ),
    "annexed link": (
        link(".git/annex/objects/aa/bb/SHA256E-s7--aa/SHA256E-s7--aa"),
        "model.safetensors is a link of git-annex to what is not here; finish it with: git -C {} annex get .",
    ),
    "dangling link": (link("../gone/model.safetensors"), "model.safetensors is a link to nothing; " + AGAIN),
    "a browser's": (
        rename("model.safetensors", "model.safetensors.crdownload"),
        "model.safetensors.crdownload is there in part; " + AGAIN,
    ),
    "Firefox's": (rename("model.safetensors", "model.safetensors.part"), "model.safetensors.part is there in part"),
    "Safari's": (
        each(drop("model.safetensors"), write("model.safetensors.download/Info.plist", "x")),
        "model.safetensors.download is there in part; " + AGAIN,
    ),
    "iCloud's": (
        rename("model.safetensors", ".model.safetensors.icloud"),
        ".model.safetensors.icloud is there in part",
    ),
    "aria2's": (write("model.safetensors.aria2", "x"), "model.safetensors is there in part; " + AGAIN),
    "hf's in a folder": (
        each(drop("model.safetensors"), write(".cache/huggingface/download/abc.def.incomplete", "x")),
        "model.safetensors is there in part; finish it with: hf download OWNER/NAME --local-dir {}",
    ),
    "hf's in a folder, a shard": (
        each(shards(2, 1), write(".cache/huggingface/download/abc.def.incomplete", "x")),
        "model-00002-of-00002.safetensors is missing; finish it with: hf download OWNER/NAME --local-dir {}",
    ),
    "a page of HTML": (
        write("model.safetensors", "\n<!DOCTYPE html><html>log in</html>"),
        "model.safetensors is a page or a message that was saved in its place; " + AGAIN,
    ),
    "a message": (
        write("config.json", "Access to model google/gemma-4-12B-it is restricted."),
        "config.json is a page or a message that was saved in its place; " + AGAIN,
    ),
    "not found": (
        write("tokenizer.json", "Entry not found"),
        "tokenizer.json is a page or a message that was saved in",
    ),
    "XML": (write("model.safetensors", '<?xml version="1.0"?><Error>'), "model.safetensors is a page or a message"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_a_folder_of_ones_own(folder: Path, change: Callable[[Path], object], message: str) -> None:
    change(folder)
    with pytest.raises(GemmaError) as error:
        resolve(str(folder))
    assert str(error.value).startswith(f"{folder}: an unfinished download: {message.format(folder)}")
    assert "\n" not in str(error.value)


WHOLE = {
    "as it is": lambda _: None,
    "every shard": shards(3, 1, 2, 3),
    "shards without an index": shards(3, 1, 2, 3, index=False),
    "shards beside a whole file": each(
        write("model-00001-of-00002.safetensors", safetensors(5)),
        write("model.safetensors.index.json", '{"metadata": 1}'),
    ),
    "an old part beside whole weights": write("model.safetensors.part", "x"),
    "hf's notes of a whole download": write(".cache/huggingface/download/model.safetensors.metadata", "x"),
    "no weights at all": drop("model.safetensors"),
    "damaged weights": write("model.safetensors", b"\xff" * 100),
    "a damaged header": write("model.safetensors", (30).to_bytes(8, "little") + b"{" * 40),
    "no tokenizer": drop("tokenizer.json"),
    "a chat template that looks like a page": write("chat_template.jinja", "{{ bos }}<html>"),
}


@pytest.mark.parametrize("change", WHOLE.values(), ids=WHOLE)
def test_what_is_no_unfinished_download(folder: Path, change: Callable[[Path], object]) -> None:
    """What is wrong with some of them is said by whoever reads them."""
    change(folder)
    assert resolve(str(folder)) == folder


def in_hub_cache(folder: Path, root: Path, *, reference: str | None = "main") -> Path:
    """The folder moved to where huggingface_hub would keep it, with links into its blobs."""
    repository = root / "models--owner--some-name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (repository / "blobs").mkdir()
    for path in snapshot.iterdir():
        path.rename(repository / "blobs" / f"of-{path.name}")
        path.symlink_to(f"../../blobs/of-{path.name}")
    if reference:
        (repository / "refs" / reference).parent.mkdir(parents=True)
        (repository / "refs" / reference).write_text(COMMIT)
    return snapshot


IN_HUB_CACHE = {
    "weights missing": (drop("model.safetensors"), "model.safetensors is missing"),
    "tokenizer missing": (drop("tokenizer.json"), "tokenizer.json is missing"),
    "only a config": (
        each(drop("model.safetensors"), drop("tokenizer.json")),
        "tokenizer.json, model.safetensors are m",
    ),
    "nothing": (
        each(drop("model.safetensors"), drop("tokenizer.json"), drop("config.json")),
        "config.json, tokenizer.json, model.safetensors are missing",
    ),
    "a blob missing": (drop("../../blobs/of-model.safetensors"), "model.safetensors is a link to nothing"),
    "an empty blob": (cut("../../blobs/of-config.json", 0), "config.json is empty"),
    "a cut blob": (cut("../../blobs/of-model.safetensors", 2000), "model.safetensors is cut off"),
}


@pytest.mark.parametrize(("change", "message"), IN_HUB_CACHE.values(), ids=IN_HUB_CACHE)
@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("main", "owner/some-name"),
        ("v1", "owner/some-name@v1"),
        ("refs/pr/3", "owner/some-name@refs/pr/3"),
        (None, f"owner/some-name@{COMMIT}"),
    ],
)
def test_the_hubs_cache(
    folder: Path, tmp_path: Path, change: Callable[[Path], object], message: str, reference: str | None, name: str
) -> None:
    snapshot = in_hub_cache(folder, tmp_path / "hub", reference=reference)
    assert list(faults(snapshot)) == []
    change(snapshot)
    with pytest.raises(GemmaError) as error:
        resolve(str(snapshot))
    assert str(error.value).startswith(f"{snapshot}: an unfinished download: {message}")
    assert str(error.value).endswith(f"; finish it with: gemma4-mlx pull {name}")


def test_kaggles_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    version = tmp_path / "cache" / "models" / "google" / "gemma-4" / "transformers" / "gemma-4-12b-it" / "2"
    version.parent.mkdir(parents=True)
    folder.rename(version)
    with pytest.raises(GemmaError) as error:
        resolve(str(version))
    assert str(error.value) == (
        f"{version}: an unfinished download: version 2 is not marked as whole by kagglehub; "
        "finish it with: gemma4-mlx pull kaggle:google/gemma-4/transformers/gemma-4-12b-it/2"
    )
    version.with_name("2.complete").touch()
    assert resolve(str(version)) == version


def test_a_folder_elsewhere_has_no_origin(folder: Path) -> None:
    assert origin(folder) is None


def test_a_name_with_spaces_is_quoted(folder: Path) -> None:
    spaced = folder.rename(folder.with_name("my model"))
    each(write("model.safetensors", LFS), write(".git/HEAD"))(spaced)
    with pytest.raises(GemmaError, match=f"git -C '{spaced}' lfs pull"):
        resolve(str(spaced))
