"""`convert.py` as people use it: nothing half-written ever looks whole, and every failure is one line."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import mlx.core as mx
import pytest

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.commands.convert import main
from gemma4_mlx.errors import GemmaError

ROOT = Path(__file__).resolve().parent.parent
SLIDING, FULL = "sliding_attention", "full_attention"


def test_a_link_in_the_way_is_not_followed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / ".out.unfinished").symlink_to(tmp_path / "mine")
    assert main(["--hf-path", str(source), "--mlx-path", str(tmp_path / "out")]) == 1
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def interrupt(done: int, total: int) -> None:
    if done > total / 2:
        raise KeyboardInterrupt


def test_an_interrupted_conversion_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out", ConvertOptions(), progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_exit_code_130(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma4_mlx.commands.convert._progress", lambda _: interrupt)
    assert main(["--hf-path", str(source), "--mlx-path", str(tmp_path / "out")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_killed_conversion_never_looks_whole_and_is_cleaned_up_by_the_next(source: Path, tmp_path: Path) -> None:
    """The process dies at the last moment: all weights are written, config.json is about to be."""
    script = (
        "import os, sys\n"
        "from gemma4_mlx.checkpoint import convert\n"
        "convert.model_card = lambda *_: os._exit(9)\n"
        "from gemma4_mlx.commands.convert import main\n"
        "main(sys.argv[1:])"
    )
    options = ["--hf-path", str(source), "--mlx-path", str(tmp_path / "out")]
    assert subprocess.run([sys.executable, "-c", script, *options], cwd=ROOT, check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name == ".out.unfinished"
    assert (left / "model.safetensors").exists()
    with pytest.raises(GemmaError, match=r"no config\.json there"):
        load_model(left)
    assert main(options) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_conversions_to_one_folder(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unfinished = tmp_path / ".out.unfinished"
    unfinished.mkdir()
    (unfinished / "shard-1.safetensors").write_bytes(b"")
    other = os.open(unfinished, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert main(["--hf-path", str(source), "--mlx-path", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/out: another conversion is writing it\n"
    assert [path.name for path in unfinished.iterdir()] == ["shard-1.safetensors"]
    os.close(other)


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EBADF])
def test_a_volume_that_refuses_locks_is_a_note(
    source: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert main(["--hf-path", str(source), "--mlx-path", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "config.json").exists()
    said = f"note: {tmp_path}/out: this volume can't lock files ([Errno {number}] {os.strerror(number)}); let only one "
    assert said in capsys.readouterr().err


def fail_to_write(*_: Any) -> NoReturn:
    raise RuntimeError("[write] Unable to write 12 bytes to file.")


def test_a_full_disk(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--hf-path", str(source), "--mlx-path", str(tmp_path / "out")]
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(mx, "save_safetensors", fail_to_write)
        assert main(options) == 1
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        assert main(options) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}: can't be written ([write] Unable to write 12 bytes to file.); is the disk full?",
        f"error: {tmp_path}: 7 MB are needed there, and 1 MB are free; make room, or give another place",
    ]
    assert list(tmp_path.iterdir()) == []


def occupy(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "notes.txt").write_text("mine")


def occupy_with_a_file(folder: Path) -> None:
    (folder / "out").write_text("mine")


def cut_weights(folder: Path) -> None:
    path = folder / "source" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def drop_a_tensor(folder: Path) -> None:
    path = folder / "source" / "model.safetensors"
    tensors = mx.load(str(path))
    del tensors["model.language_model.norm.weight"]
    mx.eval(tensors)
    mx.save_safetensors(str(path), tensors)


def other_model(folder: Path) -> None:
    (folder / "source" / "config.json").write_text('{"model_type": "llama"}')


def quantize_source(folder: Path) -> None:
    quantized = folder / "quantized"
    convert(folder / "source", quantized, ConvertOptions(quantization=Quantization.choose()))
    shutil.rmtree(folder / "source")
    quantized.rename(folder / "source")


def nothing(folder: Path) -> None:
    pass


BAD = {
    "folder in use": (occupy, "", 1, "{}/out: already there and not empty; remove it or choose another folder"),
    "target a file": (occupy_with_a_file, "", 1, "{}/out: already there and not empty; remove it or choose another"),
    "quantized, -q": (quantize_source, "-q", 1, "the source is quantized already (4 bits); convert the original, or"),
    "quantized, as is": (quantize_source, "", 1, "the source is quantized already (4 bits); convert the original, or"),
    "plain, -d": (nothing, "-d", 2, "the source is not quantized; leave -d out"),
    "-q and -d": (nothing, "-q -d", 2, "-q or -d, not both"),
    "bits": (nothing, "-q --q-bits 7", 2, "7 bits are not possible; affine has 2, 3, 4, 5, 6, 8"),
    "no bits": (nothing, "-q --q-bits 0", 2, "0 bits are not possible; affine has 2, 3, 4, 5, 6, 8"),
    "group": (nothing, "-q --q-group-size 48", 2, "groups of 48 are not possible; affine has 32, 64 and 128"),
    "no group": (nothing, "-q --q-group-size 0", 2, "groups of 0 are not possible; affine has 32, 64 and 128"),
    "mode and bits": (nothing, "-q --q-mode mxfp4 --q-bits 8", 2, "mxfp4 has 4 bits and groups of 32; leave both"),
    "mode and group": (nothing, "-q --q-mode nvfp4 --q-group-size 32", 2, "nvfp4 has 4 bits and groups of 16; leave"),
    "recipe": (nothing, "-q --quant-predicate mixed_9_9", 2, "no recipe 'mixed_9_9'; there are mixed_2_6, mixed_3_4,"),
    "recipe and bits": (nothing, "-q --quant-predicate mixed_3_6 --q-bits 4", 2, "the recipe mixed_3_6 sets the bits"),
    "recipe and mode": (nothing, "-q --quant-predicate mixed_3_6 --q-mode mxfp4", 2, "the recipe mixed_3_6 sets the b"),
    "recipe, no -q": (nothing, "--quant-predicate mixed_3_6", 2, "--quant-predicate needs -q"),
    "bits, no -q": (nothing, "--q-bits 4", 2, "--q-bits needs -q"),
    "mode, no -q": (nothing, "--q-mode affine", 2, "--q-mode needs -q"),
    "upload offline": (
        nothing,
        "--offline --upload-repo me/mine",
        2,
        "--upload-repo needs the Hub; leave --off",
    ),
    "upload name": (nothing, "--upload-repo mine", 2, "mine: not the name of a Hub repository (owner/name)"),
    "cut weights": (
        cut_weights,
        "",
        1,
        "{}/source: an unfinished download: model.safetensors is cut off at 100,000 of ",
    ),
    "missing tensor": (
        drop_a_tensor,
        "",
        1,
        "the weights do not match config.json: missing: language_model.model.norm.weight",
    ),
    "other model": (other_model, "", 1, "config.json: model_type is 'llama'; this package runs 'gemma4_unified'"),
}


@pytest.mark.parametrize(("prepare", "options", "code", "message"), BAD.values(), ids=BAD)
def test_bad_conversions(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path], None],
    options: str,
    code: int,
    message: str,
) -> None:
    shutil.copytree(source, tmp_path / "source")
    prepare(tmp_path)
    before = sorted(tmp_path.iterdir())
    arguments = ["--hf-path", str(tmp_path / "source"), "--mlx-path", str(tmp_path / "out"), *options.split()]
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: " + message.format(tmp_path))
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_no_module_divides_into_the_groups(tmp_path: Path) -> None:
    narrow = tiny_config(hidden_size=32, num_attention_heads=2, intermediate_size=64, layer_types=[SLIDING, FULL])
    folder = write_checkpoint(tmp_path / "narrow", narrow)
    with pytest.raises(GemmaError, match="no weights of this model divide into groups of 128"):
        convert(folder, tmp_path / "out", ConvertOptions(quantization=Quantization.choose(group_size=128)))


class FakeHub:
    """Stands for HfApi; remembers what it was asked."""

    calls: list[tuple[str, Any]]
    failure: Exception | None = None

    def create_repo(self, repo: str, *, exist_ok: bool) -> None:
        self.calls.append((repo, exist_ok))
        if self.failure:
            raise self.failure

    def upload_folder(self, *, repo_id: str, folder_path: Path) -> None:
        self.calls.append((repo_id, sorted(path.name for path in folder_path.iterdir())))


def test_upload(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FakeHub.calls = []
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    options = ["--hf-path", str(source), "--upload-repo", "me/mine"]
    assert main([*options, "--mlx-path", str(tmp_path / "out")]) == 0
    assert FakeHub.calls[0] == ("me/mine", True)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} < set(FakeHub.calls[1][1])
    assert capsys.readouterr().out.endswith("\nhttps://huggingface.co/me/mine\n")
    monkeypatch.setattr(FakeHub, "failure", OSError("no route\nto host"))
    assert main([*options, "--mlx-path", str(tmp_path / "again")]) == 1
    error = f"error: me/mine: upload failed (no route to host); the checkpoint is in {tmp_path}/again\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize("command", [["convert.py"], ["-m", "gemma4_mlx.convert"]])
def test_both_ways_to_start_it(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for option in ("--hf-path", "--model", "--mlx-path", "--q-bits", "--q-group-size", "--q-mode", "--quant-predicate"):
        assert option in done.stdout


def test_a_folder_that_can_not_be_asked_is_said(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    (copy / "chat_template.jinja").unlink()
    assert main(["--hf-path", str(copy), "--mlx-path", str(tmp_path / "out")]) == 0
    assert f"note: {tmp_path / 'out'} can't be asked yet ({tmp_path / 'out'}: no chat_template.jinja there" in (
        capsys.readouterr().err
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that takes no files even of root")
def test_a_place_that_takes_no_folder_is_told_by_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hf-path", "nano", "--mlx-path", "/proc/x"]) == 1
    refused = "can't be written (No such file or directory); choose another name or place"
    assert capsys.readouterr().err == f"error: /proc/x: {refused}\n"
