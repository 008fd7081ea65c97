"""Single kernels in the 12B's shapes against float64, so that a wrong one is told from rounding.

On Metal the shape decides which kernel runs, and some were wrong at these very sizes: `sdpa_vector_2pass` from 1,024
keys on (mlx issue 4022), `qvm_split_k` for packed rows from 1,024 on (4250). Small shapes would run others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import mlx.core as mx
import numpy as np

from gemma4_mlx.measure.checks import Check, devices, guarded, on
from gemma4_mlx.model import full_attention
from gemma4_mlx.model.attention import FUSED_QUERIES, attend_tile
from gemma4_mlx.model.cache import SharedCache
from gemma4_mlx.model.masks import TILE, sliding_mask, sliding_tiles
from gemma4_mlx.model.rows import MANY, SEGMENT, KVQuantization, PlainRows, QuantizedRows

HEADS, KV_HEADS, HEAD_DIM, WINDOW = 16, 8, 256, 1024
TURNED, REST = 128, 384
"""Dimensions of a full layer's heads that turn, and the others."""

FACTOR = 3.0
"""Times the rounding of the same computation in numpy that a kernel may be away from float64: it may sum in another
order, round parts of a sum, and miss the last digit of an exponential. Two of 1,024 keys left out are more."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """Steps of a computation whose results are rounded to a type; sums are kept in float32, as the kernels do.

    With `exact` nothing is rounded: the same steps in float64.
    """

    dtype: mx.Dtype
    exact: bool = False

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The numbers in the type, as float64."""
        if self.exact or self.dtype == mx.float32:
            return x if self.exact else x.astype(np.float32).astype(np.float64)
        if self.dtype == mx.float16:
            return x.astype(np.float16).astype(np.float64)
        bits = x.astype(np.float32).view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return rounded.view(np.float32).astype(np.float64)

    def product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """`(..., M, K) @ (..., K, N)`, its sums one term after another."""
        if self.exact:
            return a @ b
        a32, b32 = a.astype(np.float32), b.astype(np.float32)
        total = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), np.float32)
        for k in range(a.shape[-1]):
            total += a32[..., :, k, None] * b32[..., k, None, :]
        return self(total.astype(np.float64))

    def attention(
        self, q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray | None = None, *, scores_too: bool = False
    ) -> np.ndarray:
        """Attention `(H, M, D)` of queries to keys and values `(H, T, D)`, with scale 1.

        Scores stay float32, unless they are rounded too, as those of few queries to packed rows are.
        """
        scores = (self if scores_too else replace(self, dtype=mx.float32)).product(q, k.swapaxes(-1, -2))
        if seen is not None:
            scores = np.where(seen, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return self.product(self(weights / weights.sum(-1, keepdims=True)), v)


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel in a shape of the 12B.

    Attributes:
        name: what is computed.
        kernel: how MLX calls what runs on Metal.
        found: computes it on the current device, rows `(..., D)`.
        steps: the same in numpy.
    """

    name: str
    kernel: str
    found: Callable[[], mx.array]
    steps: Callable[[Rounding], np.ndarray]

    def compare(self, dtype: mx.Dtype) -> tuple[float, float]:
        """How far the result is from float64, and how far the steps are when they are rounded to the type."""
        exact = self.steps(Rounding(dtype, exact=True))
        found = np.array(self.found().astype(mx.float32)).astype(np.float64).reshape(exact.shape)
        return row_error(found, exact), row_error(self.steps(Rounding(dtype)), exact)


def row_error(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest relative difference of a row `(..., D)`; infinite for what is no number."""
    if not np.isfinite(found).all():
        return float("inf")
    return float((np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1)).max())


def kernel_checks() -> Iterator[Check]:
    """Every kernel on every device: on a GPU in the 12B's type, on a CPU in float32, as that adds in the type else."""
    for device in devices():
        dtype, queries = (mx.float32, 16) if device == mx.cpu else (mx.bfloat16, 512)
        for case in cases(dtype, queries):
            yield checked(case, device, dtype)


def checked(case: Case, device: mx.DeviceType, dtype: mx.Dtype) -> Check:
    """The comparison of one kernel."""
    limits: list[float] = []

    def run() -> tuple[str, bool]:
        error, rounding = case.compare(dtype)
        limits[:] = [FACTOR * rounding, error / (FACTOR * rounding)]
        return f"{error:.1e}", error <= FACTOR * rounding

    check = guarded(f"{case.name} ({case.kernel})", device, "float64", run)
    allowed, times = limits or (0.0, float("inf"))
    return Check(check.name, check.device, check.found, f"{allowed:.1e}", check.agrees, times)


