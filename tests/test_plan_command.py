"""The fit check from outside: the API's plan, the allocator's limits, and media that are longer than a chunk."""

from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import gemma4_mlx
from benchmarks.shapes import full_size_config
from gemma4_mlx.commands.generate import main
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.memory import RUN_AHEAD, keep_to
from gemma4_mlx.engine.plan import Need, need
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
    assert (plan.limit, plan.kv_bits, plan.fits) == (10_900_000_000, None, True)
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
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 5_000_000_000})
    keep_to(replace(WANTED.plan(262_144, 8), limit=40_000_000_000))
    assert limits["set_wired_limit"] == 5_000_000_000


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
    assert "not a whole safetensors file" in capsys.readouterr().err
