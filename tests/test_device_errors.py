"""What MLX says of a failing device, by the texts in its sources and in reports of users; not run on a Mac."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest

import gemma4_mlx
from gemma4_mlx import device_errors
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.hub import NANO_FOLDER
from gemma4_mlx.checkpoint.load import build
from gemma4_mlx.commands.common import explained
from gemma4_mlx.commands.generate import main
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.device_errors import kernels_are_missing, named_error
from gemma4_mlx.engine import session_file
from gemma4_mlx.engine.session import Session
from gemma4_mlx.errors import DoesNotFitError, GemmaError
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt

ROOT = Path(__file__).resolve().parent.parent
FAILED = "[METAL] Command buffer execution failed: "
MEMORY, SLOW = "close other programs, lower max_kv_size", "lower prefill_step_size to 256"
SAID = {
    f"{FAILED}Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory).": (3, MEMORY),
    f"{FAILED}Insufficient Memory": (3, MEMORY),
    "[malloc] Unable to allocate 123456789 bytes.": (3, MEMORY),
    "[malloc_or_wait] Unable to allocate 123456789 bytes.": (3, MEMORY),
    "[metal::malloc] Resource limit (499000) exceeded.": (3, MEMORY),
    "[metal::malloc] Attempting to allocate 17179869184 bytes which is greater than the maximum allowed buffer size of "
    "9534832640 bytes.": (3, "one array would be larger than the GPU can hold: lower prefill_step_size"),
    f"{FAILED}Impacting Interactivity (0000000e:kIOGPUCommandBufferCallbackErrorImpactingInteractivity).": (1, SLOW),
    f"{FAILED}Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout).": (1, SLOW),
    f"{FAILED}Caused GPU Hang Error (00000003:kIOGPUCommandBufferCallbackErrorHang).": (1, SLOW),
    f"{FAILED}Ignored (for causing prior/excessive GPU errors) "
    "(00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored).": (1, "start it again"),
    f"{FAILED}Discarded (victim of GPU error/recovery) (00000005:kIOGPUCommandBufferCallbackErrorInnocentVictim).": (
        1,
        "start it again",
    ),
    f"{FAILED}Caused GPU Address Fault Error (0000000b:kIOGPUCommandBufferCallbackErrorPageFault).": (
        1,
        "gemma4_mlx.doctor",
    ),
    f"{FAILED}Internal Error (0000000e:Internal Error).": (1, "gemma4_mlx.doctor"),
    "[metal::Device] Unable to build metal library from source\nprogram_source:12: error": (1, "update macOS and MLX"),
    "[metal::Device] Unable to load kernel steel_attention_float16": (1, "update macOS and MLX"),
    "Failed to load the default metallib. library not found": (1, "update macOS and MLX"),
    "filesystem error: cannot create directories: Permission denied [/tmp/mlx/0.32.4/cpu]": (1, "set TMPDIR"),
    "filesystem error: cannot create directories: No space left on device [/tmp/mlx/0.32.4/cpu]": (1, "set TMPDIR"),
    "filesystem error: temp_directory_path: Not a directory": (1, "set TMPDIR"),
    "Could not load C++ shared library /tmp/mlx/0.32.4/cpu/libA.so: failed to map segment from shared object": (
        1,
        "set TMPDIR",
    ),
}


@pytest.mark.parametrize("said", SAID)
def test_each_failure_is_one_line_that_says_what_to_try(said: str) -> None:
    code, advice = SAID[said]
    error = named_error(RuntimeError(said))
    assert error is not None
    assert error.exit_code == code
    assert advice in str(error)
    assert "(MLX said: " in str(error)
    assert "\n" not in str(error)
    assert "--" not in str(error)


def test_what_no_device_says_is_left_alone() -> None:
    assert named_error(RuntimeError("generator raised StopIteration")) is None
    assert named_error(RuntimeError("There is no Stream(gpu, 1) in current thread.")) is None
    assert named_error(MemoryError()) is None
    assert isinstance(named_error(MemoryError("std::bad_alloc")), DoesNotFitError)


OUT_OF_MEMORY = next(iter(SAID))


def failing(text: str) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(text)

    return fail


def test_a_reply_and_the_loading_of_a_model_raise_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = gemma4_mlx.load("nano")
    monkeypatch.setattr("gemma4_mlx.engine.generation.read_hidden", failing(OUT_OF_MEMORY))
    with pytest.raises(DoesNotFitError, match="ran out of memory: close other programs, lower max_kv_size, set kv_b"):
        gemma4_mlx.generate(model, processor, "Hello")
    monkeypatch.setattr(type(model), "prepare", failing(OUT_OF_MEMORY))
    with pytest.raises(DoesNotFitError, match="ran out of memory"):
        gemma4_mlx.load("nano")


def preparing(folder: Path) -> None:
    gemma4_mlx.load("nano", lazy=True)[0].prepare()


def reading_a_session(folder: Path) -> None:
    session_file.load(*prepared_session(folder))


def saving_a_session(folder: Path) -> None:
    model, path = prepared_session(folder)
    session_file.save(session_file.load(model, path), path)


def prepared_session(folder: Path) -> tuple[Gemma4Unified, Path]:
    """A model, and a session of it in a file that was written before anything fails."""
    session = Session(gemma4_mlx.load("nano")[0])
    session.read(Prompt([2, 5, 7]), 8, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mx, "save_safetensors", SAVE)
        session_file.save(session, folder / "talk.safetensors")
    return session.model, folder / "talk.safetensors"


def converting(folder: Path) -> None:
    convert(NANO_FOLDER, folder / "packed", ConvertOptions(dtype="float16"))


def building(folder: Path) -> None:
    build(failing(OUT_OF_MEMORY), None)


SAVE = mx.save_safetensors


@pytest.mark.parametrize(
    ("work", "place"),
    [
        (preparing, "gemma4_mlx.model.text.read"),
        (reading_a_session, "gemma4_mlx.engine.session_file.read"),
        (saving_a_session, "mlx.core.save_safetensors"),
        (converting, "gemma4_mlx.checkpoint.convert.read"),
        (converting, "mlx.core.save_safetensors"),
        (building, "gemma4_mlx.checkpoint.load.whole"),
    ],
)
def test_no_file_is_blamed_for_a_device(
    work: Callable[[Path], None], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, failing(OUT_OF_MEMORY))
    with pytest.raises(DoesNotFitError, match=r"^the device ran out of memory: close other programs"):
        work(tmp_path)


def test_weights_that_a_device_did_not_read_are_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = gemma4_mlx.load("nano", lazy=True)
    monkeypatch.setattr("gemma4_mlx.model.text.read", failing(OUT_OF_MEMORY))
    with pytest.raises(DoesNotFitError):
        model.prepare()
    monkeypatch.undo()
    with pytest.raises(GemmaError, match=r"were not read, as the device failed \(.*\); load the model again$"):
        model.prepare()


def test_the_command_names_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("gemma4_mlx.engine.generation.read_hidden", failing(OUT_OF_MEMORY))
    assert main(["--model", "nano", "-p", "Hello"]) == 3
    err = capsys.readouterr().err.splitlines()
    assert "lower --max-kv-size, set --kv-bits 8 or 4, or take" in err[-1]
    assert "--max-kv-size" in explained(RuntimeError(OUT_OF_MEMORY))
    assert explained(RuntimeError("something else")) == "something else"


SECOND_USER = """
import os, sys
import gemma4_mlx
model, processor = gemma4_mlx.load("nano", lazy=True)
processor.prompt([{"role": "user", "content": "Hello"}])
if not os.geteuid():
    os.setuid(65534)