def verdict(checks: Sequence[Check]) -> str:
    """One line that tells a wrong kernel from rounding, whatever else was compared."""
    kernels = [check for check in checks if check.times is not None]
    wrong = sorted((check for check in kernels if not check.agrees), key=lambda check: -(check.times or 0.0))
    if wrong:
        names = "; ".join(f"{check.name} on the {check.device}: {check.times:.3g} x" for check in wrong)
        found = f"**{len(wrong)} wrong kernel{'s' * (len(wrong) > 1)}**, as this is more than rounding"
        return f"{found}: {names} what it may be; update MLX, and report it"
    largest = max((check.times or 0.0 for check in kernels), default=0.0)
    line = f"no wrong kernel: all {len(kernels)} are within rounding, at most {largest:.2f} of what it may be"
    others = sum(not check.agrees for check in checks)
    return line + (f". So it is no kernel of these that the {others} others differ by" if others else "")


def cases(dtype: mx.Dtype, queries: int) -> list[Case]:
    """The kernels of a decoding step, and of reading `queries` tokens of a long prompt."""
    deep = 2 * SEGMENT + 37
    found = [_sliding_decode(dtype, keys, None) for keys in (WINDOW - 1, WINDOW, WINDOW + 1, 4096)]
    found += [_sliding_decode(dtype, keys, 8) for keys in (WINDOW - 1, WINDOW, WINDOW + 1)]
    found += [_segments(dtype, deep, width, bits) for bits in (8, 4) for width in (TURNED, REST)]
    found += [_full(dtype, keys, 1, bits) for keys, bits in ((2048, None), (deep, 8), (deep, 4))]
    found += [_full(dtype, 16 * queries, queries, bits) for bits in (None, 8)]
    return [*found, *(_sliding_tile(dtype, length) for length in (FUSED_QUERIES, min(TILE, queries)))]


