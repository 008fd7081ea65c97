"""The decoder: embeddings `(B, L, hidden)` -> hidden states -> logits."""

from collections.abc import Sequence
from functools import partial

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import LayerConfig, TextConfig
from gemma4_mlx.model.attention import Attention
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.masks import Block, Mask, make_masks


@partial(mx.compile, shapeless=True)
def geglu(gate: mx.array, up: mx.array) -> mx.array:
    """`gelu(gate) * up` with the tanh approximation of gelu."""
    return nn.gelu_approx(gate) * up


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

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(geglu(self.gate_proj(x), self.up_proj(x)))


class DecoderLayer(nn.Module):
    """Attention and MLP, each between two norms; the sum is scaled by the layer's own scalar."""

    def __init__(self, config: TextConfig, layer: LayerConfig) -> None:
        super().__init__()
        self.is_sliding = layer.window is not None
        self.self_attn = Attention(config, layer)
        self.mlp = MLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.pre_feedforward_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_feedforward_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.layer_scalar = mx.ones((1,))

    def __call__(self, x: mx.array, cache: Cache | None, mask: Mask) -> mx.array:
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), cache, mask))
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        return x * self.layer_scalar


class TextModel(nn.Module):
    """Token embeddings and the stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [DecoderLayer(config, layer) for layer in config.layers]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self._embed_scale = config.hidden_size**0.5
        self._window = next((layer.window for layer in config.layers if layer.window), 1)

    @property
    def dtype(self) -> mx.Dtype:
        """Type of the hidden states. The norms tell it, as they are never quantized."""
        return self.norm.weight.dtype

    def embed(self, ids: mx.array) -> mx.array:
        """Scaled embeddings `(B, L, hidden)` of ids `(B, L)`; the factor is rounded to the weights' type."""
        return self.embed_tokens(ids).astype(self.dtype) * mx.array(self._embed_scale, self.dtype)

    def __call__(self, x: mx.array, caches: Sequence[Cache] | None, blocks: Sequence[Block]) -> mx.array:
        """Hidden states after the final norm, `(B, L, hidden)`. `blocks` are vision blocks in absolute positions."""
        offset = caches[0].offset if caches else 0
        masks = make_masks(x.shape[1], offset, self._window, blocks)
        for index, layer in enumerate(self.layers):
            x = layer(x, caches[index] if caches else None, masks.sliding if layer.is_sliding else masks.full)
        return self.norm(x)


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
