"""Bounds, against divisions made by hand."""

import pytest

from gemma4_mlx.measure.chips import CHIPS, Limits, known_chip
from gemma4_mlx.measure.roofline import WARNING, draft_gain, expected_tokens, job_bound, tables
from gemma4_mlx.measure.shapes import published_config
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
    caches = 8 * 1024 * 2 * 1064 + 40 * 1024 * 2 * 8 * 256 * 2
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
    assert "| Apple M1, 68.25 GB/s, at most 16 GB | 9.7 | 9.9 | 9.9 | 7.4 | 8.5 | 9.1 |" in text
    assert text.count("| Apple M5,") == 4  # three tables of decoding, one of prefill