def _draw(dtype: mx.Dtype, seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Random numbers that the type can hold."""
    return Rounding(dtype)(np.random.default_rng(seed).normal(0, scale, shape))


def _array(x: np.ndarray, dtype: mx.Dtype) -> mx.array:
    """Numbers that the type holds, in a batch of one."""
    return mx.array(x.astype(np.float32))[None].astype(dtype)


def _grouped(x: np.ndarray, heads: int) -> np.ndarray:
    """Rows of KV heads, once for each query head."""
    return np.repeat(x, heads // x.shape[0], axis=0)


def _sliding_decode(dtype: mx.Dtype, keys: int, bits: int | None) -> Case:
    """One query of a sliding layer over its window."""
    q, rows = _draw(dtype, 1, HEADS, 1, HEAD_DIM, scale=0.1), _draw(dtype, 2, 2 * KV_HEADS, keys, HEAD_DIM)
    kept = PlainRows(keys) if bits is None else QuantizedRows(keys, KVQuantization(bits))
    packed = _pack(kept, rows, dtype)
    values = rows if bits is None else unpacked(packed, bits)
    k, v = _grouped(values[:KV_HEADS], HEADS), _grouped(values[KV_HEADS:], HEADS)
    kernel = "qmv, qvm_split_k" if bits else "sdpa_vector_2pass" if keys >= 4096 else "sdpa_vector, from 1,024 2pass"
    name = f"decode over {keys:,} keys, {'plain' if bits is None else f'{bits}-bit'}"

    def steps(rounding: Rounding) -> np.ndarray:
        return rounding.attention(q, rounding(k), rounding(v), scores_too=bits is not None)

    return Case(name, kernel, lambda: kept.attention(_array(q, dtype), packed), steps)


def _segments(dtype: mx.Dtype, keys: int, width: int, bits: int) -> Case:
    """Weighted sums of a long context's packed rows, in segments."""
    weights = np.abs(_draw(dtype, 3, 1, HEADS, keys, scale=1 / keys))
    kept = QuantizedRows(keys, KVQuantization(bits))
    packed = _pack(kept, _draw(dtype, 4, 1, keys, width), dtype)
    with on(mx.cpu):
        kept.put(0, packed)
        mx.eval(kept.arrays())
    rows = unpacked(packed, bits)
    name = f"sum of {keys:,} rows of {width}, {bits}-bit"
    return Case(
        name, "qmm_n in segments", lambda: kept.mix(_array(weights, dtype)), lambda r: r.product(weights, r(rows))
    )


def _full(dtype: mx.Dtype, keys: int, length: int, bits: int | None) -> Case:
    """A full layer's last `length` queries, 16 heads folded into one matrix, in tiles."""
    turned, rest = (_draw(dtype, seed, HEADS, length, width, scale=0.1) for seed, width in ((5, TURNED), (6, REST)))
    parts = [_draw(dtype, seed, 1, keys, width) for seed, width in ((7, TURNED), (8, REST), (9, TURNED))]
    cache = SharedCache(keys, None if bits is None else KVQuantization(bits))
    with on(mx.cpu):
        cache.update(*(_array(part, dtype) for part in parts))
        mx.eval(cache.arrays())
    if bits is not None:
        arrays = cache.arrays()
        parts = [unpacked(arrays[3 * part : 3 * part + 3], bits) for part in range(3)]
    edge = length // 2  # 512 queries over 8,192 keys are two tiles that meet there
    at = np.unique([0, max(0, edge - 1), edge, length - 1])

    def found() -> mx.array:
        attended = full_attention.attend(_array(turned, dtype), _array(rest, dtype), cache)
        return attended[0][:, mx.array(at)]

    def steps(rounding: Rounding) -> np.ndarray:
        kept = [rounding(part) for part in parts]  # packed rows may be unpacked into the type
        k, v = np.concatenate(kept[:2], -1), np.concatenate([kept[2], kept[1]], -1)
        q = np.concatenate([turned, rest], -1)[:, at]
        seen = np.arange(keys) <= (keys - length + at)[:, None]
        return _in_order(rounding.attention(q, k, v, seen, scores_too=bits is not None and HEADS * length < MANY))

    name = f"{length} x 16 queries of 512 over {keys:,} keys, {'plain' if bits is None else f'{bits}-bit'}"
    return Case(name, "folded heads, gemm or gemv" if bits is None else "folded heads, qmm", found, steps)


def _sliding_tile(dtype: mx.Dtype, length: int) -> Case:
    """A tile of a sliding layer's queries while a prompt is read or guesses are checked, with its mask."""
    keys = WINDOW - 1 + length
    tile = sliding_tiles(length, 2 * WINDOW, WINDOW, (), queries=length)[0]
    q = _draw(dtype, 10, HEADS, length, HEAD_DIM, scale=0.1)
    k, v = (_draw(dtype, seed, KV_HEADS, keys, HEAD_DIM) for seed in (11, 12))
    seen = sliding_mask(0, length, 1 - WINDOW, length, WINDOW, ())
    at = np.unique([0, length // 2, length - 1])

    def found() -> mx.array:
        attended = attend_tile(_array(q, dtype), _array(k, dtype), _array(v, dtype), tile)
        return attended[0][:, mx.array(at)]

    kept = partial(Rounding.attention, q=q[:, at], k=_grouped(k, HEADS), v=_grouped(v, HEADS), seen=seen[at])
    kernel = "sdpa_vector, from 1,024 2pass, with a mask" if length <= FUSED_QUERIES else "grouped heads, gemm"
    return Case(f"{length} queries of 256 over {keys:,} keys, masked", kernel, found, kept)


def _in_order(rows: np.ndarray) -> np.ndarray:
    """Dimensions `(..., turned first)` as o_proj reads them: each pair half a head apart."""
    turned, rest = rows[..., :TURNED], rows[..., TURNED:]
    half, other = TURNED // 2, REST // 2
    return np.concatenate([turned[..., :half], rest[..., :other], turned[..., half:], rest[..., other:]], -1)


def _pack(kept: PlainRows | QuantizedRows, rows: np.ndarray, dtype: mx.Dtype) -> Sequence[mx.array]:
    """The rows as a cache keeps them; packed on the CPU, so that only what reads them is measured."""
    with on(mx.cpu):
        packed = kept.pack(_array(rows, dtype))
        mx.eval(packed)
    return packed


def unpacked(packed: Sequence[mx.array], bits: int) -> np.ndarray:
    """Packed rows `(1, H, T, D)` as float64 `(H, T, D)`: scale times number plus bias, without MLX's kernels."""
    words, scales, biases = packed
    with on(mx.cpu):
        numbers = np.array(words)[0][..., None] >> np.arange(0, 32, bits, dtype=np.uint32)
        scale, bias = (np.array(x.astype(mx.float32))[0].astype(np.float64)[..., None] for x in (scales, biases))
    numbers = (numbers & np.uint32(2**bits - 1)).reshape(*scale.shape[:-1], -1).astype(np.float64)
    rows: np.ndarray = (numbers * scale + bias).reshape(*scale.shape[:-2], -1)
    return rows
