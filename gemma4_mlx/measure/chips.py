"""Apple's chips in Apple's own figures, and the same two figures of the machine at hand, measured.

GPU operations a second are 32-bit ones, where Apple has named a figure. For the other chips there is none, and none is
made up here; the matrix units of M5 would not be covered by one anyway. Each figure is that of the largest variant.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Chip:
    """Bandwidth in bytes a second, GPU speed in operations a second (None: not published), most memory in bytes."""

    name: str
    bandwidth: float
    speed: float | None
    memory: float


def _chip(name: str, gigabytes: float, memory: int, teraflops: float | None = None) -> Chip:
    return Chip(f"Apple {name}", gigabytes * 1e9, None if teraflops is None else teraflops * 1e12, memory * 1e9)


# Apple's announcements and specifications, as these pages report them.
CHIPS = (
    # https://www.macrumors.com/2020/11/10/apple-announces-m1-chip-for-the-mac/ (2.6 teraflops)
    # https://bofads.com/gadgets/apple-m1-max-the-most-powerful-processor-for-laptops-gadgets-news/ (68.25 GB/s)
    _chip("M1", 68.25, 16, 2.6),
    # https://mybroadband.co.za/news/hardware/418862-apple-m1-pro-and-m1-max-new-chips-powering-the-macbook-pro.html
    # https://stuff.co.za/?p=135995 (5.2 teraflops)
    _chip("M1 Pro", 200, 32, 5.2),
    # https://geektech.me/apples-impressive-m1-max-benchmark-almost-on-par-with-geforce-rtx-3080/ (10.4 teraflops)
    _chip("M1 Max", 400, 64, 10.4),
    # https://www.macrumors.com/2022/06/06/apple-announces-m2-chip-with-support-for-up-to-24gb-memory/
    _chip("M2", 100, 24),
    # https://technewsboy.com/apple-unveils-m2-pro-and-m2-max-processor-for-mac-devices-times-of-india
    _chip("M2 Pro", 200, 32),
    _chip("M2 Max", 400, 96),
    # https://thecloudconsultancy.co/news/apple-debuts-m4-processor-in-new-ipad-pro/ (100 GB/s, and 120 of M4)
    # https://www.tellforceblog.com/2023/10/apple-unveils-m3-m3-pro-and-m3-max-3nm-processors.html (memory)
    _chip("M3", 100, 24),
    # https://www.macrumors.com/2023/10/31/apple-m3-pro-less-memory-bandwidth/ (M3 Max with fewer cores: 300)
    _chip("M3 Pro", 150, 36),
    _chip("M3 Max", 400, 128),
    # https://petapixel.com/2024/05/07/apple-debuts-m4-on-the-new-ipad-pro/
    _chip("M4", 120, 32),
    # https://techmoran.com/2024/10/31/apple-unveils-its-most-powerful-chips-the-m4-pro-and-m4-max/
    _chip("M4 Pro", 273, 64),
    # https://www.macrumors.com/2024/10/30/apple-announces-m4-max-chip/
    _chip("M4 Max", 546, 128),
    # https://the-decoder.com/apples-m5-chip-brings-faster-ai-to-macbook-ipad-and-vision-pro/
    _chip("M5", 153, 32),
    # https://www.macrumors.com/2026/03/03/apple-unveils-macbook-pro-with-m5-pro-and-m5-max-chips-with-neural-accelerators/
    _chip("M5 Pro", 307, 64),
    _chip("M5 Max", 614, 128),
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
    """Published figures where there are some; what is not published is measured by a copy and a matrix product."""
    chip = known_chip(name)
    bandwidth = measured_bandwidth() if chip is None else chip.bandwidth
    speed = None if chip is None else chip.speed
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
