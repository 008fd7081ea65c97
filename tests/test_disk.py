"""Weights come from disk apart from all that uses them, in any thread, and whoever is interrupted can begin again.

A file of its own, as every way to load goes through it. What depends on a file is told from the graph that is about to
be evaluated, and is evaluated by a thread that has no stream but the one that reads: MLX refuses anything else there.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from linecache import getline
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import FrameType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from test_decode_step import adapters
from test_drafter import write_drafter

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx import api
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.load import open_drafter, open_model
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.engine import session_file
from gemma4_mlx.engine.session import Session
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.model.compiled import Traces, compile_method
from gemma4_mlx.model.disk import READING, disk, read
from gemma4_mlx.model.fingerprint import fingerprint

EVALUATIONS = ((mx, "eval"), (mx, "async_eval"), (mx, "save_safetensors"), (np, "array"), (np, "asarray"))
METHODS = ("item", "tolist", "__bool__", "__int__", "__float__")
ASK: dict[str, Any] = {"max_tokens": 3, "temperature": 0, "eos_ids": ()}


def is_on_disk(arrays: Any) -> bool:
    """Whether arrays in a tree are still to be read, or depend on what is."""
    found = [array for _, array in tree_flatten(arrays) if isinstance(array, mx.array)]
    if not found:
        return False
    with NamedTemporaryFile("r", suffix=".dot") as file:
        mx.export_to_dot(file.name, *found)
        return '"Load"' in file.read()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the evaluations that read from a file; one that would do anything else beside fails."""
    found: list[str] = []

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*given: Any, **options: Any) -> Any:
            if is_on_disk(given):
                found.append(name)
                assert name == "eval", f"{name} reads from disk"
                with ThreadPoolExecutor(1) as other:
                    other.submit(original, *given).result()
            return original(*given, **options)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in (*EVALUATIONS, *((mx.array, name) for name in METHODS)):
        watch(owner, name)
    yield found
    monkeypatch.undo()
    assert found


def ask(model: Any, processor: Any, **options: Any) -> str:
    return api.generate(model, processor, "Hello", **ASK, **options)


def eager(folder: Path) -> None:
    assert not is_on_disk(api.load(folder)[0].parameters())


def lazily(folder: Path) -> None:
    model, processor = api.load(folder, lazy=True)
    assert is_on_disk(model.parameters())
    ask(model, processor)
    assert not is_on_disk(model.parameters())


def automatically(folder: Path) -> None:
    ask(*api.load(folder, lazy="auto"))


def told_apart(folder: Path) -> None:
    fingerprint(open_model(folder))


def quantized(folder: Path) -> None:
    options = ConvertOptions(quantization=Quantization.choose(recipe="mixed_4_8", group_size=32), dtype="float16")
    convert(folder, folder / "packed", options)
    eager(folder / "packed")


def in_floating_point(folder: Path) -> None:
    convert(folder, folder / "packed", ConvertOptions(quantization=Quantization.choose("mxfp4")))
    eager(folder / "packed")


def unpacked_and_packed(folder: Path) -> None:
    convert(folder, folder / "packed", ConvertOptions(quantization=Quantization.choose(group_size=32)))
    convert(folder / "packed", folder / "plain", ConvertOptions(dequantize=True, dtype="float16"))
    convert(folder / "plain", folder / "again", ConvertOptions(quantization=Quantization.choose(bits=8)))
    eager(folder / "again")


def drafted(folder: Path) -> None:
    model, processor = api.load("nano")
    ask(model, processor, drafter=api.load_drafter("nano"))


def reordered(folder: Path) -> None:
    """With axes of size 1, and rows that pad the vocabulary."""
    path = folder / "model.safetensors"
    with mx.stream(mx.cpu):
        tensors = {name: mx.array(np.asarray(value)) for name, value in numbers(path).items()}
    for name in [name for name in tensors if name.endswith("scalar")]:
        tensors[name] = tensors[name].reshape(())
    embedding = next(name for name in tensors if "embed_tokens" in name)
    tensors[embedding] = mx.concatenate([tensors[embedding], tensors[embedding][:3]])
    mx.save_safetensors(str(path), tensors)
    eager(folder)
    convert(folder, folder / "packed", ConvertOptions(quantization=Quantization.choose(group_size=32)))


