"""What a model's headers tell, as `list` and `pull` say it: bits by part, and what of a context fits.

Its own file because it is all that the two commands share, and imports MLX.
"""

import re
from dataclasses import dataclass

from gemma4_mlx.config import DrafterConfig, ModelConfig
from gemma4_mlx.engine.memory import budget
from gemma4_mlx.engine.plan import Need, module_bytes, need
from gemma4_mlx.files import byte_text
from gemma4_mlx.model.bits import bits_per_weight, bits_text
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified

BESIDE = "beside its model"
CHUNK, GROUP, SHORT = 512, 64, 1000
"""How a prompt is read if nothing is asked for, and positions that a model must have room for to be of use."""

PROMISES = re.compile(
    r"(?<![a-z0-9])(\d{1,2})-?bits?(?![a-z])|(?<![a-z])(?:q|w|int|nvfp|mxfp)(\d)(?!\d)", re.IGNORECASE | re.ASCII
)
"""Bits in names: 4bit, 4-bit, q4_0, int4, nvfp4, w4a16."""

TOLERATED = 1.0  # bits a weight that scales and parts that are never quantized add


@dataclass(frozen=True, slots=True)
class Facts:
    """What is told of a model, in words, and the bytes of its weights."""

    bits: str
    per_weight: float
    weights: int
    fits: str


def facts(model: Gemma4Unified | Drafter, memory_limit: str | None) -> Facts:
    """The facts of a model whose weights may be on disk or nowhere. Raise UsageError for a wrong limit."""
    limit = budget(memory_limit).limit
    weights = module_bytes(model)
    if isinstance(model, Drafter):
        fits = BESIDE
    else:
        fits = fits_text(need(model, None, chunk=CHUNK, kv_group_size=GROUP, limit=limit))
    return Facts(bits_text(model), bits_per_weight(model), weights, fits)


def fits_text(asked: Need) -> str:
    """How long a context fits: with plain caches, else with smaller ones; or what lacks."""
    for bits in (None, 8, 4):
        longest = asked.longest(bits)
        if longest:
            caches = f" with {bits}-bit caches" if bits else ""
            return f"yes, {longest:,} tokens{caches}"
    return f"no: {byte_text(asked.plan(SHORT, 4).total, up=True)} of {byte_text(asked.limit)}"


def fits_by_bytes(config: ModelConfig | DrafterConfig, weights: int, memory_limit: str | None) -> str:
    """What fits beside so many bytes of weights. Raise UsageError for a wrong limit."""
    limit = budget(memory_limit).limit
    if isinstance(config, DrafterConfig):
        return BESIDE
    return fits_text(Need(config=config, weights=weights, itemsize=2, chunk=CHUNK, kv_group_size=GROUP, limit=limit))


def promised_bits(name: str) -> int | None:
    """The bits that a name promises; None if it promises none."""
    found = [int(match[1] or match[2]) for match in PROMISES.finditer(name)]
    return found[-1] if found else None


def broken_promise(name: str, told: Facts) -> str:
    """What to say of a name that promises fewer bits than the weights have; empty if it holds what it promises."""
    bits = promised_bits(name)
    if bits is None or told.per_weight <= bits + TOLERATED:
        return ""
    return f"{name} is called {bits}-bit, but has {told.per_weight:.1f} bits a weight ({told.bits})"
