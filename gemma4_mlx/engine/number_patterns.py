"""Bounds of numbers -> regular expressions of their decimal spellings, all of bounded length."""

import math

DIGITS = 20
"""Digits before the point at most."""
LARGEST = 10**DIGITS - 1
DECIMALS = 12
"""Digits behind the point at most."""

FRACTION = rf"(\.[0-9]{{1,{DECIMALS}}})?"
ANY_NUMBER = rf"-?(0|[1-9][0-9]{{0,{DIGITS - 1}}}){FRACTION}([eE][+-]?[0-9]{{1,2}})?"


def integer_pattern(low: int | None, high: int | None) -> str | None:
    """Whole numbers from `low` to `high`; None if there are none. A bound of None, or beyond 20 digits, is no bound."""
    least = -LARGEST if low is None else max(-LARGEST, low)
    most = LARGEST if high is None else min(LARGEST, high)
    return _joined([_signed(_whole(max(1, -most), -least)), _whole(max(0, least), most)])


def decimal_pattern(low: float | None, high: float | None, *, above: bool, below: bool) -> str | None:
    """Numbers from `low` to `high`, without these if `above` and `below`; None if there are none.

    Bounds that are not whole are widened to the next whole number, as digits can't count beyond the point.
    """
    if low is None and high is None:
        return ANY_NUMBER
    above = low is None or (above and low == math.floor(low))
    below = high is None or (below and high == math.ceil(high))
    least = -LARGEST - 1 if low is None else max(-LARGEST - 1, math.floor(low))
    most = LARGEST + 1 if high is None else min(LARGEST + 1, math.ceil(high))
    negative = _fractions(max(0, -most), -least, above=below and most <= 0, below=above)
    positive = _fractions(max(0, least), most, above=above and least >= 0, below=below)
    return _joined([_signed(negative) if least < 0 else None, positive])


def _fractions(low: int, high: int, *, above: bool, below: bool) -> str | None:
    """Numbers without a sign from `low` to `high`, both not negative."""
    if low > high or (low == high and (above or below)):
        return None
    inner = _whole(low + above, high - 1)
    return _joined(
        [
            rf"{low}\.[0-9]{{0,{DECIMALS - 1}}}[1-9]" if above else None,
            inner and inner + FRACTION,
            None if below else rf"{high}(\.0)?",
        ]
    )


def _whole(low: int, high: int) -> str | None:
    """Whole numbers without a sign from `low` to `high`, both not negative."""
    if low > high:
        return None
    lengths = range(len(str(low)), len(str(high)) + 1)
    return _joined([_same_length(str(max(low, 10 ** (n - 1) * (n > 1))), str(min(high, 10**n - 1))) for n in lengths])


def _same_length(low: str, high: str) -> str:
    """Digit strings from `low` to `high`, which are equally long."""
    if not low or low == high:
        return low
    rest = len(low) - 1
    if low == low[0] + "0" * rest and high == high[0] + "9" * rest:
        return f"[{low[0]}-{high[0]}]" + f"[0-9]{{{rest}}}" * (rest > 0)
    if low[0] == high[0]:
        return low[0] + _same_length(low[1:], high[1:])
    parts = [low[0] + _same_length(low[1:], "9" * rest)]
    if int(high[0]) - int(low[0]) > 1:
        parts.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}][0-9]{{{rest}}}")
    return f"({'|'.join([*parts, high[0] + _same_length('0' * rest, high[1:])])})"


def _signed(pattern: str | None) -> str | None:
    return pattern and f"-{pattern}"


def _joined(patterns: list[str | None]) -> str | None:
    kept = [pattern for pattern in patterns if pattern]
    return f"({'|'.join(kept)})" if kept else None
