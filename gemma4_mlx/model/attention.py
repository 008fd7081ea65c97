"""Attention of a sliding layer: grouped queries, normalised heads, rotary embedding, a window."""

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import LayerConfig, RopeConfig, TextConfig
from gemma4_mlx.model.cache import SlidingCache
from gemma4_mlx.model.masks import Tile
from gemma4_mlx.model.projection import merge


def rotary_periods(head_dim: int, rope: RopeConfig) -> mx.array:
    """Periods over 2 pi of the pairs that turn, as `mx.fast.rope` takes them.

    The exponent's denominator is the whole head ("proportional" rotary embedding in transformers), so that pair i of a
    partly rotated head turns as fast as pair i of a wholly rotated one.
    """
    rotated = int(rope.partial_rotary_factor * head_dim) // 2
    return rope.theta ** (mx.arange(rotated, dtype=mx.float32) * 2 / head_dim)


def rotate(x: mx.array, offset: int, periods: mx.array) -> mx.array:
    """Rotary embedding of `(B, H, L, D)` at positions from `offset` on; pairs are half of D apart."""
    return mx.fast.rope(x, x.shape[-1], traditional=False, base=None, scale=1.0, offset=offset, freqs=periods)


def split_heads(x: mx.array, head_dim: int) -> mx.array:
    """`(B, L, H * D)` -> `(B, H, L, D)`."""
    batch, length, _ = x.shape
    return x.reshape(batch, length, -1, head_dim).transpose(0, 2, 1, 3)


def merge_heads(x: mx.array) -> mx.array:
    """`(B, H, L, D)` -> `(B, L, H * D)`."""
    batch, _, length, _ = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, -1)


class SlidingAttention(nn.Module):
    """Self-attention with scale 1.0; queries and keys are normalised by learned weights, values without."""

    def __init__(self, config: TextConfig, layer: LayerConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = config.num_attention_heads, layer.num_key_value_heads
        self.head_dim, self.eps = layer.head_dim, config.rms_norm_eps
        width, kv_width = self.num_heads * layer.head_dim, self.num_kv_heads * layer.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.q_norm = nn.RMSNorm(layer.head_dim, eps=self.eps)
        self.k_norm = nn.RMSNorm(layer.head_dim, eps=self.eps)
        self._periods = rotary_periods(layer.head_dim, layer.rope)

    def prepare(self) -> None:
        """Merges the projections, and the norms' weights into rows `(H, 1, D)` for all heads; values have ones."""
        self.qkv_proj = merge([self.pop("q_proj"), self.pop("k_proj"), self.pop("v_proj")])
        queries, keys = self.pop("q_norm").weight, self.pop("k_norm").weight
        rows = [queries] * self.num_heads + [keys] * self.num_kv_heads + [mx.ones_like(keys)] * self.num_kv_heads
        self.qkv_norm = mx.stack(rows)[:, None]

    def __call__(self, x: mx.array, cache: SlidingCache, tiles: Sequence[Tile]) -> mx.array:
        """Maps `(B, L, hidden)` to `(B, queries of the tiles, hidden)`; the positions follow those in the cache."""
        queries, keys, values = self._heads(x, cache)
        queries = queries[:, :, x.shape[1] - tiles[-1].stop :]
        attended = [_attend(queries, keys, values, tile) for tile in tiles]
        return self.o_proj(merge_heads(mx.concatenate(attended, axis=2) if len(attended) > 1 else attended[0]))

    def write(self, x: mx.array, cache: SlidingCache) -> None:
        """Puts the keys and values of `(B, L, hidden)` into the cache."""
        self._heads(x, cache)

    def _heads(self, x: mx.array, cache: SlidingCache) -> tuple[mx.array, mx.array, mx.array]:
        """Queries of x `(B, L, hidden)`, and the keys and values that they may see, all `(B, H, length, D)`."""
        offset, rotated = cache.offset, self.num_heads + self.num_kv_heads
        heads = mx.fast.rms_norm(split_heads(self.qkv_proj(x), self.head_dim), None, self.eps) * self.qkv_norm
        turned = rotate(heads[:, :rotated], offset, self._periods)
        keys, values = cache.update(turned[:, self.num_heads :], heads[:, rotated:])
        return turned[:, : self.num_heads], keys, values


def _attend(queries: mx.array, keys: mx.array, values: mx.array, tile: Tile) -> mx.array:
    seen = slice(tile.first, tile.last)
    return mx.fast.scaled_dot_product_attention(
        queries[:, :, tile.start : tile.stop], keys[:, :, seen], values[:, :, seen], scale=1.0, mask=tile.mask
    )
