"""What one rendering of a chat template may use: seconds, characters, and memory.

A file of its own, as it knows values and sizes and nothing of Jinja's syntax; `environment` puts its checks in place.
"""

import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import TemplateError

SECONDS, SECONDS_A_PAIR = 2.0, 2e-6
"""Time of the processor that a rendering may take, and more for each pair of messages: the published template looks
from each message at all before it, and takes 1.5 seconds for 2,000."""

LARGEST_NUMBER = 10**6
"""Of a width, a count or an indentation."""

MOST_BITS = 4096
"""Bits of a whole number."""

MEMORY = 150e6
"""Bytes by which the process may grow; looked at only once MADE_FREELY are made, as others may use memory as well."""

MADE_FREELY = 2**20
"""Characters and elements that are made before the memory is looked at."""

ELEMENT = 16
"""Characters that an element of a list counts as much as."""

LARGE, TICKS = 2**14, 64
"""Size of what is worth a look at the clock, and how many small things are."""

MOST_UNSEEN = 10_000
"""Rounds of a loop that may go by without a look."""

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
WIDE = re.compile(r"\d{5}|%[^a-z%]*\*|:[^{}]*\{")
"""In a format: a width of five digits, or one that is given as a value."""


class ExhaustedError(TemplateError):
    """A template asks for more than a rendering may use."""


class Meter:
    """What one rendering has used."""

    def __init__(self, longest: int = 2**23, seconds: float = SECONDS) -> None:
        self.longest, self._seconds = longest, seconds
        self._ticks = self._next = self._made = 0
        self._end = time.thread_time() + seconds
        self._peak: int | None = None

    def tick(self, count: int = 1) -> None:
        """Count something small, such as one round of a loop."""
        self._ticks += count
        if self._ticks > self._next:
            self._next = self._ticks + TICKS
            self.check()

    def ticking(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values, each of them counted."""
        for value in values:
            self.tick()
            yield value

    def check(self) -> None:
        """Raise ExhaustedError if time or memory is used up."""
        if time.thread_time() > self._end:
            raise ExhaustedError(f"the template takes more than {self._seconds:.2g} seconds")
        if self._made + self._ticks < MADE_FREELY:
            return
        self._peak = peak_memory() if self._peak is None else self._peak
        if peak_memory() > self._peak + MEMORY:
            raise ExhaustedError(f"the template takes more than {MEMORY / 1e6:.0f} MB of memory")

    def check_size(self, size: int) -> None:
        """Raise ExhaustedError for more characters or elements than one text or list may have."""
        if size > self.longest:
            raise ExhaustedError(f"the template makes more than the {self.longest} characters that the model can read")
        if size >= LARGE:
            self._made += size
            self.check()

    def made(self, value: Any) -> Any:
        """The value, if it is not too large."""
        if isinstance(value, (str, bytes, list, tuple, dict, set)):
            self.check_size(len(value))
        elif isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise ExhaustedError(f"the template makes a number of more than {MOST_BITS} bits")
        return value

    def weigh(self, value: Any, most: int | None = None, indent: int = 0) -> int:
        """Characters and elements in a value, those that it has several times counted as often.

        `indent` is what each element costs for each level above it. Raise ExhaustedError for more than `most`.
        """
        weight, most = 0, min(self.longest, most or self.longest)
        waiting = [(iter((value,)), 0)]
        while waiting:
            items, depth = waiting[-1]
            for item in items:
                weight += ELEMENT + depth * indent + (len(item) if isinstance(item, (str, bytes)) else 0)
                if weight > most:
                    raise ExhaustedError(f"the template uses more than {most} characters or elements at once")
                if isinstance(item, (list, tuple, set, dict)):
                    waiting.append((_elements(item), depth + 1))
                    break
            else:
                waiting.pop()
        if weight >= LARGE:
            self._made += weight
            self.check()
        return weight

    def listed(self, values: Iterable[Any]) -> list[Any]:
        """The values of an iterator in a list."""
        return list(self.ticking(values))

    def check_numbers(self, values: Iterable[Any]) -> None:
        """Raise ExhaustedError for a number that is no sensible width, count or indentation."""
        for value in values:
            if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
                raise ExhaustedError(f"the template asks for a size of {value}; at most {LARGEST_NUMBER} is possible")

    def check_format(self, form: str, values: Any) -> None:
        """Raise ExhaustedError for a format that makes too much of its values."""
        if WIDE.search(form):
            raise ExhaustedError("the template has a format with a width of five digits, or one that is a value")
        self.check_size(len(form) + (form.count("%") + form.count("{")) * (self.weigh(values) + 10**4))


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return (element for pair in value.items() for element in pair)
    return iter(value)


def peak_memory() -> int:
    """Bytes that the process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT


_METER: ContextVar[Meter | None] = ContextVar("_METER", default=None)


def meter() -> Meter:
    """That of the rendering that is under way; outside of one a new one."""
    return _METER.get() or Meter()


@contextmanager
def metered(longest: int = 2**23, messages: int = 0) -> Iterator[None]:
    """Count all that is rendered or compiled inside; a text may have `longest` characters."""
    token = _METER.set(Meter(longest, SECONDS + messages**2 * SECONDS_A_PAIR))
    try:
        yield
    finally:
        _METER.reset(token)


def concatenated(pieces: Iterable[str]) -> str:
    """The pieces of a text as they come, joined."""
    counted, kept, size = meter(), [], 0
    for piece in pieces:
        size += len(piece)
        kept.append(piece)
        if size > counted.longest:
            break
    counted.check_size(size)
    return "".join(kept)
