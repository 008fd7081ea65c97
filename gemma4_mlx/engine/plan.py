"""What a prompt will need in memory, from the configuration and the weights' headers alone, before anything is loaded.

All sizes are bytes. Cache sizes are exact; what comes and goes while a chunk is read is the sum of the arrays that are
alive together at the widest place of a layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from gemma4_mlx.config import ModelConfig, TextConfig
from gemma4_mlx.engine.options import AUTO, KVBits
from gemma4_mlx.errors import DoesNotFitError
from gemma4_mlx.model.bits import bits_text
from gemma4_mlx.model.cache import SlidingCache
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.full_attention import tile_size
from gemma4_mlx.model.masks import TILE
from gemma4_mlx.model.rows import SCORE_BYTES, KVQuantization, for_windows
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt, Span

GB = 1e9
SHORT = 1000
"""Positions of prompt and reply for which there must be room beside the weights."""

LIVE_MLP = 3
"""Of the MLP's width, for each position: gate, up, and their product."""

LIVE_HIDDEN = 12
"""Of the hidden width, for each position: residual, norm, projection, and what their kernels hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Bytes by component, for `context` positions of prompt and reply.

    Attributes:
        weights: as stored; they are held as they are stored.
        full_caches, sliding_caches: what the layers keep, allocated at once.
        transient: what comes and goes while a chunk of prompt is read.
        media: pixels and sound of the prompt with their embeddings.
        limit: what may be used.
        reserve: what stays free beside the limit, for everything else on the machine.
        kv_bits: bits of the caches; None for the weights' own type.
    """

    context: int
    weights: int
    full_caches: int
    sliding_caches: int
    transient: int
    media: int
    limit: int
    kv_bits: int | None
    reserve: int = 0

    @property
    def total(self) -> int:
        """Everything together."""
        return self.weights + self.full_caches + self.sliding_caches + self.transient + self.media

    @property
    def fits(self) -> bool:
        """Whether the total stays within the limit."""
        return self.total <= self.limit

    def rows(self) -> list[tuple[str, int]]:
        """Component and bytes, for a table."""
        caches = f"caches, {self.context} tokens, {kv_name(self.kv_bits)}"
        parts = [("weights", self.weights), (caches, self.full_caches + self.sliding_caches)]
        parts += [("reading a chunk", self.transient)] + ([("media", self.media)] if self.media else [])
        kept_free = [("kept free beside it", self.reserve)] if self.reserve else []
        return [*parts, ("total", self.total), ("limit", self.limit), *kept_free]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What is asked for: a model's sizes and how it is to run, with copies of the sliding caches kept beside them.

    `bits` says those of its weights in words, by part if they differ; nothing if they are not known.
    """

    config: ModelConfig
    weights: int
    itemsize: int
    chunk: int
    kv_group_size: int
    limit: int
    reserve: int = 0
    spans: Sequence[Span] = ()
    snapshots: int = 0
    bits: Callable[[], str] = str

    def choose(self, context: int, kv_bits: KVBits) -> Plan:
        """The plan at so many positions; `auto` keeps the caches plain where that fits, else takes 8 bits."""
        if isinstance(kv_bits, int):
            return self.plan(context, kv_bits)
        plain = self.plan(context, None)
        return plain if plain.fits or kv_bits != AUTO else self.plan(context, 8)

    def plan(self, context: int, kv_bits: int | None) -> Plan:
        """The plan at so many positions with caches of these bits."""
        full, sliding = cache_bytes(self.config, context, kv_bits, self.kv_group_size, self.itemsize)
        return Plan(
            context=context,
            weights=self.weights,
            full_caches=full,
            sliding_caches=sliding * (1 + self.snapshots),
            transient=transient_bytes(self.config, context, min(self.chunk, context), self.itemsize),
            media=media_bytes(self.spans, self.config, self.itemsize),
            limit=self.limit,
            reserve=self.reserve,
            kv_bits=kv_bits,
        )

    @property
    def longest_asked(self) -> int:
        """The longest context that `longest` tries: the model's own in whole thousands."""
        return self.config.text.max_position_embeddings // 1000 * 1000

    def longest(self, kv_bits: int | None) -> int:
        """The longest context that fits, in whole thousands; 0 where none does."""
        low, high = 0, self.longest_asked // 1000 + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.plan(1000 * middle, kv_bits).fits else (low, middle)
        return 1000 * low


def need(
    model: Gemma4Unified,
    prompt: Prompt | None,
    *,
    chunk: int,
    kv_group_size: int,
    limit: int,
    reserve: int = 0,
    snapshots: int = 0,
    drafter: Drafter | None = None,
) -> Need:
    """The need of a model whose weights may still be on disk: only their shapes are looked at.

    A picture or a sound that is longer than a chunk is read as a whole.
    """
    runs = prompt.whole_runs() if prompt is not None else []
    dtype = model.language_model.model.dtype
    return Need(
        config=model.config,
        weights=module_bytes(model) + (module_bytes(drafter, dtype) if drafter else 0),
        itemsize=dtype.size,
        bits=partial(bits_text, model),
        chunk=max([chunk, *(stop - start for start, stop in runs)]),
        kv_group_size=kv_group_size,
        limit=limit,
        reserve=reserve,
        spans=prompt.spans if prompt is not None else (),
        snapshots=snapshots,
    )


def module_bytes(module: nn.Module, dtype: mx.Dtype | None = None) -> int:
    """Bytes of all weights, loaded or not; with a dtype, once floating-point numbers have that type."""
    arrays = [array for _, array in tree_flatten(module.parameters())]
    types = [dtype if dtype and mx.issubdtype(array.dtype, mx.floating) else array.dtype for array in arrays]
    return sum(array.size * own.size for array, own in zip(arrays, types, strict=True))