def gone_on(folder: Path) -> None:
    model, processor = api.load(folder)
    session = Session(model)
    ask(model, processor, session=session)
    session_file.save(session, folder / "session.safetensors")
    assert not is_on_disk([cache.arrays() for cache in session_file.load(model, folder / "session.safetensors").caches])


def numbers(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


WAYS: dict[str, Callable[[Path], None]] = {
    "eager": eager,
    "lazy": lazily,
    "auto": automatically,
    "fingerprint": told_apart,
    "quantized by a recipe": quantized,
    "mxfp4": in_floating_point,
    "unpacked, and packed again": unpacked_and_packed,
    "drafter": drafted,
    "other shapes": reordered,
    "session file": gone_on,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(layer_types=["sliding_attention", "full_attention"], intermediate_size=64)
    return write_checkpoint(tmp_path_factory.mktemp("disk") / "small", config)


@pytest.fixture(scope="module")
def assistant(small: Path) -> Path:
    return write_drafter(small.parent / "assistant", json.loads((small / "config.json").read_text()))


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "folder"))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_read_is_read_alone(way: str, folder: Path, reads: list[str]) -> None:
    WAYS[way](folder)


@pytest.mark.parametrize("way", ["drafter", "other shapes", "session file"])
def test_what_reads_chooses_no_device_for_other_threads(
    way: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`with mx.stream(...)` sets the default device of the whole process."""
    original, chosen = mx.stream, []

    def watched(stream: Any) -> Any:
        chosen.append(stream)
        return original(stream)

    monkeypatch.setattr(mx, "stream", watched)
    WAYS[way](folder)
    assert disk() not in chosen


def test_nobody_waits_for_weights_to_name_their_stream() -> None:
    with ThreadPoolExecutor(1) as other, READING:
        assert other.submit(disk).result(timeout=20) == disk()


def test_adapters_are_read_alone(tiny_folder: Path, tmp_path: Path, reads: list[str]) -> None:
    ask(*api.load(tiny_folder, lazy=True, adapter_path=adapters(tiny_folder, tmp_path / "adapters")))


def test_loading_holds_one_part_of_one_layer_twice(tmp_path: Path) -> None:
    model = open_model(write_checkpoint(tmp_path / "wide", tiny_config(hidden_size=256, intermediate_size=1024)))
    gate_and_up = 2 * 256 * 1024 * 4  # bytes
    media = [module.parameters() for name, module in model.children().items() if name != "language_model"]
    read(media, model.language_model.model.embed_tokens.parameters())  # larger than a layer, they would hide its peak
    limit = mx.set_cache_limit(0)
    mx.reset_peak_memory()
    model.prepare()
    mx.set_cache_limit(limit)
    assert mx.get_peak_memory() - mx.get_active_memory() <= 1.02 * gate_and_up


def test_a_file_that_goes_away_is_an_error_each_time(folder: Path) -> None:
    """MLX itself reports it once, and computes with zeros from then on."""
    model = open_model(folder)
    os.truncate(folder / "model.safetensors", 10_000)
    for _ in range(2):
        with pytest.raises(GemmaError, match=r"the weights can't be read \(.*Load the model again") as error:
            model.prepare()
        assert "\n" not in str(error.value)


@contextmanager
def interrupted_at(line: int) -> Iterator[list[bool]]:
    """Raises KeyboardInterrupt where so many lines of the model's code have run; tells whether it came to that.

    Lines that leave a `with` are left out: there Python handles no signal before the block is closed.
    """
    seen, done = 0, []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if f"gemma4_mlx{os.sep}model{os.sep}" not in frame.f_code.co_filename:
            return None
        is_line = event == "line" and "with " not in getline(frame.f_code.co_filename, frame.f_lineno)
        seen += is_line
        if is_line and seen > line:
            sys.settrace(None)
            done.append(True)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield done
    except KeyboardInterrupt:
        assert done
    finally:
        sys.settrace(before)


def weights(module: nn.Module) -> dict[str, Any]:
    return {name: array.tolist() for name, array in tree_flatten(module.parameters())}


STEP = 17
"""Lines between two interruptions; all are tried in STEP runs."""


@pytest.mark.parametrize("first", [0, 7])
def test_a_model_that_was_interrupted_is_prepared_all_the_same(first: int, folder: Path) -> None:
    expected, line = fingerprint(open_model(folder)), first
    while True:
        model = open_model(folder)
        with interrupted_at(line) as was:
            model.prepare()
        if not was:
            break
        assert fingerprint(model) == expected, f"interrupted at line {line}"
        line += STEP
    assert line > 100
    assert ask(model, api.load(folder)[1])


def test_a_drafter_that_was_interrupted_is_prepared_all_the_same(small: Path, assistant: Path) -> None:
    model, line = open_model(small).prepare(), 0
    expected = weights(open_drafter(assistant).prepare(model))
    while True:
        drafter = open_drafter(assistant)
        with interrupted_at(line) as was:
            drafter.prepare(model)
        if not was:
            break
        assert weights(drafter.prepare(model)) == expected, f"interrupted at line {line}"
        line += STEP
    assert line > 100


def test_a_drafter_goes_over_to_another_target(small: Path, assistant: Path, tmp_path: Path) -> None:
    config = json.loads((small / "config.json").read_text())
    other = open_model(write_checkpoint(tmp_path / "other", config, seed=77)).prepare()
    drafter, first = open_drafter(assistant), open_model(small).prepare()
    norms = [drafter.prepare(target).layers[-1].self_attn._weights.tolist() for target in (first, other, first)]
    assert norms[0] == norms[2] != norms[1]


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """What new threads give that begin at once."""
    barrier = threading.Barrier(count)

    def run() -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(count) as threads:
        return [future.result() for future in [threads.submit(run) for _ in range(count)]]


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("kind", ["eager", "lazy", "drafter", "adapters"])
def test_the_first_replies_of_two_threads(kind: str, tiny_folder: Path, tmp_path: Path, impatient: None) -> None:
    path = adapters(tiny_folder, tmp_path / "adapters") if kind == "adapters" else None
    name = "nano" if kind == "drafter" else tiny_folder
    expected = ask(*api.load(name, adapter_path=path))
    for _ in range(3):
        drafter = api.load_drafter("nano") if kind == "drafter" else None
        model, processor = api.load(name, lazy=kind != "eager", adapter_path=path)
        assert in_threads(2, lambda: ask(model, processor, drafter=drafter)) == [expected] * 2  # noqa: B023


def test_what_one_thread_opened_serves_the_next(small: Path, tmp_path: Path) -> None:
    """Each thread is gone before the next one begins."""
    file = tmp_path / "session.safetensors"

    def once(work: Callable[[], Any]) -> Any:
        return in_threads(1, work)[0]

    model, processor = once(lambda: api.load("nano", lazy=True))
    drafter = once(lambda: api.load_drafter("nano"))
    session = once(lambda: Session(model))
    first = once(lambda: ask(model, processor, drafter=drafter, session=session))
    assert once(lambda: ask(model, processor, drafter=drafter, session=session)) == first
    once(lambda: session_file.save(session, file))
    restored = once(lambda: session_file.load(model, file))
    assert ask(model, processor, drafter=drafter, session=restored) == first
    once(lambda: convert(once(lambda: small), tmp_path / "out", ConvertOptions(quantization=Quantization.choose())))


class Meeting(nn.Module):
    """Waits, while it is traced, until all threads are at this point."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.weight, self._barrier = mx.array([2.0]), threading.Barrier(threads)

    def __call__(self, x: mx.array) -> mx.array:
        self._barrier.wait(timeout=20)
        return x * self.weight


def test_threads_may_compile_at_once() -> None:
    module, traces = Meeting(3), Traces()
    method = compile_method(module, Meeting.__call__, traces)
    assert in_threads(3, lambda: method(module, mx.array([3.0])).item()) == [6.0] * 3
