"""Attention of a full layer, whose values are its keys before their norm weights and rotation (K = V).

Only the first `2r` of a head's dimensions turn, once its pairs `(i, i + D / 2)` with i < r are put first. In the others
a key is its value times the key norm's weight, and that weight can just as well multiply the query:

    q . k = q_turned . k_turned + (q_rest * k_norm_rest) . v_rest

so a position is kept as k_turned, v_rest and v_turned: `D + 2r` numbers instead of `2 D`.
"""

import copy
import math
from collections.abc import Sequence

import mlx.core as mx

from gemma4_mlx.config import LayerConfig, TextConfig
from gemma4_mlx.model.attention import Attention, merge_heads, split_heads
from gemma4_mlx.model.cache import SharedCache
from gemma4_mlx.model.masks import Tile
from gemma4_mlx.model.projection import last_outputs, merge, reorder
from gemma4_mlx.model.rotary import rotate
from gemma4_mlx.model.rows import SCORE_BYTES

SCORES_BUDGET = 256 * 2**20
"""Bytes of a tile's scores while they are formed. Each tile reads all of its keys and values again."""

BLOCK = 64
"""Rows that a kernel of a matrix product on Metal works on at once: what a tile has beside whole blocks is wasted."""


class FullAttention(Attention):
    """Self-attention with scale 1.0 over all earlier positions. Works on weights that `fused` has put in order."""

    def __init__(self, config: TextConfig, layer: LayerConfig) -> None:
        super().__init__(config, layer)
        self._turned = layer.turned

    def fused(self) -> "FullAttention":
        """The same with the dimensions that turn first, and the key norm's other weights in the queries' norm.

        This module stays as it is, so whoever is interrupted can begin again.
        """
        if "qk_proj" in self:
            return self
        fused, order = copy.copy(self), turned_first(self.head_dim, self._turned)
        parts = ((fused.pop("q_proj"), self.num_heads), (fused.pop("k_proj"), self.num_kv_heads))
        fused.qk_proj = merge([reorder(part, head_order(order, heads)) for part, heads in parts])
        keys = fused.pop("k_norm").weight[order]
        queries = fold_key_norm(fused.pop("q_norm").weight[order], keys, self._turned)
        fused.qk_norm = mx.stack([queries] * self.num_heads + [keys] * self.num_kv_heads)[:, None]
        mx.eval(fused.parameters())
        return fused

    def heads(self, x: mx.array, rotation: mx.array) -> tuple[mx.array, ...]:
        """Both parts of the queries of x `(B, L, hidden)`, all `(B, H, L, ...)`, and what the cache keeps of it."""
        heads = mx.fast.rms_norm(split_heads(self.qk_proj(x), self.head_dim), None, self.eps)
        turning, others = mx.split(heads, [self._turned], axis=-1)
        turned, keys = mx.split(rotate(turning, self.qk_norm[..., : self._turned], rotation), [self.num_heads], axis=1)
        rest = others[:, : self.num_heads] * self.qk_norm[: self.num_heads, :, self._turned :]
        return turned, rest, keys, others[:, self.num_heads :], turning[:, self.num_heads :]

    def attend(self, heads: tuple[mx.array, ...], cache: SharedCache, tiles: Sequence[Tile]) -> mx.array:
        """Attention of all positions `(B, L, H * D)`. The tiles are those of sliding layers."""
        turned, rest, *written = heads
        cache.update(*written)
        return merge_heads(attend(turned, rest, cache))

    def write(self, x: mx.array, cache: SharedCache, rotation: mx.array) -> None:
        """Puts the keys and values of `(B, L, hidden)` into the cache and computes nothing else."""
        outputs = self.num_kv_heads * self.head_dim
        values = mx.fast.rms_norm(split_heads(last_outputs(self.qk_proj, x, outputs), self.head_dim), None, self.eps)
        turning, others = mx.split(values, [self._turned], axis=-1)
        cache.update(rotate(turning, self.qk_norm[self.num_heads :, :, : self._turned], rotation), others, turning)


def turned_first(head_dim: int, turned: int) -> mx.array:
    """Dimensions of a head in the order in which those of turning pairs come first."""
    first, second = mx.arange(head_dim // 2), mx.arange(head_dim // 2, head_dim)
    half = turned // 2
    return mx.concatenate([first[:half], second[:half], first[half:], second[half:]])


def head_order(order: mx.array, heads: int) -> mx.array:
    """The outputs of so many heads, each in this order: `(H * D,)`."""
    return (mx.arange(heads)[:, None] * order.size + order).flatten()


def fold_key_norm(queries: mx.array, keys: mx.array, turned: int) -> mx.array:
    """The query norm's weights times the key norm's where nothing turns; both `(D,)`, turning dimensions first."""
    return mx.concatenate([queries[:turned], queries[turned:] * keys[turned:]])


def original_order(turned: mx.array, rest: mx.array) -> mx.array:
    """`(..., 2r)` and `(..., D - 2r)` -> `(..., D)` with each pair half a head apart, as o_proj reads them."""
    halves = [part.reshape(*part.shape[:-1], 2, -1) for part in (turned, rest)]
    return mx.concatenate(halves, axis=-1).flatten(-2)


def attend(turned: mx.array, rest: mx.array, cache: SharedCache) -> mx.array:
    """Causal attention `(B, H, L, D)` of the last L positions in the cache, `(B, H, L, 2r)` and `(B, H, L, D - 2r)`.

    Tiles are evaluated one after another, so that the scores of no two are alive at once.
    """
    length = turned.shape[2]
    size = tile_size(turned.shape[0] * turned.shape[1], turned.shape[1] // cache.num_kv_heads, cache.offset)
    if length <= size:
        return _attend(turned, rest, cache, cache.offset)
    tiles = []
    for start in range(0, length, size):
        stop = min(start + size, length)
        tiles.append(_attend(turned[:, :, start:stop], rest[:, :, start:stop], cache, cache.offset - length + stop))
        mx.eval(tiles[-1])
    return mx.concatenate(tiles, axis=2)


def tile_size(heads: int, group: int, keys: int) -> int:
    """Queries whose scores fit the budget: whole blocks of rows, `group` rows a query, if there is room for one."""
    fitting, whole = SCORES_BUDGET // (heads * keys * SCORE_BYTES), BLOCK // math.gcd(BLOCK, group)
    return fitting // whole * whole or max(1, fitting)


def _attend(turned: mx.array, rest: mx.array, cache: SharedCache, stop: int) -> mx.array:
    """Attention of one tile, whose last query is at position `stop - 1`.

    The G query heads of one KV head are rows of one matrix: `(B, H, L, D)` -> `(B, KV heads, G * L, D)`.
    """
    batch, heads, length, _ = turned.shape
    kv_heads = cache.num_kv_heads

    def fold(x: mx.array) -> mx.array:
        return x.reshape(batch, kv_heads, -1, x.shape[-1])

    scores = cache.scores(fold(turned), fold(rest), stop)
    if length > 1:
        seen = mx.arange(stop)[None, :] <= mx.arange(stop - length, stop)[:, None]
        grouped = scores.reshape(batch, kv_heads, -1, length, stop)
        scores = mx.where(seen, grouped, -mx.inf).reshape(scores.shape)
    mixed = original_order(*cache.mix(mx.softmax(scores, axis=-1, precise=True).astype(turned.dtype)))
    return mixed.reshape(batch, heads, length, -1)
