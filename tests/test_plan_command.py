"""The fit check from outside: the API's plan, the allocator's limits, and media that are longer than a chunk."""

import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import gemma4_mlx
from benchmarks.shapes import full_size_config
from gemma4_mlx.commands.generate import main
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.memory import RUN_AHEAD, keep_to, wirable, wired
from gemma4_mlx.engine.plan import Need, module_bytes, need
from gemma4_mlx.errors import UsageError
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt, Span

LARGE = ModelConfig.from_dict(full_size_config())
WANTED = Need(config=LARGE, weights=6_800_000_000, itemsize=2, chunk=512, kv_group_size=64, limit=10_900_000_000)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the allocator is told, without telling it, while nothing is loaded."""
    told: dict[str, int] = {}
    monkeypatch.setattr(mx, "get_active_memory", lambda: 0)
    for name in ("set_cache_limit", "set_memory_limit", "set_wired_limit"):
        monkeypatch.setattr(mx, name, lambda value, name=name: told.update({name: value}))
    return told


def test_the_api_plans_without_reading_weights(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "eval", lambda *_: pytest.fail("weights were read"))
    plan = gemma4_mlx.plan(tiny_folder, context=1000, memory_limit="16GB")
    # One full layer of 32 + 2 * 4 numbers, five sliding ones of 79 rows of two heads of 16, all in float32.
    assert plan.full_caches == 1000 * 40 * 4
    assert plan.sliding_caches == 5 * 79 * 2 * 2 * 16 * 4
    assert (plan.limit, plan.kv_bits, plan.fits) == (10_355_000_000, None, True)
    assert gemma4_mlx.plan(tiny_folder, memory_limit="16GB").context == 8192


def test_the_api_plans_with_fewer_bits_and_says_what_does_not_fit(tiny_folder: Path) -> None:
    plan = gemma4_mlx.plan(tiny_folder, context=1000, kv_bits=8, kv_group_size=32, memory_limit="1MB")
    # Widths of 8, 24 and 8 fill a group of 32 each: 32 bytes, and a scale and bias in float32.
    assert plan.full_caches == 1000 * 3 * (32 + 8)
    assert not plan.fits


@pytest.mark.parametrize(
    "options", [{"context": 0}, {"context": 8193}, {"kv_bits": 3}, {"memory_limit": "lots"}, {"kv_group_size": 7}]
)
def test_the_api_refuses_what_is_out_of_range(tiny_folder: Path, options: dict) -> None:
    with pytest.raises(UsageError):
        gemma4_mlx.plan(tiny_folder, **options)


def test_nothing_grows_past_the_plan(limits: dict[str, int]) -> None:
    plan = WANTED.plan(262_144, 8)
    keep_to(plan)
    assert limits["set_memory_limit"] == plan.total
    assert limits["set_cache_limit"] == plan.transient


def test_small_models_have_room_to_run_ahead(limits: dict[str, int]) -> None:
    plan = replace(WANTED.plan(1000, None), weights=10_000_000, transient=1_000_000)
    keep_to(plan)
    assert limits["set_memory_limit"] == plan.total - 1_000_000 + RUN_AHEAD
    keep_to(replace(plan, limit=plan.total + 5))
    assert limits["set_memory_limit"] == plan.total + 5


def test_another_model_in_the_process_is_not_held_against_this_one(
    limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = WANTED.plan(262_144, 8)
    monkeypatch.setattr(mx, "get_active_memory", lambda: plan.weights + 2_000_000_000)
    keep_to(plan)
    assert limits["set_memory_limit"] == plan.total + 2_000_000_000
    keep_to(plan, held=1_500_000_000)
    assert limits["set_memory_limit"] == plan.total + 500_000_000


def test_a_planned_machine_larger_than_this_one_pins_no_more_than_this_one_has(
    limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(
        mx, "device_info", lambda: {"max_recommended_working_set_size": 5_000_000_000, "memory_size": 2**36}
    )
    with wired(replace(WANTED.plan(262_144, 8), limit=40_000_000_000)):
        assert limits["set_wired_limit"] == 5_000_000_000


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every wired limit that a Mac of 16 GB is told, which has 123 to begin with."""
    told = [123]

    def set_wired_limit(size: int) -> int:
        told.append(size)
        return told[-2]

    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "set_wired_limit", set_wired_limit)
    info = {"max_recommended_working_set_size": 10_900_000_000, "memory_size": 16 * 2**30}
    monkeypatch.setattr(mx, "device_info", lambda: info)
    return told


