"""The memory that may be used, the allocator's limits that keep to it, and what is wired while a reply runs."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import RLock

import mlx.core as mx

from gemma4_mlx.engine.plan import Plan
from gemma4_mlx.errors import UsageError, check_argument, shortened

MAC_SHARE = 10.9 / (16 * 2**30 / 1e9)
"""Share of a Mac's memory that Metal recommends to use at most: 10.9 GB, the lowest seen on 16 GB machines."""

GPU_SHARE = 0.95
"""Share of Metal's recommended working set that a plan may use.

From there on MLX's allocator counts memory as short and gives freed buffers back (`gc_limit_` in
mlx/backend/metal/allocator.cpp); the rest is for what no plan knows of: the display, other programs, fragments.
"""

CPU_SHARE = 0.9
"""Share of the memory that a plan may use if there is no GPU to keep apart from."""

UNWIRED_SHARE, UNWIRED_LEAST = 0.35, 8 * 2**30
"""Share of a Mac's memory, and bytes at least, that are never wired.

Wired pages can be neither swapped nor compressed: with 10.6 GB of them Macs of 16 GB froze, flickered and restarted,
and with such a reserve they did not (https://github.com/osaurus-ai/vmlx-swift/pull/421). What a plan needs beyond that
is used all the same; macOS may only take it back between two passes.
"""

UNITS = {"GB": 2**30, "GIB": 2**30, "MB": 2**20, "MIB": 2**20}
BUFFER_CACHE = 512 * 2**20
"""Freed buffers kept for reuse, at most. On Metal they count to the memory in all, and go first where that is short."""

RUN_AHEAD = 128 * 2**20
"""Beside weights and caches so much may always be in use: a small model need not wait for single operations."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that a plan may use, and the reserve beside them that stays free."""

    limit: int
    reserve: int


def budget(memory_limit: str | None = None) -> Budget:
    """What a plan may use on this device, or on a Mac with so much memory ("16GB"). Raises UsageError."""
    if memory_limit is not None:
        return _split(int(parse_size(memory_limit) * MAC_SHARE), GPU_SHARE)
    recommended = mx.device_info().get("max_recommended_working_set_size")
    if recommended:
        return _split(int(recommended), GPU_SHARE)
    return _split(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), CPU_SHARE)


def _split(memory: int, share: float) -> Budget:
    limit = int(memory * share)
    return Budget(limit, memory - limit)


def parse_size(text: str) -> int:
    """Bytes of "16GB" or "900MB"; memory is sold in powers of two. Raises UsageError."""
    check_argument("memory_limit", text, isinstance(text, str), 'a text like "16GB"')
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)?\s*", text)
    unit = UNITS.get((found[2] or "GB").upper()) if found else None
    if found is None or unit is None or not 0 < float(found[1]) < 1e6:
        raise UsageError(f"memory_limit {shortened(text)!r} is no size: write it like 16GB", arguments=["memory_limit"])
    return int(float(found[1]) * unit)


def keep_to(plan: Plan, held: int = 0, unread: int = 0) -> int:
    """Sets the allocator's limits for this process: freed buffers, and memory in all. Returns that of memory before.

    Evaluation prepares operations before the ones ahead of them are done, and would have the arrays of several layers
    alive. At the plan's total it waits instead; what else the process holds, another model say, comes on top. Of what
    the plan counts beside weights, `held` bytes are allocated already, and of its weights `unread` bytes are not.
    """
    room = max(plan.transient, RUN_AHEAD)
    others = max(0, mx.get_active_memory() - (plan.weights - unread) - held)
    mx.set_cache_limit(min(BUFFER_CACHE, room))
    return mx.set_memory_limit(min(plan.limit, plan.total - plan.transient + room + others))


@dataclass(slots=True)
class _Limit:
    """A limit of this process while replies run, and what it was before the first of them.

    The lock lets its holder in again: a garbage collection inside may end a reply that was abandoned.
    """

    replies: set[object] = field(default_factory=set)
    before: int | None = None
    lock: RLock = field(default_factory=RLock)

    def begin(self, reply: object, change: Callable[[], int], *, again: bool) -> None:
        """Changes the limit for the first reply, and for others only `again`."""
        with self.lock:
            self.replies.add(reply)
            if again or len(self.replies) == 1:
                found = change()
                self.before = found if self.before is None else self.before

    def end(self, reply: object, set_back: Callable[[int], object]) -> None:
        """Sets the limit back after the last reply."""
        with self.lock:
            self.replies.discard(reply)
            if not self.replies and self.before is not None:
                set_back(self.before)
                self.before = None


_MEMORY, _WIRED = _Limit(), _Limit()


@contextmanager
def kept_to(plan: Plan, unread: int = 0) -> Iterator[None]:
    """`keep_to` while something runs: what comes after the last such thing has the limit of memory that was before."""
    reply = object()
    try:
        _MEMORY.begin(reply, lambda: keep_to(plan, unread=unread), again=True)
        yield
    finally:
        _MEMORY.end(reply, mx.set_memory_limit)


@contextmanager
def wired(plan: Plan, wire: bool = True) -> Iterator[None]:
    """Keep the memory of a plan resident on Metal while a reply runs, and let go of it however the reply ends.

    Of several replies at once the first one sets the limit, as the residency set of a running one is left alone, and
    the last one to end sets it back. Each waits first for the work that it began, whatever thread ends it.
    """
    if not (wire and mx.metal.is_available()):
        yield
        return
    reply, stream = object(), mx.default_stream(mx.default_device())
    try:
        _WIRED.begin(reply, lambda: mx.set_wired_limit(min(plan.total, wirable())), again=False)
        yield
    finally:
        try:
            with suppress(RuntimeError):  # what failed on the GPU was raised where it was waited for
                mx.synchronize(stream)
        finally:  # Ctrl-C while it waits, say
            _WIRED.end(reply, mx.set_wired_limit)


def wirable() -> int:
    """Bytes that may be wired: none of the reserve that macOS keeps for everything else."""
    info = mx.device_info()
    memory, recommended = int(info["memory_size"]), int(info["max_recommended_working_set_size"])
    return max(0, min(recommended, memory - max(UNWIRED_LEAST, int(memory * UNWIRED_SHARE))))
