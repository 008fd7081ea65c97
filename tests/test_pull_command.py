"""`gemma4-mlx pull` and `rm`, against a stand-in of the Hub on this machine."""

import fcntl
import hashlib
import io
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_stand_in import COMMIT, Hub, serving
from sparse import write_sparse

from gemma4_mlx import settings
from gemma4_mlx.checkpoint.hub import NANO_FOLDER, resolve
from gemma4_mlx.commands.main import main

NAME = "owner/nano"
FILES = {path.name: path for path in NANO_FOLDER.iterdir() if path.name != "README.md"}
BITS = "bits: 16 bits (16.0 a weight)\nfits: yes, 131,000 tokens\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "hub"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(monkeypatch, cache) as served:
        served.repositories[NAME] = FILES
        yield served


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command, at a terminal if somebody `answers`: exit code, stdout, stderr."""

    def run(*words: str, answers: str | None = None) -> tuple[int, str, str]:
        stdin = io.StringIO(answers or "")
        stdin.isatty = lambda: answers is not None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def snapshot(cache: Path, name: str = NAME) -> Path:
    return cache / f"models--{name.replace('/', '--')}" / "snapshots" / COMMIT


def size(name: str) -> int:
    return FILES[name].stat().st_size


def test_what_it_is_is_told_before_it_is_downloaded_and_once_it_is_here(hub: Hub, cache: Path, run: Run) -> None:
    here = f"{snapshot(cache)}\nask it: gemma4-mlx chat --model {NAME}\n"
    assert run("pull", NAME) == (0, f"{NAME}: 11 MB to download\n{BITS}{here}", "")
    assert {path.name: path.read_bytes() for path in snapshot(cache).iterdir()} == {
        name: path.read_bytes() for name, path in FILES.items()
    }
    assert resolve(NAME, offline=True) == snapshot(cache)
    hub.asked.clear()
    assert run("pull", f"https://huggingface.co/{NAME}") == (0, f"{NAME}: 11 MB, all of it is here\n{BITS}{here}", "")
    assert [
        (path.rpartition("/")[2], part) for method, path, part in hub.asked if method == "GET" and "api" not in path
    ] == [("model.safetensors", "bytes=0-100000")]


def test_what_can_be_told_is_told_without_the_weights(hub: Hub, cache: Path, run: Run, tmp_path: Path) -> None:
    folder = write_sparse(tmp_path / "sparse", lambda path: 8 if ".mlp." in path else 4)
    name = "owner/gemma-4-12B-it-4bit"
    hub.repositories[name] = {path.name: path for path in folder.iterdir()}
    code, out, _ = run("pull", name, "--memory-limit", "16GB", answers="n\n")
    assert code == 1
    assert out == (
        f"{name}: 10.99 GB to download\n"
        "bits: attention 4, MLP 8, embedding 4, media 4 (7.3 a weight)\n"
        "fits: no: 11.31 GB of 10.35 GB\n"
        f"{name} is called 4-bit, but has 7.3 bits a weight (attention 4, MLP 8, embedding 4, media 4)\n"
    )
    assert not (snapshot(cache, name) / "model.safetensors").exists()


@pytest.mark.parametrize(("answers", "code"), [("\n", 0), ("y\n", 0), ("YES\n", 0), ("n\n", 1), ("what\n", 1), ("", 1)])
def test_a_terminal_is_asked(hub: Hub, cache: Path, run: Run, answers: str, code: int) -> None:
    found, _, err = run("pull", NAME, answers=answers)
    assert err == "download it? [Y/n] "
    assert found == code or answers == ""
    assert (snapshot(cache) / "model.safetensors").exists() is (found == 0)
    assert "?" not in run("pull", NAME, "--yes", answers="n\n")[2]


def test_a_download_that_broke_off_goes_on(hub: Hub, cache: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(time, "sleep", lambda _: None)  # between its own tries
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000_000)
    hub.breaks_off = 4_000_000
    code, _, err = run("pull", NAME)
    assert code == 1
    # what the Hub's library calls a connection that breaks off depends on its version
    told = (
        rf"error: {NAME}: (download failed \(.*\); run it again to resume|the Hub can't be reached; try it again .*)\n"
    )
    assert re.fullmatch(told, err)
    assert run("generate", "--model", NAME, "--offline", "-p", "x") == (
        1,
        "",
        f"error: {NAME}: its download is unfinished; finish it with: gemma4-mlx pull {NAME}\n",
    )
    hub.breaks_off, hub.broken = 0, False
    hub.asked.clear()
    code, out, _ = run("pull", NAME)
    assert code == 0
    assert "MB to download of 11 MB; the rest is here" in out
    begun = [part for method, path, part in hub.asked if part.endswith("-") and "safetensors" in path]
    assert begun == ["bytes=4000000-"]
    assert (snapshot(cache) / "model.safetensors").read_bytes() == FILES["model.safetensors"].read_bytes()


def test_what_came_otherwise_is_not_kept(hub: Hub, cache: Path, run: Run) -> None:
    hub.tags["model.safetensors"] = "0" * 64
    code, _, err = run("pull", NAME)
    assert (code, err) == (
        1,
        "error: model.safetensors: other bytes came than were to come; run it again to download it anew\n",
    )
    assert not list(cache.glob("*/blobs/*incomplete"))
    assert not (snapshot(cache) / "model.safetensors").exists()


def test_only_one_process_downloads_a_file(hub: Hub, cache: Path, run: Run) -> None:
    tag = hashlib.sha256(FILES["model.safetensors"].read_bytes()).hexdigest()
    part = cache / "models--owner--nano" / "blobs" / f"{tag}.gemma4_mlx.incomplete"
    part.parent.mkdir(parents=True)
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        told = "error: model.safetensors: another process downloads it; wait for that\n"
        assert run("pull", NAME)[::2] == (1, told)
    part.write_bytes(b"x" * 20_000_000)  # more than there is to come
    assert run("pull", NAME)[0] == 0


@pytest.mark.parametrize("damage", [b"", b"version https://git-lfs.github.com/spec/v1\n", None])
def test_what_is_damaged_is_downloaded_again(hub: Hub, cache: Path, run: Run, damage: bytes | None) -> None:
    assert run("pull", NAME)[0] == 0
    blob = (snapshot(cache) / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:5_000_000] if damage is None else damage)
    code, _, err = run("pull", NAME)
    assert (code, err) == (0, "note: model.safetensors is damaged and is downloaded again\n"), err
    assert (snapshot(cache) / "model.safetensors").read_bytes() == FILES["model.safetensors"].read_bytes()


def with_config(**changes: object) -> dict[str, bytes | Path]:
    config = json.loads(FILES["config.json"].read_text()) | changes
    return {**FILES, "config.json": json.dumps(config).encode()}


REFUSED: dict[str, tuple[dict[str, bytes | Path], str]] = {
    "another model": (with_config(model_type="llama"), "config.json: model_type is 'llama'; this package runs"),
    "another quantization": (
        with_config(quantization_config={"quant_method": "compressed-tensors"}),
        "config.json: weights quantized by 'compressed-tensors' can't be read",
    ),
    "GGUF only": (
        {"model.gguf": b"GGUF", "README.md": b""},
        f"{NAME}@{COMMIT}: no config.json and no weights there that this package reads (safetensors only)",
    ),
    "no weights": ({"config.json": FILES["config.json"]}, f"{NAME}@{COMMIT}: no weights there that this package reads"),
    "other weights": (
        {**FILES, "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"},
        "the weights do not match config.json: mi",
    ),
    "no header": ({**FILES, "model.safetensors": b"12345678{}"}, f"{NAME}: its weights are no safetensors files ("),
}


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_run_is_not_downloaded(
    hub: Hub, cache: Path, run: Run, files: dict[str, bytes | Path], message: str
) -> None:
    hub.repositories[NAME] = files
    code, _, err = run("pull", NAME)
    assert code == 1
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not (snapshot(cache) / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "refuses", "code", "message"),
    [
        (
            ["owner/none"],
            None,
            1,
            "owner/none: no such folder, and no such repository on the Hub (or HF_TOKEN is",
        ),
        ([f"{NAME}@v9"], None, 1, f"{NAME}: no revision 'v9'"),
        ([NAME], (403, "GatedRepo"), 1, f"{NAME}: access must be granted on its Hub page; then set HF_TOKEN"),
        (["nano"], None, 2, "nano is built in; there is nothing to download"),
        (["/"], None, 2, "/: a folder on this machine"),
        (["justaname"], None, 2, "justaname: no name of a model (owner/name)"),
        (["https://example.com/a/b"], None, 1, "https://example.com/a/b: no address of a model"),
    ],
)
def test_what_can_not_be_pulled(
    hub: Hub, run: Run, words: list[str], refuses: tuple[int, str] | None, code: int, message: str
) -> None:
    hub.refuses = refuses
    found, out, err = run("pull", *words)
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_full_disk_is_told_before(hub: Hub, cache: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    code, _, err = run("pull", NAME)
    assert (code, err) == (
        1,
        f"error: {cache}: 12 MB are needed there, and 2 MB are free; make room, or give another place\n",
    )


def test_a_revision_is_pulled_and_listed(hub: Hub, run: Run) -> None:
    assert run("pull", NAME, "--revision", "v1")[1].startswith(f"{NAME}@v1: 11 MB to download\n")
    assert f"\n{NAME}@v1   11 MB" in run("list")[1]
    assert run("use", f"hf.co/{NAME}/tree/v1")[2] == ""


# rm


def pulled(run: Run, *names: str) -> None:
    for name in names:
        assert run("pull", name)[0] == 0


@pytest.mark.parametrize(("answers", "code"), [("y\n", 0), ("yes\n", 0), ("\n", 1), ("n\n", 1), ("", 1)])
def test_a_model_is_removed_if_somebody_says_so(hub: Hub, cache: Path, run: Run, answers: str, code: int) -> None:
    pulled(run, NAME)
    found, out, err = run("rm", NAME, answers=answers)
    assert (found, err) == (code, f"remove {NAME}, 11 MB? [y/N] ")
    assert out == (f"{NAME}: removed, 11 MB freed\n" if code == 0 else "")
    assert (cache / "models--owner--nano").exists() is (code != 0)


def test_nobody_to_ask(hub: Hub, cache: Path, run: Run) -> None:
    pulled(run, NAME)
    why = "it asks before it removes, and standard input is no terminal: --yes removes unasked"
    assert run("rm", NAME) == (2, "", f"error: {why}\n")
    assert snapshot(cache).exists()
    assert run("rm", NAME, "--yes") == (0, f"{NAME}: removed, 11 MB freed\n", "")
    assert not (cache / "models--owner--nano").exists()


def test_only_what_is_named_is_removed(hub: Hub, cache: Path, run: Run) -> None:
    hub.repositories["other/nano"] = FILES
    pulled(run, NAME, "other/nano")
    older = snapshot(cache).with_name("beef" * 10)
    shutil.copytree(snapshot(cache), older)
    (cache / "models--owner--nano" / "refs" / "v1").write_text(older.name)
    assert run("rm", f"{NAME}@v1", "--yes")[0] == 0
    assert (older.exists(), snapshot(cache).exists()) == (False, True)
    assert run("rm", NAME, "--revision", "v1", "--yes") == (
        1,
        "",
        f"error: {NAME}@v1: no model of this package in the cache (there is {NAME}); gemma4-mlx list tells what is\n",
    )
    told = f"{NAME}@main: removed, 11 MB freed\n"
    assert run("rm", f"https://huggingface.co/{NAME}/tree/main", "--yes") == (0, told, "")
    assert (snapshot(cache).exists(), snapshot(cache, "other/nano").exists()) == (False, True)


def test_every_revision_is_removed_with_its_model(hub: Hub, cache: Path, run: Run) -> None:
    pulled(run, NAME)
    shutil.copytree(snapshot(cache), snapshot(cache).with_name("beef" * 10))
    assert run("rm", NAME, answers="y\n")[2].startswith(f"remove {NAME}, {NAME}@{'beef' * 10}, ")
    assert not (cache / "models--owner--nano").exists()


def test_the_path_of_a_snapshot_is_its_model(hub: Hub, cache: Path, run: Run) -> None:
    pulled(run, NAME)
    assert run("rm", str(snapshot(cache)), "--yes")[0] == 0
    assert not snapshot(cache).exists()


def test_an_unfinished_download_is_removed(hub: Hub, cache: Path, run: Run) -> None:
    pulled(run, NAME)
    (snapshot(cache) / "model.safetensors").unlink()
    assert run("rm", NAME, "--yes")[0] == 0
    assert not (cache / "models--owner--nano").exists()


def test_the_default_model_is_missed(hub: Hub, run: Run) -> None:
    pulled(run, NAME)
    run("use", NAME)
    note = f"note: it was the model that is taken if none is named (gemma4-mlx use, in {settings.settings_file()}); "
    assert run("rm", NAME, "--yes")[2] == note + "gemma4-mlx use chooses another\n"


def test_kaggles_cache_is_cleared_to_the_last_folder(run: Run, cache: Path, tmp_path: Path) -> None:
    models = tmp_path / "kaggle" / "models"
    versions = models / "google" / "gemma-4" / "transformers" / "x"
    for version in ("1", "2"):
        shutil.copytree(NANO_FOLDER, versions / version)
        (versions / f"{version}.complete").touch()
    name = "kaggle:google/gemma-4/transformers/x"
    assert run("rm", f"{name}/1", "--yes") == (0, f"{name}/1: removed, 11 MB freed\n", "")
    assert sorted(path.name for path in versions.iterdir()) == ["2", "2.complete"]
    assert run("rm", name, answers="y\n") == (0, f"{name}: removed, 11 MB freed\n", f"remove {name}/2, 11 MB? [y/N] ")
    assert list(models.iterdir()) == []
    assert run("rm", name, "--yes")[0] == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nano"], 2, "nano is built in, and goes with the package"),
        (["{mine}"], 1, "{mine}: a folder of yours, in no cache; to remove it yourself: rm -r {mine}"),
        (["owner/none"], 1, "owner/none: no model of this package in the cache; gemma4-mlx list tells what is"),
        (["other/llama"], 1, "other/llama: no model of this package in the cache; gemma4-mlx list tells what is"),
        (["justaname"], 2, "justaname: no name of a model (owner/name); gemma4-mlx list tells those that are here"),
        (["kaggle:a/b/c/d"], 1, "kaggle:a/b/c/d: no model of this package in the cache"),
        (["kaggle:../../a/b"], 1, "kaggle:../../a/b: ../../a/b is no name of a model on Kaggle"),
    ],
)
def test_what_is_never_removed(hub: Hub, cache: Path, run: Run, words: list[str], code: int, message: str) -> None:
    mine = cache.parent / "mine"
    shutil.copytree(NANO_FOLDER, mine)
    settings.remember_folder(mine)
    llama = snapshot(cache, "other/llama")
    llama.mkdir(parents=True)
    (llama / "config.json").write_text('{"model_type": "llama"}')
    found, out, err = run("rm", *(word.format(mine=mine) for word in words), "--yes")
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {message.format(mine=mine)}")
    assert err.count("\n") == 1
    assert (mine / "config.json").exists()
    assert llama.exists()
