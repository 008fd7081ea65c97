"""The decoder: embeddings `(B, L, hidden)` -> hidden states -> logits."""

import copy
import math
from collections.abc import Sequence
from functools import partial

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import LayerConfig, TextConfig
from gemma4_mlx.model.attention import SlidingAttention
from gemma4_mlx.model.cache import Cache, SharedCache
from gemma4_mlx.model.compiled import Traces, compile_method
from gemma4_mlx.model.disk import read
from gemma4_mlx.model.full_attention import FullAttention
from gemma4_mlx.model.masks import Block, Tile, sliding_tiles
from gemma4_mlx.model.projection import merge
from gemma4_mlx.model.rotary import rotations


@mx.compile
def geglu(gate: mx.array, up: mx.array) -> mx.array:
    """`gelu(gate) * up` with the tanh approximation of gelu; computed in float32, rounded once.

    Half of 1 + tanh(x) is sigmoid(2 x), which loses no digits where the gate is far below zero. Written so that it
    becomes one kernel: a compiled function with any shapes would be too deep for that.
    """
    slope, wide = math.sqrt(8 / math.pi), gate.astype(mx.float32)
    share = mx.sigmoid(wide * (slope + 0.044715 * slope * wide * wide))
    return (wide * share * up.astype(mx.float32)).astype(gate.dtype)


@partial(mx.compile, shapeless=True)
def scaled_sum(x: mx.array, y: mx.array, scalar: mx.array) -> mx.array:
    """`(x + y) * scalar`, computed in float32, rounded once."""
    return ((x.astype(mx.float32) + y.astype(mx.float32)) * scalar.astype(mx.float32)).astype(x.dtype)


@partial(mx.compile, shapeless=True)
def softcap(logits: mx.array, cap: mx.array) -> mx.array:
    """Bends logits smoothly into `(-cap, cap)`."""
    return mx.tanh(logits / cap) * cap