NANO_BYTES = range(11_250_572, 60_000_000)
LONG: dict[str, Any] = {"temperature": 0, "max_tokens": 20, "eos_ids": ()}


@pytest.mark.parametrize(("kv_bits", "size"), [(None, 8 * 2**30), (8, 8 * 2**30), (4, 8_080_000_000)])
def test_8_gib_of_a_16_gb_mac_are_never_wired(wiring: list[int], kv_bits: int | None, size: int) -> None:
    with wired(WANTED.plan(262_144, kv_bits)):
        assert wiring[-1] == pytest.approx(size, rel=0.01)
        assert wiring[-1] <= 8 * 2**30
    assert wiring[-1] == 123


@pytest.mark.parametrize(
    ("memory", "recommended", "most"),
    [(8 * 2**30, 5_700_000_000, 0), (32 * 2**30, 22_900_000_000, 22_333_829_940), (64 * 2**30, 40 * 2**30, 40 * 2**30)],
)
def test_what_may_be_wired(monkeypatch: pytest.MonkeyPatch, memory: int, recommended: int, most: int) -> None:
    info = {"max_recommended_working_set_size": recommended, "memory_size": memory}
    monkeypatch.setattr(mx, "device_info", lambda: info)
    assert wirable() == most


def test_memory_is_wired_while_a_reply_runs_and_not_before_or_after(wiring: list[int]) -> None:
    model, processor = gemma4_mlx.load("nano")
    replies = gemma4_mlx.stream_generate(model, processor, "Hello", **LONG)
    assert wiring == [123]
    next(replies)
    assert wiring[-1] in NANO_BYTES
    list(replies)
    assert wiring[2:] == [123]


def closed(reply: Any) -> None:
    reply.close()


