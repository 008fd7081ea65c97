"""Attention of one decoder layer: grouped queries, normalised heads, partial rotary embedding, K = V in full layers."""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import LayerConfig, RopeConfig, TextConfig
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.masks import Mask


def rope_frequencies(head_dim: int, rope: RopeConfig) -> mx.array:
    """Periods over 2 pi of the `head_dim / 2` pairs, as `mx.fast.rope` takes them; infinite where nothing turns.

    The exponent's denominator is the whole head ("proportional" rotary embedding in transformers), so that pair i of a
    partly rotated head turns as fast as pair i of a wholly rotated one.
    """
    rotated = int(rope.partial_rotary_factor * head_dim) // 2
    periods = rope.theta ** (mx.arange(rotated, dtype=mx.float32) * 2 / head_dim)
    return mx.concatenate([periods, mx.full((head_dim // 2 - rotated,), mx.inf)])


class Attention(nn.Module):
    """Self-attention with scale 1.0; queries and keys are normalised by learned weights, values without."""

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
        self._frequencies = rope_frequencies(layer.head_dim, layer.rope)

    def __call__(self, x: mx.array, cache: Cache | None, mask: Mask) -> mx.array:
        """Maps `(B, L, hidden)` to the same shape. With a cache, the queries follow the positions it holds."""
        offset = cache.offset if cache is not None else 0
        queries = self._heads(self.q_proj(x), self.num_heads)
        projected = self._heads(self.k_proj(x), self.num_kv_heads)
        values = self._heads(self.v_proj(x), self.num_kv_heads) if "v_proj" in self else projected
        queries = self._rotate(self.q_norm(queries), offset)
        keys = self._rotate(self.k_norm(projected), offset)
        values = mx.fast.rms_norm(values, None, self.eps)
        if cache is not None:
            keys, values = cache.update(keys, values)
        attended = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=mask)
        batch, _, length, _ = attended.shape
        return self.o_proj(attended.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    def _heads(self, x: mx.array, heads: int) -> mx.array:
        """Splits `(B, L, heads * D)` into `(B, heads, L, D)`."""
        batch, length, _ = x.shape
        return x.reshape(batch, length, heads, self.head_dim).transpose(0, 2, 1, 3)

    def _rotate(self, x: mx.array, offset: int) -> mx.array:
        return mx.fast.rope(
            x, self.head_dim, traditional=False, base=None, scale=1.0, offset=offset, freqs=self._frequencies
        )
