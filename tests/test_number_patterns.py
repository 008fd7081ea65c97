"""Patterns of numbers against the numbers themselves."""

import re
from itertools import product

import pytest

from gemma4_mlx.engine.number_patterns import decimal_pattern, integer_pattern

BOUNDS = (None, -1250, -100, -9, -1, 0, 1, 7, 10, 99, 1000, 30427)


def matches(pattern: str | None, text: str) -> bool:
    return pattern is not None and re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize(("low", "high"), list(product(BOUNDS, BOUNDS)))
def test_whole_numbers_are_those_between_the_bounds(low: int | None, high: int | None) -> None:
    pattern = integer_pattern(low, high)
    for value in {bound + step for bound in BOUNDS if bound is not None for step in (-1, 0, 1)}:
        inside = (low is None or value >= low) and (high is None or value <= high)
        assert matches(pattern, str(value)) is inside
    assert not matches(pattern, "00")
    assert not matches(pattern, "9" * 21)


@pytest.mark.parametrize(("above", "below"), list(product((False, True), repeat=2)))
@pytest.mark.parametrize(("low", "high"), list(product(BOUNDS, BOUNDS)))
def test_decimals_are_those_between_the_bounds(low: int | None, high: int | None, above: bool, below: bool) -> None:
    pattern = decimal_pattern(low, high, above=above, below=below)
    for value in {bound + step for bound in BOUNDS if bound is not None for step in (-0.5, 0.25, 1)}:
        more = low is None or (value > low if above else value >= low)
        less = high is None or (value < high if below else value <= high)
        text = f"{value:g}" if value != 0 else "0"
        assert matches(pattern, text) is (more and less), (pattern, text)


def test_bounds_that_are_not_whole_are_widened() -> None:
    assert matches(decimal_pattern(0.5, 1.5, above=False, below=False), "0.6")
    assert not matches(decimal_pattern(0.5, 1.5, above=True, below=True), "2.1")