def interrupted(reply: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        reply.throw(KeyboardInterrupt())


@pytest.mark.parametrize("end", [closed, interrupted])
def test_a_reply_that_is_broken_off_wires_nothing_any_more(wiring: list[int], end: Any) -> None:
    model, processor = gemma4_mlx.load("nano")
    replies = gemma4_mlx.stream_generate(model, processor, "Hello", **LONG)
    next(replies)
    end(replies)
    assert len(wiring) == 3
    assert wiring[-1] == 123


@pytest.mark.parametrize("failure", [RuntimeError("no such thing"), KeyboardInterrupt()])
def test_a_reply_that_fails_wires_nothing_any_more(wiring: list[int], failure: BaseException) -> None:
    def fail(done: int, total: int) -> None:
        raise failure

    model, processor = gemma4_mlx.load("nano")
    with pytest.raises(type(failure)):
        gemma4_mlx.generate(model, processor, "Hello. " * 60, progress=fail, prefill_step_size=50, **LONG)
    assert wiring[-1] == 123


def test_of_two_replies_the_last_to_end_lets_go(wiring: list[int]) -> None:
    model, processor = gemma4_mlx.load("nano")
    first, second = (gemma4_mlx.stream_generate(model, processor, "Hello", **LONG) for _ in range(2))
    next(first)
    size = wiring[-1]
    next(second)
    first.close()
    assert wiring == [123, size]
    list(second)
    assert wiring == [123, size, 123]


def test_nothing_is_wired_if_that_is_switched_off(wiring: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    model, processor = gemma4_mlx.load("nano")
    gemma4_mlx.generate(model, processor, "Hello", wire=False, **LONG)
    assert main(["--model", "nano", "-p", "Hello", "--max-tokens", "3", "--no-wire"]) == 0
    assert wiring == [123]
    assert main(["--model", "nano", "-p", "Hello", "--max-tokens", "3"]) == 0
    assert wiring[1] in NANO_BYTES
    with pytest.raises(UsageError, match="wire must be True or False, not 1"):
        gemma4_mlx.generate(model, processor, "Hello", wire=1)


def test_an_error_of_the_gpu_does_not_keep_memory_wired(wiring: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: mx.Stream) -> None:
        raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

    monkeypatch.setattr(mx, "synchronize", fail)
    with pytest.raises(ValueError, match="first"), wired(WANTED.plan(1000, None)):
        raise ValueError("first")
    assert wiring[-1] == 123


def test_an_interruption_while_the_gpu_is_waited_for_wires_nothing(
    wiring: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: mx.Stream) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mx, "synchronize", interrupt)
    with pytest.raises(KeyboardInterrupt), wired(WANTED.plan(1000, None)):
        pass
    assert wiring[-1] == 123


def test_a_reply_that_another_thread_ends_is_waited_for(wiring: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[mx.Stream] = []
    monkeypatch.setattr(mx, "synchronize", waited.append)
    plan = wired(WANTED.plan(1000, None))

    def begin() -> mx.Stream:
        plan.__enter__()
        return mx.default_stream(mx.default_device())

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        stream = first.submit(begin).result()
        second.submit(plan.__exit__, None, None, None).result()
    assert waited == [stream]
    assert wiring[-1] == 123


def collecting_at(line: int) -> Callable[..., Any]:
    """A trace function that collects garbage where so many lines of the module that sets limits have run."""
    lines = iter(range(1000))

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.endswith("memory.py"):
            return None
        if event == "line" and next(lines) == line:
            gc.collect(0)
        return trace

    return trace


def abandon() -> None:
    """Begins a reply that only a garbage collection will end."""

    def reply(_: Any) -> Iterator[None]:
        with wired(WANTED.plan(1000, None)):
            yield

    circle: list[Any] = []
    circle.append(reply(circle))
    next(circle[0])


def test_a_garbage_collection_may_end_an_abandoned_reply_anywhere(wiring: list[int]) -> None:
    """While another reply holds the lock to begin, and to end: it would wait for its own thread."""

    def work() -> None:
        gc.collect()
        for line in range(40):
            abandon()
            sys.settrace(collecting_at(line))
            with wired(WANTED.plan(1000, None)):
                pass
            sys.settrace(None)
            gc.collect(0)
            told.append(wiring[-1])

    told: list[int] = []
    gc.disable()
    try:
        thread = Thread(target=work, daemon=True)
        thread.start()
        thread.join(20)
        assert told == [123] * 40
    finally:
        gc.enable()


def memory_limit() -> int:
    limit = mx.set_memory_limit(1 << 40)
    mx.set_memory_limit(limit)
    return limit


def test_a_model_that_is_read_late_is_not_held_against_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma4_mlx.engine.memory.RUN_AHEAD", 0)
    others, before = gemma4_mlx.load("nano")[0], memory_limit()
    model, processor = gemma4_mlx.load("nano", lazy=True)
    limits = []
    for _ in range(2):
        replies = gemma4_mlx.stream_generate(model, processor, "Hello", **LONG)
        next(replies)
        limits.append(memory_limit())
        replies.close()
    assert limits[0] == pytest.approx(limits[1], abs=1_000_000)
    assert limits[0] > 2 * module_bytes(others)
    assert memory_limit() == before


def test_a_small_model_leaves_no_small_limit_to_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = memory_limit(), []
    model, processor = gemma4_mlx.load("nano")
    gemma4_mlx.generate(model, processor, "Hello", **LONG)
    assert memory_limit() == before
    prepare = Gemma4Unified.prepare
    monkeypatch.setattr(Gemma4Unified, "prepare", lambda self: seen.append(memory_limit()) or prepare(self))
    whole = gemma4_mlx.plan("nano", kv_bits="none")
    gemma4_mlx.load("nano")
    assert seen[0] >= whole.total
    assert memory_limit() == before


def test_a_sound_longer_than_a_chunk_is_planned_as_a_whole(tiny_folder: Path) -> None:
    config = ModelConfig.from_folder(tiny_folder)
    prompt = Prompt([0] * 900, [Span("audio", 100, np.zeros((750, 640), np.float32))])
    asked = {"chunk": 512, "kv_group_size": 64, "limit": 1}
    assert need(Gemma4Unified(config), prompt, **asked).chunk == 750
    assert need(Gemma4Unified(config), Prompt([0] * 900), **asked).chunk == 512


def test_a_damaged_file_is_told_before_a_plan(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in tiny_folder.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:-5000] if path.suffix == ".safetensors" else content)
    assert main(["--model", str(tmp_path), "-p", "x", "--plan"]) == 1
    assert "an unfinished download: model.safetensors is cut off at " in capsys.readouterr().err
