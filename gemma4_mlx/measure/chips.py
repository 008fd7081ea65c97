"""Apple's chips in published figures, and the same two figures of the machine at hand, measured.

Bandwidth and memory are Apple's. GPU operations a second are 32-bit ones: Apple's where it named a figure, else a
third party's product of cores and clock, of which other tables differ by a tenth. For M5, whose matrix units such a
product does not count, it is four times the figure of M4: Apple says "over four times" its peak for AI. Each figure is
that of the largest variant.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Chip:
    """Bandwidth in bytes a second, most memory in bytes, GPU speed in operations a second, and whether that is Apple's
    own figure."""

    name: str
    bandwidth: float
    memory: float
    speed: float
    named: bool


def _chip(name: str, gigabytes: float, memory: int, teraflops: float, *, named: bool = False) -> Chip:
    return Chip(f"Apple {name}", gigabytes * 1e9, memory * 1e9, teraflops * 1e12, named)


_M4, _M4_PRO, _M4_MAX = 3.76, 6.02 * 20 / 16, 13.74 * 40 / 32
"""Teraflops by hmc-tech.com, brought from the variants in its tables to the largest ones by the number of cores."""


# Apple's announcements and specifications, as these pages report them, and the pages on operations.
CHIPS = (
    # https://www.macrumors.com/2020/11/10/apple-announces-m1-chip-for-the-mac/ (2.6 teraflops)
    # https://bofads.com/gadgets/apple-m1-max-the-most-powerful-processor-for-laptops-gadgets-news/ (68.25 GB/s)
    _chip("M1", 68.25, 16, 2.6, named=True),
    # https://mybroadband.co.za/news/hardware/418862-apple-m1-pro-and-m1-max-new-chips-powering-the-macbook-pro.html
    # https://stuff.co.za/?p=135995 (5.2 teraflops)
    _chip("M1 Pro", 200, 32, 5.2, named=True),
    # https://geektech.me/apples-impressive-m1-max-benchmark-almost-on-par-with-geforce-rtx-3080/ (10.4 teraflops)
    _chip("M1 Max", 400, 64, 10.4, named=True),
    # https://www.macrumors.com/2022/06/06/apple-announces-m2-chip-with-support-for-up-to-24gb-memory/
    # https://github.com/philipturner/metal-benchmarks (operations of all M2)
    _chip("M2", 100, 24, 3.58),
    # https://technewsboy.com/apple-unveils-m2-pro-and-m2-max-processor-for-mac-devices-times-of-india
    _chip("M2 Pro", 200, 32, 6.8),
    _chip("M2 Max", 400, 96, 13.6),
    # https://thecloudconsultancy.co/news/apple-debuts-m4-processor-in-new-ipad-pro/ (100 GB/s, and 120 of M4)
    # https://www.tellforceblog.com/2023/10/apple-unveils-m3-m3-pro-and-m3-max-3nm-processors.html (memory)
    # https://hmc-tech.com/gpu/apple-16-core-m4-pro-vs-apple-10-core-m3 (operations, and those of M4 Pro)
    _chip("M3", 100, 24, 3.58),
    # https://www.macrumors.com/2023/10/31/apple-m3-pro-less-memory-bandwidth/ (M3 Max with fewer cores: 300)
    # https://hmc-tech.com/gpu/apple-32-core-m4-max-vs-apple-18-core-m3-pro (operations, and those of M4 Max)
    _chip("M3 Pro", 150, 36, 6.44),
    # https://hmc-tech.com/gpu/apple-8-core-m4-fl-vs-apple-40-core-m3-max (operations)
    _chip("M3 Max", 400, 128, 14.32),
    # https://petapixel.com/2024/05/07/apple-debuts-m4-on-the-new-ipad-pro/
    # https://hmc-tech.com/gpu/apple-10-core-m4-fl-vs-apple-10-core-m5-fl (operations)
    _chip("M4", 120, 32, _M4),
    # https://techmoran.com/2024/10/31/apple-unveils-its-most-powerful-chips-the-m4-pro-and-m4-max/
    _chip("M4 Pro", 273, 64, _M4_PRO),
    # https://www.macrumors.com/2024/10/30/apple-announces-m4-max-chip/
    _chip("M4 Max", 546, 128, _M4_MAX),
    # https://the-decoder.com/apples-m5-chip-brings-faster-ai-to-macbook-ipad-and-vision-pro/
    _chip("M5", 153, 32, 4 * _M4),
    # https://www.macrumors.com/2026/03/03/apple-unveils-macbook-pro-with-m5-pro-and-m5-max-chips-with-neural-accelerators/
    _chip("M5 Pro", 307, 64, 4 * _M4_PRO),
    _chip("M5 Max", 614, 128, 4 * _M4_MAX),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the machine at hand can do: bytes and operations a second, and where the figures come from."""

    bandwidth: float
    speed: float
    source: str


def known_chip(name: str) -> Chip | None:
    """The published figures of a chip by the name that its driver gives it."""
    return next((chip for chip in CHIPS if chip.name == name), None)


def machine_limits(name: str, dtype: mx.Dtype) -> Limits:
    """Apple's figures where there are some; what Apple has not named is measured by a copy and a matrix product."""
    chip = known_chip(name)
    bandwidth = measured_bandwidth() if chip is None else chip.bandwidth
    speed = chip.speed if chip is not None and chip.named else None
    source = f"bandwidth {'measured by a copy' if chip is None else 'published'}, "
    source += f"operations {'measured by a matrix product' if speed is None else 'published'}"
    return Limits(bandwidth, measured_speed(dtype) if speed is None else speed, source)


def measured_bandwidth(megabytes: int = 256) -> float:
    """Bytes a second of the fastest of a few copies, reading and writing counted. On the CPU by numpy, as it is the
    machine's limit that is asked for."""
    shape = (megabytes * 2**18,)
    if mx.default_device() == mx.gpu:
        source = mx.zeros(shape)
        mx.eval(source)
        return 2 * source.nbytes / _shortest(lambda: mx.eval(source + 1))
    old, new = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    return 2 * old.nbytes / _shortest(lambda: np.copyto(new, old))


def measured_speed(dtype: mx.Dtype, size: int = 2048) -> float:
    """Operations a second of the fastest of a few matrix products. On the CPU by numpy in 32 bits."""
    if mx.default_device() == mx.gpu:
        a = mx.random.normal((size, size), dtype=dtype)
        mx.eval(a)
        return 2 * size**3 / _shortest(lambda: mx.eval(a @ a))
    b = np.ones((size, size), np.float32)
    return 2 * size**3 / _shortest(lambda: b @ b)


def _shortest(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
