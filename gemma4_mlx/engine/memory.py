"""The memory that may be used, and the allocator's limits that keep to it."""

import os
import re

import mlx.core as mx

from gemma4_mlx.engine.plan import Plan
from gemma4_mlx.errors import UsageError, check_argument

MAC_SHARE = 10.9 / (16 * 2**30 / 1e9)
"""Share of a Mac's memory that Metal recommends to use at most: 10.9 GB, the lowest seen on 16 GB machines."""

CPU_SHARE = 0.9
"""Share of the memory that is used where there is no GPU to keep apart from."""

UNITS = {"GB": 2**30, "GIB": 2**30, "MB": 2**20, "MIB": 2**20}
BUFFER_CACHE = 512 * 2**20
"""Freed buffers kept for reuse, at most. On Metal they count to the memory in all, and go first where that is short."""

RUN_AHEAD = 128 * 2**20
"""Beside weights and caches so much may always be in use: a small model need not wait for single operations."""


def working_set(memory_limit: str | None = None) -> int:
    """Bytes that may be used: on this device, or on a Mac with so much memory ("16GB"). Raises UsageError."""
    if memory_limit is not None:
        return int(parse_size(memory_limit) * MAC_SHARE)
    recommended = mx.device_info().get("max_recommended_working_set_size")
    if recommended:
        return int(recommended)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * CPU_SHARE)


def parse_size(text: str) -> int:
    """Bytes of "16GB" or "900MB"; memory is sold in powers of two. Raises UsageError."""
    check_argument("memory_limit", text, isinstance(text, str), 'a text like "16GB"')
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)?\s*", text)
    unit = UNITS.get((found[2] or "GB").upper()) if found else None
    if found is None or unit is None or not 0 < float(found[1]) < 1e6:
        raise UsageError(f"no size of memory: {text!r}; write it like 16GB")
    return int(float(found[1]) * unit)


def keep_to(plan: Plan, held: int = 0) -> None:
    """Sets the allocator's limits for this process: freed buffers, memory in all, and on Metal what stays resident.

    Evaluation prepares operations before the ones ahead of them are done, and would have the arrays of several layers
    alive. At the plan's total it waits instead; what else the process holds, another model say, comes on top. Of what
    the plan counts beside weights, `held` bytes are allocated already.
    """
    room = max(plan.transient, RUN_AHEAD)
    others = max(0, mx.get_active_memory() - plan.weights - held)
    mx.set_cache_limit(min(BUFFER_CACHE, room))
    mx.set_memory_limit(min(plan.limit, plan.total - plan.transient + room + others))
    if mx.metal.is_available():
        mx.set_wired_limit(min(plan.total, working_set()))
