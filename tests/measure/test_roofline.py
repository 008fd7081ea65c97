"""Bounds, against divisions made by hand."""

import pytest

from benchmarks import fit_table
from gemma4_mlx.measure.chips import CHIPS, Limits, known_chip
from gemma4_mlx.measure.roofline import WARNING, draft_gain, expected_tokens, holds, job_bound, tables
from gemma4_mlx.measure.shapes import published_config, stored_bytes
from gemma4_mlx.measure.speed import Job


def test_every_generation_is_there_with_its_pro_and_max() -> None:
    names = [f"Apple M{number}{kind}" for number in range(1, 6) for kind in ("", " Pro", " Max")]
    assert [chip.name for chip in CHIPS] == names
    assert known_chip("Apple M4 Pro") == CHIPS[10]
    assert CHIPS[10].bandwidth == 273e9
    assert [chip.name for chip in CHIPS if chip.named] == names[:3]
    assert known_chip("AMD EPYC") is None


def test_decoding_is_bound_by_bytes() -> None:
    config, limits = published_config(), Limits(bandwidth=100e9, speed=1e15, source="")
    caches = 8 * 1536 * 2 * 1064 + 40 * 1024 * 2 * 8 * 256 * 2
    assert job_bound(config, Job("tg", 128, 1000), 6.7e9, limits, None, 512) == pytest.approx(100e9 / (6.7e9 + caches))


def test_reading_is_bound_by_operations() -> None:
    config, limits = published_config(), Limits(bandwidth=1e15, speed=1e12, source="")
    rate = job_bound(config, Job("pp", 512, 0), 6.7e9, limits, None, 512)
    assert rate == pytest.approx(1e12 / (2 * 10.9e9), rel=0.03)  # attention and head out, last layer in


def test_tokens_of_a_pass_with_drafts() -> None:
    assert expected_tokens(2, 0.5) == 1.75
    assert expected_tokens(4, 1.0) == 5
    assert expected_tokens(0, 0.9) == 1


def test_drafting_gains_less_than_its_tokens_a_pass() -> None:
    gain = draft_gain(published_config(), CHIPS[0], 2, 0.8, 1024, 4)
    assert 1.0 < gain < expected_tokens(2, 0.8)


def test_the_tables_say_what_they_are() -> None:
    text = tables(published_config(), (1024, 131_072))
    assert WARNING in text
    assert "not a measurement" in text
    assert "| Apple M1, 68.25 GB/s, at most 16 GB | 9.7 | 9.9 | 9.9 | 6.7 | 8.5 | 9.1 |" in text
    assert "| Apple M1, 68.25 GB/s, at most 16 GB | - | - | - | - | - | - |" in text
    assert text.count("| Apple M5,") == 4  # three tables of decoding, one of prefill


@pytest.mark.parametrize(
    ("chip", "bits", "context", "kv_bits", "fits"),
    [
        (0, 4, 262_144, None, True),  # 10.19 of 10.36 GB
        (0, 8, 1024, 4, False),
        (3, 8, 131_072, 8, True),  # 24 GB
        (9, 16, 1024, 4, False),  # 24 GB of weights on a Mac of 32
        (10, 16, 262_144, None, True),
    ],
)
def test_what_chips_hold(chip: int, bits: int, context: int, kv_bits: int | None, fits: bool) -> None:
    config = published_config()
    assert holds(config, CHIPS[chip], stored_bytes(config, bits), context, kv_bits) is fits


def test_what_no_chip_holds_has_no_speed() -> None:
    huge = published_config("F" * 48, context=2_000_000_000)
    text = tables(huge, (1_000_000_000,))
    assert "| Apple M5 Max, 614 GB/s, at most 128 GB | - | - | - |" in text
    assert "| Apple M5 Max, 614 GB/s, at most 128 GB, ~68.7 Tflop/s | - |" in text
    assert "Drafting: no chip holds 1,000,000,000 tokens in plain caches" in text


def test_weights_are_those_of_the_fit_table() -> None:
    sizes = {4: 6_803_751_008, 6: 9_780_396_128, 8: 12_757_041_248}
    assert {bits: stored_bytes(published_config(), bits) for bits in sizes} == sizes
    assert {bits: fit_table.weight_bytes(bits) for bits in sizes} == sizes