try:
    gemma4_mlx.generate(model, processor, "Hello", max_tokens=2)
except gemma4_mlx.GemmaError as error:
    print(error)
"""


def test_a_folder_of_another_user_is_told(tmp_path: Path) -> None:
    kernels = tmp_path / "mlx" / mx.__version__ / "cpu"
    kernels.mkdir(parents=True)
    kernels.chmod(0o555)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o111)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", SECOND_USER]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"MLX can't put the kernels that it compiles into {tmp_path}/mlx: if that belongs to")
    assert "set TMPDIR to a folder of your own" in done.stdout
    assert done.stdout.count("\n") == 1


def test_the_first_run_says_that_kernels_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device_errors.shutil, "which", lambda _: "/usr/bin/g++")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert kernels_are_missing()
    terminal = Terminal(show_thought=False)
    terminal.status("reading the prompt")
    terminal.progress(5, 9)
    kernels = tmp_path / "mlx" / mx.__version__ / "cpu"
    kernels.mkdir(parents=True)
    (kernels / "libone.so").touch()
    assert not kernels_are_missing()
    Terminal(show_thought=False).status("reading the prompt")
    said = "; first MLX compiles its kernels (20 s) ..."
    first, second, third = capsys.readouterr().err.split("\r\x1b[K")[1:]
    assert first == f"reading the prompt{said}"
    assert second == f"reading the prompt: 5 of 9 tokens{said}"
    assert third == "reading the prompt ..."


@pytest.mark.parametrize("why", ["a GPU", "no compiler", "switched off"])
def test_nothing_is_compiled_with(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(device_errors.shutil, "which", lambda _: None if why == "no compiler" else "/usr/bin/g++")
    if why == "a GPU":
        monkeypatch.setattr(mx, "default_device", lambda: mx.gpu)
    elif why == "switched off":
        monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    assert not kernels_are_missing()