def check(need: Need, plan: Plan) -> Plan:
    """The plan, if it fits. Raises DoesNotFitError with what would fit."""
    if plan.fits:
        return plan
    raise DoesNotFitError(
        f"{plan.context} tokens need {size_name(plan.total)} with {kv_name(plan.kv_bits)} caches, and "
        f"{size_name(plan.limit)} may be used; {'; '.join(alternatives(need, plan))}",
        arguments=["kv_bits"],
    )


def check_weights(need: Need) -> None:
    """Raises DoesNotFitError if the weights leave no room for any prompt of SHORT positions."""
    short = min(SHORT, need.config.text.max_position_embeddings)
    least = min(need.plan(short, kv_bits).total for kv_bits in (None, 8, 4))
    if least > need.limit:
        raise DoesNotFitError(
            f"the weights take {size_name(need.weights)}, with {short} tokens of prompt and reply {size_name(least)}, "
            f"and {size_name(need.limit)} may be used: use a checkpoint of fewer bits, or raise memory_limit if this "
            "machine can hold more",
            arguments=["memory_limit"],
        )


def alternatives(need: Need, plan: Plan) -> list[str]:
    """What would fit instead, in words that name arguments."""
    found = []
    fewer = next((bits for bits in (8, 4) if bits != plan.kv_bits and need.plan(plan.context, bits).fits), None)
    if fewer is not None:
        found.append(f"kv_bits={fewer} fits")
    longest = need.longest(plan.kv_bits)
    if longest or need.plan(1, plan.kv_bits).fits:
        most = f"at most {longest}" if longest else "fewer than 1000"
        found.append(f"{most} tokens of prompt and reply fit with {kv_name(plan.kv_bits)} caches")
    else:
        own = need.bits()
        bits = f"; this one has {own}" if own else ""
        found.append(f"no context fits: use a checkpoint of fewer bits{bits}")
    return found


def kv_name(kv_bits: int | None) -> str:
    """How caches of so many bits are called."""
    return "plain" if kv_bits is None else f"{kv_bits}-bit"


def size_name(size: int) -> str:
    """A size as it is read: small models and limits are no whole GB."""
    return f"{size / GB:.2f} GB" if size >= GB / 10 else f"{size / 1e6:.1f} MB"


def cache_bytes(
    config: ModelConfig, context: int, kv_bits: int | None, kv_group_size: int, itemsize: int
) -> tuple[int, int]:
    """Bytes of the full layers' caches and of the sliding layers'."""
    full = sliding = 0
    quantization = None if kv_bits is None else KVQuantization(kv_bits, kv_group_size)
    for layer in config.text.layers:
        heads = layer.num_key_value_heads
        if layer.window is None:
            full += context * heads * sum(row_bytes(width, quantization, itemsize) for width in layer.shared_widths)
        else:
            rows = SlidingCache(layer.window, context).capacity * 2 * heads
            sliding += rows * row_bytes(layer.head_dim, for_windows(quantization), itemsize)
    return full, sliding


def row_bytes(width: int, quantization: KVQuantization | None, itemsize: int) -> int:
    """Bytes of a row of so many numbers."""
    if quantization is None:
        return width * itemsize
    padded = quantization.padded(width)
    return padded * quantization.bits // 8 + padded // quantization.group_size * 2 * itemsize


def transient_bytes(config: ModelConfig, context: int, chunk: int, itemsize: int) -> int:
    """Bytes that come and go while a chunk is read at the end of a context."""
    text = config.text
    window = max((layer.window or 0 for layer in text.layers), default=0)
    seen = min(window + chunk, context)
    widths = [text.num_attention_heads * layer.head_dim for layer in text.layers]
    heads = [layer.num_key_value_heads * layer.head_dim for layer in text.layers if layer.window]
    score = itemsize if itemsize == mx.float32.size else SCORE_BYTES
    sliding = min(TILE, chunk) * min(window + TILE, context) * text.num_attention_heads * score
    sliding += seen * 2 * max(heads, default=0) * itemsize
    attention = max(sliding, full_scores(text, context, chunk)) + 3 * chunk * max(widths) * itemsize
    mlp = LIVE_MLP * chunk * text.intermediate_size * itemsize
    hidden = LIVE_HIDDEN * chunk * text.hidden_size * itemsize
    logits = text.vocab_size * (itemsize + 2 * 4)
    return hidden + max(attention, mlp, logits)


def full_scores(text: TextConfig, context: int, chunk: int) -> int:
    """Bytes of the scores that a full layer has at once. (In float32 a CPU adds those of plain caches up in place.)"""
    heads = text.num_attention_heads
    groups = {heads // layer.num_key_value_heads for layer in text.layers if layer.window is None}
    queries = max((tile_size(heads, group, context) for group in groups), default=0)
    return min(chunk, queries) * context * heads * SCORE_BYTES


def media_bytes(spans: Sequence[Span], config: ModelConfig, itemsize: int) -> int:
    """Bytes of media features on their way to embeddings: as numbers of 4 bytes, in the model's type, and projected."""
    rows = sum(span.stop - span.start for span in spans)
    values = sum(_features(span).size for span in spans)
    return values * (4 + itemsize) + rows * config.text.hidden_size * itemsize


def _features(span: Span) -> np.ndarray:
    return span.features if isinstance(span.features, np.ndarray) else span.features.pixels