class MLP(nn.Module):
    """Feed-forward part with a gelu gate."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def fused(self) -> "MLP":
        """The same with one projection instead of the two that read the same input. This module stays as it is."""
        if "gate_up_proj" in self:
            return self
        fused = copy.copy(self)
        fused.gate_up_proj = merge([fused.pop("gate_proj"), fused.pop("up_proj")])
        mx.eval(fused.parameters())
        return fused

    def __call__(self, x: mx.array) -> mx.array:
        gate, up = mx.split(self.gate_up_proj(x), 2, axis=-1)
        return self.down_proj(geglu(gate, up))


class DecoderLayer(nn.Module):
    """Attention and MLP, each between two norms; the sum is scaled by the layer's own scalar.

    Calls that take a cache hand it to the attention, whose kind it must be.
    """

    def __init__(self, config: TextConfig, attention: nn.Module) -> None:
        super().__init__()
        self.self_attn = attention
        self.mlp = MLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.pre_feedforward_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_feedforward_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.layer_scalar = mx.ones((1,))

    def prepare(self, traces: Traces) -> None:
        """Reads the weights and rearranges them for inference, so that one part of one layer at a time is held twice.

        Interrupted anywhere, it can be called again. From here on the modules stay what they are: what a reply repeats
        for each token is compiled, once for all layers that have the same `traces` and are alike.
        """
        self.read_and_fuse()
        self._step_heads = compile_method(self, DecoderLayer.heads, traces)
        self._step_feed = compile_method(self, DecoderLayer.feed, traces)

    def read_and_fuse(self) -> None:
        """Reads attention, MLP and norms, and puts the fused parts in their places, each in one step."""
        for name in ("self_attn", "mlp"):
            read(self[name].parameters())
            self[name] = self[name].fused()
        read(self.parameters())

    def __call__(self, x: mx.array, cache: Cache, tiles: Sequence[Tile], rotation: mx.array) -> mx.array:
        """Maps `(B, L, hidden)` to `(B, queries, hidden)`, for the positions that the tiles cover."""
        attention, length, queries = self.self_attn, x.shape[1], tiles[-1].stop
        heads, feed = (self._step_heads, self._step_feed) if length == 1 else (DecoderLayer.heads, DecoderLayer.feed)
        attended = attention.attend(heads(self, x, rotation), cache, tiles)
        return feed(self, x if queries == length else x[:, length - queries :], attended)

    def heads(self, x: mx.array, rotation: mx.array) -> tuple[mx.array, ...]:
        """What the attention reads and its cache keeps of `(B, L, hidden)`."""
        return self.self_attn.heads(self.input_layernorm(x), rotation)

    def feed(self, x: mx.array, attended: mx.array) -> mx.array:
        """What follows the attention: `(B, L, hidden)` of itself and the merged heads `(B, L, H * D)`."""
        x = x + self.post_attention_layernorm(self.self_attn.o_proj(attended))
        fed = self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        return scaled_sum(x, fed, self.layer_scalar)

    def write(self, x: mx.array, cache: Cache, rotation: mx.array) -> None:
        """Puts keys and values of `(B, L, hidden)` into the cache and computes nothing else."""
        self.self_attn.write(self.input_layernorm(x), cache, rotation)


class TextModel(nn.Module):
    """Token embeddings and the stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [DecoderLayer(config, _attention(config, layer)) for layer in config.layers]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self._embed_scale = config.hidden_size**0.5
        self._kinds = config.layers
        self._window = next((layer.window for layer in config.layers if layer.window), 1)

    @property
    def dtype(self) -> mx.Dtype:
        """Type of the hidden states. The norms tell it, as they are never quantized."""
        return self.norm.weight.dtype

    def embed(self, ids: mx.array) -> mx.array:
        """Scaled embeddings `(B, L, hidden)` of ids `(B, L)`; the factor is rounded to the weights' type."""
        return self.embed_tokens(ids).astype(self.dtype) * mx.array(self._embed_scale, self.dtype)

    def __call__(
        self, x: mx.array, caches: Sequence[Cache], blocks: Sequence[Block], outputs: int | None = None
    ) -> mx.array:
        """Hidden states after the final norm, `(B, outputs, hidden)`, of the last `outputs` positions (None: of all).

        `blocks` are vision blocks in absolute positions. With outputs = 0 the final layer only writes its cache.
        """
        length, offset = x.shape[1], caches[0].offset
        tiles = sliding_tiles(length, offset, self._window, blocks, queries=length)
        turned = rotations(self._kinds, offset, length)
        for kind, layer, cache in zip(self._kinds[:-1], self.layers, caches, strict=False):
            x = layer(x, cache, tiles, turned[kind])
        last, rotation = self.layers[-1], turned[self._kinds[-1]]
        if outputs == 0:
            last.write(x, caches[-1], rotation)
            return x[:, :0]
        if outputs is not None and outputs < length:
            if isinstance(caches[-1], SharedCache):
                last.write(x[:, :-outputs], caches[-1], rotation[:, :-outputs])
                x, rotation = x[:, -outputs:], rotation[:, -outputs:]
            tiles = sliding_tiles(length, offset, self._window, blocks, queries=outputs)
        return self.norm(last(x, caches[-1], tiles, rotation))


def _attention(config: TextConfig, layer: LayerConfig) -> nn.Module:
    return FullAttention(config, layer) if layer.window is None else SlidingAttention(config, layer)


class LanguageModel(nn.Module):
    """The decoder with its output head, which is the embedding matrix."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.model = TextModel(config)
        self._softcap = config.final_logit_softcapping

    def logits(self, hidden: mx.array) -> mx.array:
        """Float32 logits `(B, L, vocab)` of hidden states `(B, L, hidden)`."""
        logits = self.model.embed_tokens.as_linear(hidden).astype(mx.float32)
        return logits if self._softcap is None else softcap(logits, mx.array(self._softcap))
