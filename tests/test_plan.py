"""Memory is known before anything is loaded: literal sizes of the 12B, what is refused and why, and real peaks."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import pytest

from benchmarks import fit_table
from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.shapes import full_size_config, tiny_config
from gemma4_mlx.checkpoint.load import open_model
from gemma4_mlx.commands.generate import main
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.memory import budget, parse_size
from gemma4_mlx.engine.plan import Need, cache_bytes, check, module_bytes
from gemma4_mlx.errors import DoesNotFitError, UsageError

ROOT = Path(__file__).resolve().parent.parent
LARGE = ModelConfig.from_dict(full_size_config())
FOUR_BIT = 6_800_000_000


def need(weights: int = FOUR_BIT, limit: int = 10_900_000_000) -> Need:
    return Need(config=LARGE, weights=weights, itemsize=2, chunk=512, kv_group_size=64, limit=limit)


@pytest.mark.parametrize(
    ("bits", "per_token", "row"), [(None, 10_240, 256 * 2), (8, 5_440, 256 + 4 * 4), (4, 2_880, 256 + 4 * 4)]
)
def test_cache_of_the_12b(bits: int | None, per_token: int, row: int) -> None:
    full, sliding = cache_bytes(LARGE, 262_144, bits, 64, 2)
    assert full == 262_144 * per_token
    assert sliding == 40 * (1023 + 16 + 48) * 2 * 8 * row


def test_the_whole_context_fits_a_16_gb_mac_in_less_than_9_3_gb() -> None:
    plan = need().plan(262_144, 8)
    assert plan.total < 9.3e9
    assert plan.transient < 600e6
    assert plan.fits


def test_what_reading_a_chunk_takes_hardly_depends_on_depth() -> None:
    shallow, deep = need().plan(32_768, None), need().plan(262_144, None)
    assert deep.transient <= 1.1 * shallow.transient


def test_caches_stay_plain_where_that_fits_and_take_8_bits_where_not() -> None:
    assert need().choose(8192, "auto").kv_bits is None
    assert need(limit=9_200_000_000).choose(262_144, "auto").kv_bits == 8
    assert need(limit=9_200_000_000).choose(262_144, "none").kv_bits is None


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    tight = need(limit=8_500_000_000)
    with pytest.raises(DoesNotFitError, match=r"262144 tokens need 8\.\d\d GB with 8-bit caches, and") as error:
        check(tight, tight.choose(262_144, "auto"))
    assert "kv_bits=4 fits" in str(error.value)
    assert "--" not in str(error.value)
    assert tight.plan(tight.longest(8), 8).fits
    assert not tight.plan(tight.longest(8) + 2000, 8).fits


def test_too_large_weights_ask_for_fewer_bits() -> None:
    heavy = need(weights=13_000_000_000)
    with pytest.raises(DoesNotFitError, match="no context fits: use a checkpoint of fewer bits"):
        check(heavy, heavy.choose(1000, "auto"))


def test_a_context_of_less_than_a_thousand_tokens_is_one() -> None:
    least = need(limit=10**10)
    tight = need(limit=least.plan(500, None).total)
    with pytest.raises(DoesNotFitError, match=r"; fewer than 1000 tokens of prompt and reply fit with plain caches$"):
        check(tight, tight.plan(5000, None))


def test_memory_is_sold_in_powers_of_two_and_not_all_of_it_may_be_used() -> None:
    assert parse_size("16GB") == 17_179_869_184
    assert parse_size("10.5 gb") == 11_274_289_152
    allowed = budget("16GB")
    assert (allowed.limit, allowed.reserve) == (10_355_000_000, 545_000_000)
    for wrong in ("", "much", "-3GB", "0GB", "16TB"):
        with pytest.raises(UsageError, match="write it like 16GB"):
            parse_size(wrong)


def test_the_reserve_lies_below_what_metal_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 10_900_000_000})
    assert (budget().limit, budget().reserve) == (10_355_000_000, 545_000_000)


def test_without_a_gpu_a_tenth_of_the_memory_stays_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", dict)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}.__getitem__)
    assert (budget().limit, budget().reserve) == (3_686_400_000, 409_600_000)


@pytest.mark.parametrize(("kv_bits", "total"), [(None, 10.185e9), (8, 8.76e9), (4, 8.09e9)])
def test_the_whole_context_of_the_4_bit_12b_fits_a_16_gb_mac_below_its_reserve(
    kv_bits: int | None, total: float
) -> None:
    plan = need(fit_table.weight_bytes(4), budget("16GB").limit).plan(262_144, kv_bits)
    assert plan.total == pytest.approx(total, abs=5e6)
    assert plan.fits


def test_plan_prints_a_table_and_loads_nothing(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(mx, "eval", refuse)
    assert main(["--model", str(tiny_folder), "-p", "hello", "--plan", "--memory-limit", "16GB"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].rstrip() for line in out] == [
        "weights", out[1].split("  ")[0].rstrip(), "reading a chunk", "total", "limit", "kept free beside it", "fits",
    ]  # fmt: skip
    assert out[1].startswith("caches, ")
    assert out[-3].endswith("10.355 GB")
    assert out[-2].endswith("0.545 GB")


def test_what_does_not_fit_ends_with_code_3_before_loading(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemma4_mlx.model.unified.Gemma4Unified.prepare", lambda _: pytest.fail("weights were read"))
    assert main(["--model", str(tiny_folder), "-p", "hello", "--memory-limit", "1MB"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "MB may be used" in err
    assert err.count("\n") == 1
    assert "raise --memory-limit if" in err
    assert "memory_limit" not in err
    assert main(["--model", str(tiny_folder), "-p", "hello", "--memory-limit", "1MB", "--plan"]) == 3


MEASURE = """
import json, sys
from collections.abc import Sequence
from pathlib import Path
import mlx.core as mx
from gemma4_mlx.checkpoint.load import open_model
from gemma4_mlx.engine.generation import memory_need
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.prompt.prompt import Prompt
folder, context, bits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
model, prompt = open_model(Path(folder)), Prompt([300] * context)
plan = memory_need(model, prompt, GenerationOptions(kv_group_size=32)).plan(context + 8, bits)
mx.set_cache_limit(0)
model.prepare()
mx.reset_peak_memory()
caches = model.make_caches(context + 8, bits, 32)
mx.eval(prefill(model, prompt, caches, 512))
print(json.dumps([plan.total, mx.get_peak_memory()]))
"""


SCORES = 4 * 512 * 1500 * 4
"""Four heads, a chunk, and the longest prompt's keys in float32: a CPU adds plain scores up in place, a GPU can't."""


@pytest.mark.parametrize(("context", "bits", "in_place"), [(600, 0, 0), (1500, 0, SCORES), (600, 8, 0)])
def test_predictions_are_within_five_percent_of_real_peaks(wide: Path, context: int, bits: int, in_place: int) -> None:
    command = [sys.executable, "-c", MEASURE, str(wide), str(context), str(bits)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    predicted, measured = json.loads(done.stdout)
    assert predicted == pytest.approx(measured + in_place, rel=0.05)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 100 MB: many layers of little width."""
    config = tiny_config(num_hidden_layers=12, hidden_size=256, intermediate_size=512, vocab_size=48_000)
    return write_checkpoint(tmp_path_factory.mktemp("plan") / "wide", config)


def test_weights_are_counted_as_they_are_stored(wide: Path) -> None:
    stored = sum(path.stat().st_size for path in wide.glob("*.safetensors"))
    assert module_bytes(open_model(wide)) == pytest.approx(stored, rel=0.001)


@pytest.mark.parametrize(("path", "bits"), fit_table.PAGES)
def test_both_readmes_have_the_table_that_the_fit_check_computes(path: Path, bits: Sequence[int]) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.split(fit_table.BEGIN)[1].split(fit_table.END)[0].strip() == fit_table.table(bits)


@pytest.mark.parametrize(("bits", "low", "high"), [(4, 6.74e9, 6.85e9), (8, 12.6e9, 12.8e9)])
def test_weights_of_the_12b_are_those_of_published_conversions(bits: int, low: float, high: float) -> None:
    assert low < fit_table.weight_bytes(bits) < high
