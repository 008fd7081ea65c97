"""Attention of a sliding layer: grouped queries, normalised heads, rotary embedding, a window."""

import copy
from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import LayerConfig, TextConfig
from gemma4_mlx.model.cache import SlidingCache
from gemma4_mlx.model.masks import Tile
from gemma4_mlx.model.projection import merge
from gemma4_mlx.model.rotary import rotate
from gemma4_mlx.model.rows import float32_product

FUSED_QUERIES = 8
"""Positions that Metal has one kernel for, with scores in float32. Of more, MLX would round scores of heads of 256."""


def split_heads(x: mx.array, head_dim: int) -> mx.array:
    """`(B, L, H * D)` -> `(B, H, L, D)`."""
    batch, length, _ = x.shape
    if length == 1:
        return x.reshape(batch, -1, 1, head_dim)
    return x.reshape(batch, length, -1, head_dim).transpose(0, 2, 1, 3)


def merge_heads(x: mx.array) -> mx.array:
    """`(B, H, L, D)` -> `(B, L, H * D)`."""
    batch, _, length, _ = x.shape
    if length == 1:
        return x.reshape(batch, 1, -1)
    return x.transpose(0, 2, 1, 3).reshape(batch, length, -1)


class Attention(nn.Module):
    """What both kinds of attention are made of: the checkpoint's projections and norms. Full layers have no v_proj.

    A call is `heads`, which computes on `(B, L, hidden)` only, and `attend`, which works with the cache and gives the
    merged heads that `o_proj` reads.
    """

    def __init__(self, config: TextConfig, layer: LayerConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = config.num_attention_heads, layer.num_key_value_heads
        self.head_dim, self.eps = layer.head_dim, config.rms_norm_eps
        width, kv_width = self.num_heads * layer.head_dim, self.num_kv_heads * layer.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        if layer.window is not None:
            self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.q_norm = nn.RMSNorm(layer.head_dim, eps=self.eps)
        self.k_norm = nn.RMSNorm(layer.head_dim, eps=self.eps)


class SlidingAttention(Attention):
    """Self-attention with scale 1.0; queries and keys are normalised by learned weights, values without."""

    def fused(self) -> "SlidingAttention":
        """The same with merged projections, and norm weights in rows `(H, 1, D)` for all heads; values have ones.

        This module stays as it is, so whoever is interrupted can begin again.
        """
        if "qkv_proj" in self:
            return self
        fused = copy.copy(self)
        fused.qkv_proj = merge([fused.pop("q_proj"), fused.pop("k_proj"), fused.pop("v_proj")])
        queries, keys = fused.pop("q_norm").weight, fused.pop("k_norm").weight
        rows = [queries] * self.num_heads + [keys] * self.num_kv_heads + [mx.ones_like(keys)] * self.num_kv_heads
        fused.qkv_norm = mx.stack(rows)[:, None]
        turning = self.num_heads + self.num_kv_heads
        fused._turning = (mx.arange(turning + self.num_kv_heads) < turning)[:, None, None, None]
        mx.eval(fused.parameters(), fused._turning)
        return fused

    def heads(self, x: mx.array, rotation: mx.array) -> tuple[mx.array, mx.array]:
        """Queries `(B, H, L, D)` of x `(B, L, hidden)`, and the rows that the cache keeps of it."""
        heads = mx.fast.rms_norm(split_heads(self.qkv_proj(x), self.head_dim), None, self.eps)
        queries, written = mx.split(rotate(heads, self.qkv_norm, rotation, self._turning), [self.num_heads], axis=1)
        return queries, written

    def attend(self, heads: tuple[mx.array, mx.array], cache: SlidingCache, tiles: Sequence[Tile]) -> mx.array:
        """Attention of the last positions, those that the tiles cover: `(B, queries, H * D)`."""
        queries, written = heads
        seen = cache.update(written)
        length, covered = queries.shape[2], tiles[-1].stop
        if length == 1:  # several would need a mask: for them packed rows are unpacked, at every pass over guesses too
            return merge_heads(cache.rows.attention(queries, seen))
        keys, values = cache.keys_values(seen)
        if covered < length:
            queries = queries[:, :, length - covered :]
        attended: list[mx.array] = []
        for tile in tiles:
            if attended:  # else the scores of all tiles would be alive at once
                queries = mx.depends(queries, attended[-1])
            attended.append(attend_tile(queries, keys, values, tile))
        return merge_heads(mx.concatenate(attended, axis=2) if len(attended) > 1 else attended[0])

    def write(self, x: mx.array, cache: SlidingCache, rotation: mx.array) -> None:
        """Puts the keys and values of `(B, L, hidden)` into the cache."""
        cache.update(self.heads(x, rotation)[1])


def attend_tile(queries: mx.array, keys: mx.array, values: mx.array, tile: Tile) -> mx.array:
    """Attention of a tile's queries `(B, G * H, L, D)` to keys and values of H heads."""
    queries = queries[:, :, tile.start : tile.stop]
    keys, values = keys[:, :, tile.first : tile.last], values[:, :, tile.first : tile.last]
    if queries.dtype == mx.float32 or tile.stop - tile.start <= FUSED_QUERIES:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=tile.mask)
    batch, heads, length, _ = queries.shape
    scores = float32_product(queries.reshape(batch, keys.shape[1], -1, queries.shape[-1]), keys.swapaxes(-1, -2))
    if tile.mask is not None:
        grouped = scores.reshape(batch, keys.shape[1], -1, length, scores.shape[-1])
        scores = mx.where(tile.mask, grouped, -mx.inf).reshape(scores.shape)
    mixed = mx.softmax(scores, axis=-1).astype(queries.dtype) @ values
    return mixed.reshape(batch, heads, length, -1)
